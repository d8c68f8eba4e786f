"""What a reader hands out: series and tables as read-only numpy columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["GrowingSeries", "ScalarSeries", "StatisticsTable"]

Steps = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
FIRST_ROWS = 256


@dataclass(frozen=True, slots=True)
class ScalarSeries:
    """One scalar series: `steps` [n] int64 never falling, `t` [n] unix seconds, `v` [n] float64 exactly as logged.

    Rows of the same step stand in the order in which they were logged. The arrays are read-only.
    """

    name: str
    steps: Steps
    t: Floats
    v: Floats

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """A tensor's statistics through time: one row per look, steps never falling.

    `columns` holds the names of facts.STATISTICS, each [n]; `counts` [n, 64] uint32 with outer edges `lo`, `hi` [n].
    """

    series: str
    steps: Steps
    t: Floats
    columns: Mapping[str, npt.NDArray[np.generic]]
    lo: Floats
    hi: Floats
    counts: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.steps)


class GrowingSeries:
    """Rows of one series in the order logged: those of the stream, then those only in the journal.

    Arrays grow in place: what was handed out stays valid, since rows are only ever added behind it; journal rows are
    overwritten by the same rows once they come by the stream.
    """

    __slots__ = ("_sorted", "_steps", "_t", "_v", "rows", "stream_rows")

    def __init__(self, expected: int = 0) -> None:
        capacity = max(FIRST_ROWS, expected)
        self.rows = self.stream_rows = 0
        self._steps, self._t, self._v = _empty(capacity)
        self._sorted = True

    def add(self, steps: Steps, t: Floats, v: Floats, *, journal: bool = False) -> None:
        """Add rows behind those of the stream, or, for `journal`, behind all."""
        start = self.rows if journal else self.stream_rows
        end = start + len(steps)
        if end > len(self._steps):
            self._grow(start, end)
        self._steps[start:end], self._t[start:end], self._v[start:end] = steps, t, v
        if self._sorted:
            part = self._steps[max(0, start - 1) : end]
            self._sorted = not (part[1:] < part[:-1]).any()
        self.rows = end
        if not journal:
            self.stream_rows = end

    def drop_journal(self) -> None:
        """Forget the rows that came by the journal."""
        self.rows = self.stream_rows

    def _grow(self, keep: int, needed: int) -> None:
        old = self._steps, self._t, self._v
        # Pages of a fresh large array cost memory only once they are written, so doubling is cheap.
        self._steps, self._t, self._v = _empty(max(needed, 2 * len(old[0])))
        self._steps[:keep], self._t[:keep], self._v[:keep] = old[0][:keep], old[1][:keep], old[2][:keep]

    def series(self, name: str, *, before: int | None = None) -> ScalarSeries:
        """Return the rows sorted by step; with `before`, only those of smaller steps."""
        parts = (self._steps[: self.rows], self._t[: self.rows], self._v[: self.rows])
        if not self._sorted:
            order = np.argsort(parts[0], kind="stable")
            parts = (parts[0][order], parts[1][order], parts[2][order])
        if before is not None:
            end = int(np.searchsorted(parts[0], before))
            parts = (parts[0][:end], parts[1][:end], parts[2][:end])
        return frozen(name, *parts)

    @property
    def first_step(self) -> int:
        """The smallest step."""
        return int(self._steps[0] if self._sorted else self._steps[: self.rows].min())

    @property
    def last_step(self) -> int:
        """The largest step."""
        return int(self._steps[self.rows - 1] if self._sorted else self._steps[: self.rows].max())


def _empty(rows: int) -> tuple[Steps, Floats, Floats]:
    return np.empty(rows, np.int64), np.empty(rows, np.float64), np.empty(rows, np.float64)


def frozen(name: str, steps: Steps, t: Floats, v: Floats) -> ScalarSeries:
    """Return a series whose arrays cannot be written through."""
    steps, t, v = steps.view(), t.view(), v.view()
    for view in (steps, t, v):
        view.flags.writeable = False
    return ScalarSeries(name, steps, t, v)
