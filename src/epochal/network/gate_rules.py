"""Rules that a value of a JSON document must keep; each rule gives back a fresh value that holds only what it allows.

A rule takes the value and where it stands, and raises `Refused` when the value breaks it. What no rule mentions does
not come out at the other side.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "Refused",
    "Rule",
    "boolean",
    "choice",
    "empty",
    "integer",
    "listing",
    "mapping",
    "name",
    "nothing",
    "number",
    "optional",
    "record",
    "text",
    "union",
]

Rule = Callable[[Any, str], Any]

LARGEST = 2**63 - 1


class Refused(Exception):  # noqa: N818 - a signal between the files of the gate, never seen outside of it
    """Something that the gate does not let through: where it stands, and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = where
        self.why = why


def brief(value: object, limit: int = 80) -> str:
    """A value for a message: cut, and with nothing in it that a terminal would act on."""
    shown = ascii(value)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def integer(low: int = -LARGEST - 1, high: int = LARGEST) -> Rule:
    """A whole number within bounds, both included."""

    def rule(value: Any, where: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Refused(where, f"{brief(value)} is not a whole number from {low} to {high}")
        return value

    return rule


def number(value: Any, where: str) -> float | str:
    """A number, or one of the three words that stand for what JSON cannot write."""
    if isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN"):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e400:
        raise Refused(where, f"{brief(value)} is not a number")
    return float(value)


def boolean(value: Any, where: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Refused(where, f"{brief(value)} is not true or false")
    return value


def text(pattern: str, *, what: str, longest: int = 1000) -> Rule:
    """A text that a pattern matches from end to end."""
    compiled = re.compile(pattern)

    def rule(value: Any, where: str) -> str:
        if not isinstance(value, str) or len(value) > longest or not compiled.fullmatch(value):
            raise Refused(where, f"{brief(value)} is not {what}")
        return value

    return rule


def name(value: Any, where: str) -> str:
    """A name that is safe to stand in the Python code that PyTorch writes from a program."""
    plain = isinstance(value, str) and len(value) <= 500 and value.isascii() and value.isidentifier()
    if not plain or keyword.iskeyword(value) or value.startswith("__"):
        raise Refused(where, f"{brief(value)} is not a plain name")
    return str(value)


def choice(*allowed: Any) -> Rule:
    """One of a few values, of the same type."""

    def rule(value: Any, where: str) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise Refused(where, f"{brief(value)} is none of {', '.join(map(repr, allowed))}")
        return value

    return rule


def nothing(why: str) -> Rule:
    """Never allowed."""

    def rule(value: Any, where: str) -> Any:
        raise Refused(where, why)

    return rule


def empty(why: str) -> Rule:
    """Allowed only when there is nothing in it."""

    def rule(value: Any, where: str) -> Any:
        if value:
            raise Refused(where, why)
        return [] if isinstance(value, list) else {}

    return rule


def optional(rule: Rule) -> Rule:
    """As another rule, or null."""
    return lambda value, where: None if value is None else rule(value, where)


def listing(rule: Rule, *, longest: int = 1_000_000) -> Rule:
    """A list whose every item keeps a rule."""

    def checked(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > longest:
            raise Refused(where, f"{brief(value)} is not a list of at most {longest:,}")
        return [rule(item, f"{where}[{i}]") for i, item in enumerate(value)]

    return checked


def mapping(key: Rule, rule: Rule) -> Rule:
    """An object whose every key and every value keep a rule."""

    def checked(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Refused(where, f"{brief(value)} is not an object")
        return {key(k, where): rule(v, f"{where}.{brief(k, 40)}") for k, v in value.items()}

    return checked


def record(fields: Mapping[str, Rule], *, needed: tuple[str, ...] = ()) -> Rule:
    """An object with known fields; unknown ones are left out, as PyTorch itself does; null fields stay out too."""

    def checked(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Refused(where, f"{brief(value)} is not an object")
        for field in needed:
            if field not in value:
                raise Refused(where, f"has no {field!r}")
        return {field: rule(value[field], f"{where}.{field}") for field, rule in fields.items() if field in value}

    return checked


def union(kinds: Mapping[str, Rule]) -> Rule:
    """An object with exactly one field, whose name says what it is."""

    def checked(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) != 1:
            raise Refused(where, f"{brief(value)} is not an object with one field")
        ((kind, inner),) = value.items()
        if kind not in kinds:
            raise Refused(where, f"{brief(kind)} is not a kind of value that is let through")
        return {kind: kinds[kind](inner, f"{where}.{kind}")}

    return checked
