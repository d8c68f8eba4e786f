"""Spaces: what each parameter of a family of trainings may be, all points of it in a row, or points drawn at random.

A space is a mapping from parameter to a rule, as it stands below `[space]` of a lab.toml:

    learning_rate = { log_uniform = [1e-4, 1e-1] }
    dropout = [0.0, 0.2, 0.5]                         # a list: one of these
    dense = { int = [16, 256], log = true }
    optimiser = { choice = ["adam", "sgd"] }
    momentum = { uniform = [0.5, 0.99], when = { optimiser = "sgd" } }
    filters = { value = [8, 16] }                     # always this
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, TypeAlias

import numpy as np

from epochal.errors import UsageError
from epochal.lab.words import quoted, suggestion

__all__ = ["Choice", "Range", "Rule", "Space", "parse_space", "same"]

_KINDS = ("choice", "uniform", "log_uniform", "int", "log_int", "value")
_DRAWS = 1_000
GRID_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of `values`; a parameter that is always the same has but one."""

    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the values, each as likely as the others."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A number from `low` to `high`, both possible; `log`: every factor is as likely as the same factor elsewhere."""

    low: float
    high: float
    kind: Literal["float", "int"] = "float"
    log: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> float | int:
        """A number of the range."""
        if self.kind == "int" and not self.log:
            step = int(self.step or 1)
            return int(self.low) + step * int(rng.integers((int(self.high) - int(self.low)) // step + 1))
        if self.step is not None:
            return float(self.low + self.step * int(rng.integers(math.floor(self._steps) + 1)))
        # Whole numbers are drawn from the real ones that round to them, so that both ends get their share.
        half = 0.5 if self.kind == "int" else 0.0
        low, high = self.low - half, self.high + half
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        if self.kind == "int":
            return min(max(round(value), int(self.low)), int(self.high))
        return float(min(max(value, self.low), self.high))

    @property
    def _steps(self) -> float:
        return (self.high - self.low) / (self.step or 1.0) + 1e-9


Rule: TypeAlias = Choice | Range


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters with their rules, those that others depend on first."""

    rules: Mapping[str, Rule]

    @property
    def finite(self) -> bool:
        """Whether all points can be listed."""
        return all(isinstance(rule, Choice) for rule in self.rules.values())

    def active(self, name: str, point: Mapping[str, Any]) -> bool:
        """Whether a parameter is there, given those before it."""
        return all(
            other in point and any(same(point[other], value) for value in values)
            for other, values in self.rules[name].when.items()
        )

    def grid(self) -> Iterator[dict[str, Any]]:
        """All points, the last parameter changing fastest. Raises UsageError where a range has no end of points."""
        for name, rule in self.rules.items():
            if not isinstance(rule, Choice):
                raise UsageError(
                    f"[space] {name} is a range, of which no grid can be made",
                    hint=f'list its values, such as {name} = [0.1, 0.2], or use sampler = "random"',
                )
        yield from self._below(list(self.rules), {})

    def _below(self, names: list[str], point: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield dict(point)
            return
        name, *rest = names
        if not self.active(name, point):
            yield from self._below(rest, point)
            return
        rule = self.rules[name]
        assert isinstance(rule, Choice)  # noqa: S101 - grid() has looked
        for value in rule.values:
            yield from self._below(rest, {**point, name: value})

    def sample(self, count: int, *, seed: int) -> list[dict[str, Any]]:
        """Up to `count` different points at random; the first ones are the same whatever the count."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        for index in range(count):
            rng = np.random.default_rng([seed % 2**63, index])
            for _ in range(_DRAWS):
                point = self.draw(rng)
                if (key := repr(sorted(point.items()))) not in seen:
                    seen.add(key)
                    found.append(point)
                    break
            else:  # nothing new in a thousand draws: the space is used up
                break
        return found

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """One point at random."""
        point: dict[str, Any] = {}
        for name, rule in self.rules.items():
            # Drawn whether or not it is there, so that a condition does not change what comes after.
            value = rule.draw(rng)
            if self.active(name, point):
                point[name] = value
        return point


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal and of one kind: `true` is not 1, a list may be a tuple."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def parse_space(given: Mapping[str, Any]) -> Space:
    """The space that a mapping means. Raises UsageError naming the parameter and what is wrong with it."""
    rules: dict[str, Rule] = {}
    for name, rule in given.items():
        try:
            rules[name] = _rule(rule)
        except UsageError as error:
            raise UsageError(f"[space] {name}: {error.message}", hint=error.hint) from None
    for name, rule in rules.items():
        for other in rule.when:
            if other not in rules:
                raise UsageError(
                    f"[space] {name}: it depends on {other!r}, which the space does not have",
                    hint=suggestion(other, rules),
                )
    try:
        order = list(TopologicalSorter({name: list(rule.when) for name, rule in rules.items()}).static_order())
    except CycleError as error:
        raise UsageError(f"[space] {' depends on '.join(error.args[1])}: a circle") from None
    # As written, but for those that must wait for another.
    ranks = {name: i for i, name in enumerate(rules)}
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[other] + 1 for other in rules[name].when), default=0)
    return Space({name: rules[name] for name in sorted(rules, key=lambda name: (depth[name], ranks[name]))})


def _rule(given: Any) -> Rule:
    if isinstance(given, Choice | Range):
        return given
    if isinstance(given, list | tuple):
        return Choice(values=_values(given))
    if not isinstance(given, Mapping):
        return Choice(values=(given,))
    kinds = [kind for kind in _KINDS if kind in given]
    known = (*_KINDS, "when", "step", "log")
    if unknown := [key for key in given if key not in known]:
        raise UsageError(f"{unknown[0]!r} is not known here", hint=suggestion(unknown[0], known))
    if len(kinds) != 1:
        said = "two rules at once" if kinds else "no rule"
        raise UsageError(f"it has {said}", hint=f"give one of {quoted(_KINDS)}, such as {{ uniform = [0.0, 0.5] }}")
    when = _when(given.get("when", {}))
    kind, value = kinds[0], given[kinds[0]]
    if kind in ("choice", "value"):
        if wrong := [key for key in ("step", "log") if key in given]:
            raise UsageError(f"{wrong[0]!r} goes with a range, not with {kind!r}")
        return Choice(values=_values(value) if kind == "choice" else (value,), when=when)
    return _range(kind, value, given, when)


def _values(given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise UsageError("a choice needs a list of at least one value", hint='such as ["adam", "sgd"]')
    return tuple(given)


def _range(kind: str, value: Any, given: Mapping[str, Any], when: Mapping[str, tuple[Any, ...]]) -> Range:
    numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool)] if _is_list(value) else []
    if len(numbers) != 2 or len(value) != 2 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{kind} is {value!r}, not two numbers", hint=f"write {kind} = [lowest, highest]")
    low, high = numbers
    if not low < high:
        raise UsageError(f"{kind} goes from {low:g} to {high:g}", hint="the first number is the lower one")
    whole = kind in ("int", "log_int")
    if whole and (low != int(low) or high != int(high)):
        raise UsageError(f"{kind} = {value!r} has ends that are not whole")
    log = kind in ("log_uniform", "log_int") or given.get("log") is True
    if log and low <= 0:
        raise UsageError(f"{kind} begins at {low:g}; a logarithmic range lies above 0")
    step = given.get("step")
    if step is not None:
        if isinstance(step, bool) or not isinstance(step, int | float) or not step > 0:
            raise UsageError(f"step is {step!r}, not a number above 0")
        if log:
            raise UsageError("a logarithmic range has no step", hint="list the values instead")
        if whole and step != int(step):
            raise UsageError(f"step is {step!r}, not whole")
    return Range(low=low, high=high, kind="int" if whole else "float", log=log, step=step, when=when)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _when(given: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(given, Mapping):
        raise UsageError(f"when is {given!r}", hint='write when = { optimiser = "sgd" }')
    return {str(name): tuple(value) if _is_list(value) else (value,) for name, value in given.items()}
