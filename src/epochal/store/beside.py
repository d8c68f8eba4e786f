"""What a run's processes wrote beside its numbers: console, alerts, code and environment. Read whole when asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from epochal.errors import DamagedError
from epochal.facts import Alert, AlertLevel, ConsoleLine, Stream
from epochal.store.boots import Boot
from epochal.store.files import read_json
from epochal.store.lines import read_lines

__all__ = ["alerts_of", "console_of", "facts_of", "packages_of", "text_of"]

Ranks = Sequence[Sequence[Boot]]
Fact = TypeVar("Fact", ConsoleLine, Alert)


def console_of(ranks: Ranks, *, last: int | None = None) -> list[ConsoleLine]:
    """Return the console of all processes in the order of time, or only its last lines."""
    found: list[ConsoleLine] = []
    for boots in ranks:
        for boot in reversed(boots):
            lines = _console(boot, last)
            found = lines + found
    found.sort(key=lambda line: line.t)
    return found if last is None else found[len(found) - last :] if last < len(found) else found


def _console(boot: Boot, last: int | None) -> list[ConsoleLine]:
    """Return the lines of one process; a line that was told again later is left out where it was not ended yet."""
    want = last
    while True:
        rows, _ = read_lines(boot.folder.console, last=want)
        lines = _rows_to(rows, partial(_console_line, rank=boot.folder.rank))
        kept: list[ConsoleLine] = []
        told: set[str] = set()
        for line in reversed(lines):
            if line.ended or line.stream not in told:
                kept.append(line)
            told.add(line.stream)
        if want is None or last is None or len(kept) >= last or len(rows) < want:
            return kept[::-1]
        want *= 4


def alerts_of(ranks: Ranks) -> list[Alert]:
    """Return the alerts of all processes in the order of time."""
    found: list[Alert] = []
    for boots in ranks:
        for boot in boots:
            rows, _ = read_lines(boot.folder.alerts)
            found += _rows_to(rows, partial(_alert, rank=boot.folder.rank))
    return sorted(found, key=lambda alert: alert.t)


def facts_of(ranks: Ranks, what: str, first: Mapping[str, Any]) -> dict[str, Any]:
    """Return `code` or `environment`: what run.json says, overlaid with what the latest process of rank 0 found out."""
    facts = dict(first)
    for boot in reversed(ranks[0] if ranks else ()):
        try:
            told = read_json(boot.folder.origin).get(what)
        except (OSError, DamagedError):
            continue
        if isinstance(told, Mapping):
            facts.update(told)
            break
    return facts


def text_of(ranks: Ranks, place: Callable[[Boot], Path]) -> str | None:
    """Return a text file of the latest process of rank 0 that has it."""
    for boot in reversed(ranks[0] if ranks else ()):
        try:
            return place(boot).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return None


def packages_of(ranks: Ranks) -> dict[str, str]:
    """Return versions by name; what follows a `#` is for people."""
    found: dict[str, str] = {}
    for line in (text_of(ranks, lambda boot: boot.folder.packages) or "").splitlines():
        name, equals, version = line.partition("#")[0].strip().partition("==")
        if equals:
            found[name] = version
    return found


def _rows_to(rows: list[dict[str, Any]], make: Callable[[dict[str, Any]], Fact]) -> list[Fact]:
    made: list[Fact] = []
    for row in rows:
        try:
            made.append(make(row))
        except (KeyError, TypeError, ValueError):
            continue  # a line of a later version, or damaged
    return made


def _console_line(row: Mapping[str, Any], rank: int) -> ConsoleLine:
    return ConsoleLine(
        t=float(row["t"]),
        step=_step(row.get("step")),
        stream=_one_of(row["stream"], get_args(Stream)),
        text=str(row["text"]),
        ended=bool(row.get("ended", True)),
        rank=rank,
    )


def _alert(row: Mapping[str, Any], rank: int) -> Alert:
    return Alert(
        t=float(row["t"]),
        step=_step(row.get("step")),
        title=str(row["title"]),
        text=str(row.get("text") or ""),
        level=_one_of(row.get("level"), get_args(AlertLevel)),
        rule=str(row.get("rule") or ""),
        rank=rank,
    )


def _step(value: Any) -> int | None:
    return None if value is None else int(value)


def _one_of(value: Any, words: tuple[Any, ...]) -> Any:
    if value not in words:
        raise ValueError(f"{value!r} is none of {words}")
    return value
