"""Histograms and statistics of one tensor at every step at which it was looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError
from epochal.facts import STATISTICS
from epochal.store.columns import StatisticsTable
from epochal.store.reader import StoredRun

__all__ = ["ColumnStack", "HistogramStack", "change_of_mean", "make_columns", "make_histograms"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HistogramStack:
    """`counts` [T, 64] between the outer edges `lo` and `hi` [T], and `statistics` [T, 12], columns as STATISTICS."""

    steps: npt.NDArray[np.int64]
    counts: npt.NDArray[np.uint32]
    lo: npt.NDArray[np.float64]
    hi: npt.NDArray[np.float64]
    statistics: npt.NDArray[np.float64]


def make_histograms(run: StoredRun, series: str) -> HistogramStack:
    """All histograms of a tensor, exactly as they were recorded."""
    table = run.statistics(series)
    if not len(table):
        raise NotFoundError(
            f"there are no histograms of {series!r} in run {run.info().run_id}",
            hint="run.watch(model) records them; the run's tensors are listed in its detail",
        )
    return HistogramStack(
        steps=table.steps,
        counts=table.counts,
        lo=table.lo,
        hi=table.hi,
        statistics=np.stack([np.asarray(table.columns[name], np.float64) for name in STATISTICS], axis=1),
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ColumnStack:
    """One statistic of several tensors through time: those of tensor i lie at [starts[i], starts[i + 1])."""

    series: tuple[str, ...]
    starts: npt.NDArray[np.uint32]
    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def make_columns(run: StoredRun, kind: str, column: str) -> ColumnStack:
    """One statistic (one of STATISTICS) of all tensors of a kind: `param`, `grad` or `act`."""
    found = run.statistics_columns(f"{kind}/", column)
    counts = [len(steps) for steps, _ in found.values()]
    return ColumnStack(
        series=tuple(found),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32),
        steps=np.concatenate([np.empty(0, np.int64), *(steps for steps, _ in found.values())]),
        values=np.concatenate([np.empty(0), *(values for _, values in found.values())]),
    )


def change_of_mean(table: StatisticsTable) -> float | None:
    """How far a tensor's mean moved over the run, in units of its first standard deviation; None if that is 0."""
    mean, std = np.asarray(table.columns["mean"], np.float64), np.asarray(table.columns["std"], np.float64)
    known = np.flatnonzero(np.isfinite(mean) & np.isfinite(std))
    if not len(known) or std[known[0]] == 0.0:
        return None
    change = abs(float(mean[known[-1]]) - float(mean[known[0]])) / float(std[known[0]])
    return change if np.isfinite(change) else None
