"""Whether trainings differ because of what was chosen, or because of the seed: one-way random effects.

The share of variance between configurations is the intraclass correlation of P. E. Shrout and J. L. Fleiss,
Psychological Bulletin 86 (1979) 420, their ICC(1, 1), with the exact interval from the F distribution; where numbers
of repeats differ it is approximate, with the mean number of S. R. Searle, Linear Models (1971), 9.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from epochal.views.effects_design import Design
from epochal.views.quantiles import f_quantile

__all__ = ["Spread", "measure_spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Standard deviations of repeats of one configuration and of configurations, and which share of the variance
    lies between configurations, with its 95 % interval. All NaN where nothing was repeated."""

    repeats_std: float
    configurations_std: float
    share: float
    low: float
    high: float
    configurations: int
    repeats_least: int
    repeats_most: int

    @property
    def told(self) -> bool:
        """Whether there is anything to conclude from."""
        return math.isfinite(self.share)


def measure_spread(design: Design) -> Spread:
    """Compare repeats with configurations; every trial counts, also where configurations have different numbers."""
    counts = design.counts.astype(np.float64)
    size, total = design.configurations, float(counts.sum())
    least, most = (int(counts.min()), int(counts.max())) if size else (0, 0)
    known = {"configurations": size, "repeats_least": least, "repeats_most": most}
    between_freedom, within_freedom = size - 1, total - size
    nan = math.nan
    if between_freedom < 1 or within_freedom < 1:
        return Spread(repeats_std=nan, configurations_std=nan, share=nan, low=nan, high=nan, **known)
    mean = float(design.values.mean())
    within = float(((design.values - design.means[design.cells]) ** 2).sum()) / within_freedom
    between = float((counts * (design.means - mean) ** 2).sum()) / between_freedom
    each = (total - float((counts**2).sum()) / total) / between_freedom
    variance = max(0.0, (between - within) / each)
    if within <= 0:
        share = low = high = 1.0 if between > 0 else nan
    else:
        share = variance / (variance + within)
        ratio = between / within
        lower = ratio / f_quantile(0.975, between_freedom, within_freedom)
        upper = ratio * f_quantile(0.975, within_freedom, between_freedom)
        low, high = (min(1.0, max(0.0, (f - 1) / (f + each - 1))) for f in (lower, upper))
    return Spread(
        repeats_std=math.sqrt(within), configurations_std=math.sqrt(variance), share=share, low=low, high=high, **known
    )
