"""Conditions of series that raise an alert: `nan`, `inf`, `> 10`, `< 0.1`, `stalled 500`.

An alert is raised when a condition comes true, and not again while it stays true. It is over when a value comes for
which it is false: a number after NaNs, a finite value after infinities, a value on the right side of the bound, a new
best. A value that says nothing about a condition, such as NaN about a bound, leaves it as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from time import monotonic
from typing import Protocol

from epochal.errors import UsageError
from epochal.facts import AlertLevel, Better, better_by_name

REPEAT_SECS = 60.0
"""A condition that comes and goes raises an alert at most so often; the next says how often it came in between."""

_BOUND = re.compile(r"(<=|>=|<|>)\s*(\S+)")
_STALLED = re.compile(r"stalled\s+(\d+)")
_WORDS = {"<": "below", "<=": "not above", ">": "above", ">=": "not below"}


class Condition(Protocol):
    """What a rule asks of each value of one series."""

    text: str
    level: AlertLevel

    def holds(self, value: float, step: int) -> bool | None:
        """Whether it is true now; None where this value says nothing about it."""
        ...

    def says(self, series: str, value: float, step: int) -> str:
        """What to tell when it came true."""
        ...


@dataclass(slots=True)
class NotFinite:
    """`nan` or `inf`."""

    text: str
    level: AlertLevel = "error"

    def holds(self, value: float, step: int) -> bool | None:
        """A NaN says nothing about infinities, and is over with any number."""
        if self.text == "nan":
            return value != value
        return None if value != value else math.isinf(value)

    def says(self, series: str, value: float, step: int) -> str:
        """Which value it is."""
        return f"{series} is {'NaN' if value != value else '∞' if value > 0 else '−∞'}"


@dataclass(slots=True)
class Bound:
    """`> 10`, `>= 10`, `< 0.1` or `<= 0.1`."""

    text: str
    operator: str
    bound: float
    level: AlertLevel = "warning"

    def holds(self, value: float, step: int) -> bool | None:
        """A NaN is on neither side."""
        if value != value:
            return None
        match self.operator:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case ">":
                return value > self.bound
            case _:
                return value >= self.bound

    def says(self, series: str, value: float, step: int) -> str:
        """The value and the bound."""
        return f"{series} is {value:.6g}, {_WORDS[self.operator]} {self.bound:g}"


@dataclass(slots=True)
class Stalled:
    """`stalled 500`: no new best for so many steps. `better()` says which way is better."""

    text: str
    steps: int
    better: Callable[[], Better]
    level: AlertLevel = "warning"
    best: float = math.nan
    at: int | None = None

    def holds(self, value: float, step: int) -> bool | None:
        """It counts from the first value on; a value that is not finite is no best."""
        if self.at is None or step < self.at:
            self.at = step  # the first value, or the training went back
        gained = value > self.best if self.better() == "max" else value < self.best
        if math.isfinite(value) and (gained or math.isnan(self.best)):
            self.best, self.at = value, step
        return step - self.at >= self.steps

    def says(self, series: str, value: float, step: int) -> str:
        """For how long, and what the best was."""
        steps = step - (step if self.at is None else self.at)
        since = "no finite value" if math.isnan(self.best) else f"no value better than {self.best:.6g}"
        return f"{series} has had {since} for {steps:,} steps"


def parse_conditions(given: str | Sequence[str], better: Callable[[], Better]) -> list[Condition]:
    """The conditions that `run.define(alert=...)` names; raises UsageError for what is none."""
    texts = [given] if isinstance(given, str) else list(given)
    return [_parse(text, better) for text in texts]


def _parse(text: object, better: Callable[[], Better]) -> Condition:
    word = " ".join(text.lower().split()) if isinstance(text, str) else ""
    if word in ("nan", "inf"):
        return NotFinite(word)
    if found := _STALLED.fullmatch(word):
        if (steps := int(found[1])) > 0:
            return Stalled(word, steps, better)
    elif found := _BOUND.fullmatch(word):
        try:
            bound = float(found[2])
        except ValueError:
            bound = math.nan
        if not math.isnan(bound):
            return Bound(f"{found[1]} {found[2]}", found[1], bound)
    raise UsageError(
        f"alert is {text!r}",
        hint="use 'nan', 'inf', '> 10', '< 0.1', 'stalled 500' (steps without a new best), or a list of them",
    )


@dataclass(slots=True)
class _Watch:
    """A condition and how it stands for one series."""

    condition: Condition
    holding: bool = False
    told: float = -math.inf
    untold: int = 0


class Rules:
    """The rules of a run. `raise_alert(title, level, rule, step, t)` is called where a condition came true.

    Not thread-safe in one respect: two threads that log one series at once may both raise its alert.
    """

    def __init__(
        self,
        raise_alert: Callable[[str, AlertLevel, str, int, float], None],
        *,
        clock: Callable[[], float] = monotonic,
        repeat_secs: float = REPEAT_SECS,
    ) -> None:
        self._raise_alert = raise_alert
        self._clock, self._repeat = clock, repeat_secs
        self._given: dict[str, str | Sequence[str]] = {}
        self._better: dict[str, Better] = {}
        # Which series have rules is found out once for each name: a log call costs one look into a dictionary a value.
        self._of: dict[str, list[_Watch]] = {}
        self._known: dict[tuple[str, str, str], _Watch] = {}

    def set(self, pattern: str, alert: str | Sequence[str]) -> list[str]:
        """Give a series, or all whose names fit a pattern such as `*loss*`, its conditions; return their texts.

        They replace those given before under this name; an empty list takes them away.
        """
        texts = [condition.text for condition in parse_conditions(alert, lambda: "min")]
        self._given = {**self._given, pattern: texts}
        self._known = {key: watch for key, watch in self._known.items() if key[0] != pattern}
        self._of = {}
        return texts

    def set_better(self, series: str, better: Better) -> None:
        """Say which way a series is better; else it is guessed from the name."""
        self._better[series] = better

    def look(self, data: Mapping[str, float], step: int, t: float) -> None:
        """Look at what was logged."""
        of = self._of
        for name, value in data.items():
            watches = of.get(name)
            if watches is None:
                watches = of[name] = self._watches(name)
            for watch in watches:
                held, holds = watch.holding, watch.condition.holds(value, step)
                if holds is None or holds == held:
                    continue
                watch.holding = holds
                if holds:
                    self._came_true(watch, name, value, step, t)

    def _watches(self, series: str) -> list[_Watch]:
        def better() -> Better:
            return self._better.get(series) or better_by_name(series)

        return [
            self._known.setdefault((pattern, condition.text, series), _Watch(condition))
            for pattern, texts in self._given.items()
            if pattern == series or fnmatchcase(series, pattern)
            for condition in parse_conditions(texts, better)
        ]

    def _came_true(self, watch: _Watch, series: str, value: float, step: int, t: float) -> None:
        now = self._clock()
        if now - watch.told < self._repeat:
            watch.untold += 1
            return
        again = f", and was so {watch.untold:,} times since the last alert" if watch.untold else ""
        watch.told, watch.untold = now, 0
        title = watch.condition.says(series, value, step) + again
        self._raise_alert(title, watch.condition.level, f"{series}: {watch.condition.text}", step, t)

    @property
    def untold(self) -> int:
        """How often conditions came true again so soon that no alert was raised, and none since told of it."""
        return sum(watch.untold for watch in self._known.values())
