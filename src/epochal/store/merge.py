"""All scalars of a run: the parts of its processes put together, and of rewound steps only the later ones shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from epochal.facts import is_system
from epochal.store.boots import Boot, shown_before
from epochal.store.columns import GrowingSeries, ScalarSeries, frozen
from epochal.store.layout import RunFolder
from epochal.store.reduce import REDUCTIONS, reduce_ranks, reduced_name
from epochal.store.scalars import ScalarTail

__all__ = ["Merged"]

_OF_ONE_RANK = ("epoch",)
"""Series that all ranks log alike: a mean of them says nothing."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A series' rows in one process's part of the run; those from step `end` on are hidden."""

    tail: ScalarTail
    name: str
    end: int | None

    @property
    def rows(self) -> GrowingSeries:
        return self.tail.series[self.name]


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A series made of the same series of several ranks."""

    how: str
    of: tuple[str, ...]


class Merged:
    """Scalars by series name. Not thread-safe.

    Series of rank 0 keep their names; those of another rank r are called `rank<r>/<name>`; where several ranks log a
    series, `ranks/mean/<name>`, `ranks/min/<name>` and `ranks/max/<name>` are made of them. Within a rank, a later
    boot hides the rows of earlier boots: all above the step it went back to, where it says one, and for each series
    it also logs those from its own smallest step on.
    """

    def __init__(self, run: RunFolder) -> None:
        self.hidden = 0
        self.tails: dict[str, ScalarTail] = {}
        self._run = run
        self._layout: object = None
        self._parts: dict[str, list[_Part]] = {}
        self._reduced: dict[str, _Reduced] = {}
        self._sharing: set[tuple[str, ...]] = set()
        self._made: dict[str, tuple[object, ScalarSeries]] = {}

    def refresh(self, ranks: list[list[Boot]]) -> bool:
        """Read what is new from all parts; say whether there was anything."""
        tails: dict[str, ScalarTail] = {}
        changed = False
        for boots in ranks:
            for boot in boots:
                tail = self.tails.get(boot.folder.name)
                if tail is None:
                    tail, changed = ScalarTail(self._run, boot.folder), True
                changed |= tail.refresh(ended=boot.ended)
                tails[boot.folder.name] = tail
        layout = [(boot.folder.name, end) for boots in ranks for boot, end in shown_before(boots)]
        if changed or layout != self._layout:
            if layout != self._layout:
                self._layout, self._sharing = layout, set()
            self.tails = tails
            self._arrange(ranks)
        return changed

    def _arrange(self, ranks: list[list[Boot]]) -> None:
        self._parts, self.hidden = {}, 0
        of_names: dict[str, list[str]] = {}
        for boots in ranks:
            parts: dict[str, list[_Part]] = {}
            for boot, end in shown_before(boots):
                tail = self.tails[boot.folder.name]
                for name, rows in tail.series.items():
                    if not rows.rows:
                        continue
                    if end is not None and rows.first_step >= end:
                        self.hidden += rows.rows
                    else:
                        parts.setdefault(name, []).append(_Part(tail, name, end))
            prefix = f"rank{boots[0].folder.rank}/" if boots and boots[0].folder.rank else ""
            for name, found in parts.items():
                shown = prefix + name
                while shown in self._parts:  # a lower rank logged a series of that very name
                    shown += "~"
                self._parts[shown] = found
                of_names.setdefault(name, []).append(shown)
        self._reduced = {
            reduced_name(how, name): _Reduced(how, tuple(of))
            for name, of in of_names.items()
            if len(of) > 1 and name not in _OF_ONE_RANK and not is_system(name) and self._share_a_step(tuple(of))
            for how in REDUCTIONS
            if reduced_name(how, name) not in self._parts
        }
        for name, found in self._parts.items():
            if len(found) > 1 or found[0].end is not None:
                self.hidden += sum(part.rows.rows for part in found) - len(self.series(name))

    def _share_a_step(self, names: tuple[str, ...]) -> bool:
        """Whether at least two of these series have a row of the same step; once they do, they always will."""
        if names in self._sharing:
            return True
        firsts = [min(part.rows.first_step for part in self._parts[name]) for name in names]
        if len(set(firsts)) == len(firsts):  # else they began together, as nearly always
            every = np.sort(np.concatenate([np.unique(self.series(name).steps) for name in names]))
            if not (every[1:] == every[:-1]).any():
                return False
        self._sharing.add(names)
        return True

    def __contains__(self, name: str) -> bool:
        return name in self._parts or name in self._reduced

    def names(self) -> list[str]:
        """Return the names of all series, sorted."""
        return sorted([*self._parts, *self._reduced])

    def stamp(self, name: str) -> object:
        """Return what changes when rows came to a series; KeyError when there is none."""
        if (reduced := self._reduced.get(name)) is not None:
            return tuple(self.stamp(of) for of in reduced.of)
        return tuple((part.tail.folder.name, part.tail.revision, part.end) for part in self._parts[name])

    def series(self, name: str) -> ScalarSeries:
        """Return one series; KeyError when there is none."""
        reduced = self._reduced.get(name)
        if reduced is None:
            parts = self._parts[name]
            if len(parts) == 1 and parts[0].end is None:
                return parts[0].rows.series(name)
        stamp = self.stamp(name)
        made = self._made.get(name)
        if made is None or made[0] != stamp:
            if reduced is not None:
                whole = reduce_ranks(name, reduced.how, [self.series(of) for of in reduced.of])
            else:
                whole = _join(name, self._parts[name])
            made = self._made[name] = (stamp, whole)
        return made[1]

    def last_step(self, boot: Boot) -> int | None:
        """Return the largest step read of a writer's part, without the machine's series; None when there is none."""
        tail = self.tails.get(boot.folder.name)
        if tail is None:
            return None
        steps = (rows.last_step for name, rows in tail.series.items() if rows.rows and not is_system(name))
        return max(steps, default=None)

    def mark(self, boot: Boot) -> object:
        """Return what changes when scalars came to a writer's part."""
        return self.tails[boot.folder.name].revision if boot.folder.name in self.tails else 0


def _join(name: str, parts: list[_Part]) -> ScalarSeries:
    kept: list[ScalarSeries] = []
    end: int | None = None
    for part in reversed(parts):
        rows = part.rows
        before = min((e for e in (end, part.end) if e is not None), default=None)
        kept.insert(0, rows.series(name, before=before))
        end = rows.first_step if end is None else min(end, rows.first_step)
    return frozen(
        name,
        np.concatenate([s.steps for s in kept]),
        np.concatenate([s.t for s in kept]),
        np.concatenate([s.v for s in kept]),
    )
