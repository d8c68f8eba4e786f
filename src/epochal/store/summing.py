"""What each series of a run came to: as its one writer wrote it down, or counted where several processes wrote."""

from __future__ import annotations

import re
import time
from typing import Any

from epochal.store.boots import Boot
from epochal.store.merge import Merged
from epochal.store.reduce import REDUCTIONS
from epochal.store.summary import Tally, summary_to_json

__all__ = ["Summaries"]

FREE_SECS = 0.05
SHARE = 20
"""Counting the series of a run that is running may take a twentieth of the time, once it takes `FREE_SECS`."""

_PLAIN = re.compile(rf"rank\d+/|ranks/(?:{'|'.join(REDUCTIONS)})/")

Stored = dict[str, dict[str, Any]]


class Summaries:
    """Summaries of one run by series, as `summary_from_json` takes them. Not thread-safe."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[object, dict[str, Any]]] = {}
        self._due = 0.0

    def of(self, ranks: list[list[Boot]], scalars: Merged) -> Stored:
        """Return what every series came to. Some seconds old where a large run of several processes is running."""
        stored = _written(ranks)
        if stored is None:
            stored = self._count(ranks, scalars)
        better = _better(ranks)
        return {name: {**value, "better": better.get(name, better.get(_plain(name)))} for name, value in stored.items()}

    def _count(self, ranks: list[list[Boot]], scalars: Merged) -> Stored:
        began = time.monotonic()
        running = any(boot.status(time.time()) == "running" for boots in ranks for boot in boots[-1:])
        if not running or began >= self._due:
            scalars.refresh(ranks)
            self._counted = {name: self._one(name, scalars) for name in scalars.names()}
            took = time.monotonic() - began
            self._due = began + SHARE * took if took > FREE_SECS else 0.0
        return {name: value for name, (_, value) in self._counted.items()}

    def _one(self, name: str, scalars: Merged) -> tuple[object, dict[str, Any]]:
        stamp = scalars.stamp(name)
        known = self._counted.get(name)
        if known is not None and known[0] == stamp:
            return known
        series = scalars.series(name)
        tally = Tally(name)
        tally.add(series.steps, series.v)
        return stamp, summary_to_json(tally.summary())


def _written(ranks: list[list[Boot]]) -> Stored | None:
    """Return what the one writer wrote, None where that is not the whole truth."""
    if len(ranks) != 1 or len(ranks[0]) != 1 or ranks[0][0].folder.rank:
        return None
    boot = ranks[0][0]
    if boot.status(time.time()) != "running" and boot.folder.journal.exists():
        return None
    boot.summary_file.refresh()
    return dict(boot.summary_file.value.get("series") or {})


def _better(ranks: list[list[Boot]]) -> dict[str, Any]:
    better: dict[str, Any] = {}
    for boot in (boot for boots in ranks for boot in boots):
        for name, facts in (boot.state.get("defines") or {}).items():
            better[name] = facts.get("better", better.get(name))
    return better


def _plain(name: str) -> str:
    """What the ranks call a series: what is better of `loss` is better of `ranks/mean/loss`."""
    found = _PLAIN.match(name)
    return name[found.end() :] if found else name
