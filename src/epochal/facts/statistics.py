"""Facts about one tensor at one step: its statistics and its histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HISTOGRAM_BINS = 64

STATISTICS = ("mean", "std", "min", "max", "norm", "update_ratio", "zeros", "nan", "inf", "size", "seen", "dead")
"""Names of the numbers kept for a tensor at a step, besides its histogram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsRow:
    """Statistics of one tensor at one step.

    `series` is `param/<name>`, `grad/<name>` or `act/<layer>`. `mean`, `std` (population), `min`, `max` and the
    2-norm are over the finite values, NaN when there is none; `zeros`, `nan`, `inf` count values. `size` is how many
    values the tensor has, `seen` how many of them the histogram is of (fewer only where a large output was sampled).
    `update_ratio` is the 2-norm of the change since the tensor's previous row over the 2-norm it had then, NaN where
    that is unknown. `dead` is the share of an activation's units (channels, or last-axis features) that put out exactly
    0 for every example of the batch, NaN for all else. `counts` [64] uint32 are numpy's `histogram(values, 64, (lo,
    hi))` of the finite values seen, taken as float64; `lo` and `hi` are the outer edges: their min and max, half a unit
    more on each side where they are equal, and a little more where they are too close for 64 edges between them.
    """

    series: str
    step: int
    t: float
    mean: float
    std: float
    min: float
    max: float
    norm: float
    update_ratio: float
    zeros: int
    nan: int
    inf: int
    size: int
    seen: int
    dead: float
    lo: float
    hi: float
    counts: npt.NDArray[np.uint32]
