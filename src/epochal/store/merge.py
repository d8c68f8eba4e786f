"""All scalars of a run: the parts of its processes put together, and of rewound steps only the later ones shown."""

from __future__ import annotations

import numpy as np

from epochal.facts import is_system
from epochal.store.boots import Boot
from epochal.store.columns import GrowingSeries, ScalarSeries, frozen
from epochal.store.layout import RunFolder
from epochal.store.scalars import ScalarTail

__all__ = ["Merged"]


class Merged:
    """Scalars by series name. Not thread-safe.

    Series of rank 0 keep their names; those of another rank r are called `rank<r>/<name>`. Within a rank, a later boot
    hides the rows of earlier boots for each series it also logs, from its own smallest step on.
    """

    def __init__(self, run: RunFolder) -> None:
        self.hidden = 0
        self.tails: dict[str, ScalarTail] = {}
        self._run = run
        self._parts: dict[str, list[ScalarTail]] = {}
        self._plain: dict[str, str] = {}
        self._made: dict[str, tuple[tuple[int, ...], ScalarSeries]] = {}

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
        if changed or tails.keys() != self.tails.keys():
            self.tails = tails
            self._arrange(ranks)
        return changed

    def _arrange(self, ranks: list[list[Boot]]) -> None:
        self._parts, self._plain, self.hidden = {}, {}, 0
        for boots in ranks:
            for boot in boots:
                prefix = f"rank{boot.folder.rank}/" if boot.folder.rank else ""
                tail = self.tails[boot.folder.name]
                for name, rows in tail.series.items():
                    if rows.rows:
                        self._parts.setdefault(prefix + name, []).append(tail)
                        self._plain[prefix + name] = name
        for name, parts in self._parts.items():
            if len(parts) > 1:
                plain = self._plain[name]
                self.hidden += sum(t.series[plain].rows for t in parts) - len(self.series(name))

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def names(self) -> list[str]:
        """Return the names of all series, sorted."""
        return sorted(self._parts)

    def series(self, name: str) -> ScalarSeries:
        """Return one series; KeyError when there is none."""
        parts, plain = self._parts[name], self._plain[name]
        if len(parts) == 1:
            return parts[0].series[plain].series(name)
        stamp = tuple(tail.revision for tail in parts)
        made = self._made.get(name)
        if made is None or made[0] != stamp:
            made = self._made[name] = (stamp, _join(name, [tail.series[plain] for tail in parts]))
        return made[1]

    def last_step(self, boot: Boot) -> int | None:
        """Return the largest step read so far of a writer's part, the machine's series left out; None without any."""
        tail = self.tails.get(boot.folder.name)
        if tail is None:
            return None
        steps = (rows.last_step for name, rows in tail.series.items() if rows.rows and not is_system(name))
        return max(steps, default=None)

    def mark(self, boot: Boot) -> object:
        """Return what changes when scalars came to a writer's part."""
        return self.tails[boot.folder.name].revision if boot.folder.name in self.tails else 0


def _join(name: str, parts: list[GrowingSeries]) -> ScalarSeries:
    kept: list[ScalarSeries] = []
    end: int | None = None
    for rows in reversed(parts):
        kept.insert(0, rows.series(name, before=end))
        end = rows.first_step if end is None else min(end, rows.first_step)
    return frozen(
        name,
        np.concatenate([s.steps for s in kept]),
        np.concatenate([s.t for s in kept]),
        np.concatenate([s.v for s in kept]),
    )
