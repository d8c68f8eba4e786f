"""Series made of those of several ranks: mean, least and greatest over the ranks that logged at the same step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epochal.store.columns import Floats, ScalarSeries, Steps, frozen

__all__ = ["REDUCTIONS", "reduce_ranks", "reduced_name"]

REDUCTIONS = ("mean", "min", "max")


def reduced_name(how: str, name: str) -> str:
    """Return what a reduced series is called: `ranks/mean/loss`."""
    return f"ranks/{how}/{name}"


def reduce_ranks(name: str, how: str, ranks: Sequence[ScalarSeries]) -> ScalarSeries:
    """Reduce the same series of several ranks to one row for each step that at least two of them logged.

    Of several rows of a rank at one step the last one counts. `t` is that of the latest rank; a NaN of any rank makes
    the step's value NaN, so that it is seen.
    """
    lasts = [_last_of_each(series) for series in ranks]
    if all(np.array_equal(steps, lasts[0][0]) for steps, _, _ in lasts[1:]):
        steps = lasts[0][0]
        t = np.max([t for _, t, _ in lasts], axis=0)
        return frozen(name, steps, t, _along(how, np.stack([v for _, _, v in lasts])))
    every = np.concatenate([steps for steps, _, _ in lasts])
    order = np.argsort(every, kind="stable")
    grouped = every[order]
    starts = np.flatnonzero(np.append(True, grouped[1:] != grouped[:-1])) if len(grouped) else np.empty(0, np.intp)
    counts = np.diff(np.append(starts, len(grouped)))
    # A step of one rank alone has nothing to be compared with.
    shared = np.repeat(counts > 1, counts)
    kept = order[shared]
    counts = counts[counts > 1]
    starts = np.cumsum(counts) - counts
    if not len(starts):
        return frozen(name, np.empty(0, np.int64), np.empty(0), np.empty(0))
    t = np.maximum.reduceat(np.concatenate([t for _, t, _ in lasts])[kept], starts)
    values = np.concatenate([v for _, _, v in lasts])[kept]
    with np.errstate(all="ignore"):
        if how == "mean":
            reduced = np.add.reduceat(values, starts) / counts
        else:
            reduced = (np.minimum if how == "min" else np.maximum).reduceat(values, starts)
    return frozen(name, every[kept][starts], t, reduced)


def _along(how: str, values: npt.NDArray[np.float64]) -> Floats:
    with np.errstate(all="ignore"):
        result: Floats = values.mean(axis=0) if how == "mean" else values.min(0) if how == "min" else values.max(0)
    return result


def _last_of_each(series: ScalarSeries) -> tuple[Steps, Floats, Floats]:
    steps = series.steps
    last = np.append(steps[1:] != steps[:-1], True) if len(steps) else np.empty(0, bool)
    return (steps, series.t, series.v) if last.all() else (steps[last], series.t[last], series.v[last])
