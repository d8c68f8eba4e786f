"""Differences between levels of a parameter, with intervals that hold for all of them at once.

A difference is a weighted sum of the configurations' means. Where other parameters stand equally on both sides, the
weights pair such configurations, and only repeats are uncertain; elsewhere they come from least squares on levels of
all parameters, and what that model leaves over is uncertain too.

Intervals of paired differences come from a parametric bootstrap of means and variances, one variance for each
configuration, as K. Krishnamoorthy, F. Lu and T. Mathew, Computational Statistics & Data Analysis 51 (2007) 5731,
draw them; those of several differences are as wide as the largest of them needs (the single-step method of
P. H. Westfall and S. S. Young, Resampling-Based Multiple Testing, 1993), so that the one that looks best may be picked.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epochal.views.effects_design import Design
from epochal.views.quantiles import t_quantile

__all__ = [
    "Contrasts",
    "Model",
    "Noise",
    "estimable",
    "fit_model",
    "intervals",
    "model_weights",
    "paired_weights",
    "repeats_of",
    "stacked",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DRAWS = 4000
_NUMBERS_MOST = 1_000_000
_PAIRED_LEAST = 0.5
_ROUNDING = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Contrasts:
    """Differences with their intervals, [K] each; `low` and `high` are NaN where repeats do not allow any."""

    estimates: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Least squares on the levels of all parameters: columns [C, Q], their pseudo-inverse, the variance that is left
    over and its degrees of freedom. `starts` says at which column each parameter's levels begin."""

    columns: Floats
    inverse: Floats
    rank: int
    variance: float
    freedom: int
    starts: tuple[int, ...]
    rest: Floats


def fit_model(design: Design) -> Model:
    """Fit each configuration's mean by one number for each level of each parameter."""
    columns = [np.ones(design.configurations)]
    starts = []
    for p, levels in enumerate(design.levels):
        starts.append(len(columns))
        columns += [(design.codes[:, p] == k).astype(np.float64) for k in range(1, len(levels))]
    x = np.stack(columns, axis=1)
    inverse = np.linalg.pinv(x, rcond=1e-10)
    rank = int(np.linalg.matrix_rank(x, tol=1e-8 * max(x.shape)))
    rest = design.means - x @ (inverse @ design.means)
    freedom = design.configurations - rank
    variance = float(rest @ rest) / freedom if freedom > 0 else math.nan
    return Model(x, np.asarray(inverse, dtype=np.float64), rank, variance, freedom, tuple(starts), rest)


def paired_weights(design: Design, p: int, a: int, b: int) -> tuple[Floats, int] | None:
    """Weights [C] of the mean of level b minus level a over all places where the other parameters stand equally, and
    how many places there are; None where fewer than half of the two levels' configurations have such a partner."""
    sides: tuple[dict[bytes, list[int]], dict[bytes, list[int]]] = (defaultdict(list), defaultdict(list))
    others = np.ascontiguousarray(np.delete(design.exact, p, axis=1))
    all_of = 0
    for side, level in zip(sides, (a, b), strict=True):
        for c in np.flatnonzero(design.codes[:, p] == level).tolist():
            side[others[c].tobytes()].append(c)
            all_of += 1
    shared = sides[0].keys() & sides[1].keys()
    used = sum(len(side[place]) for side in sides for place in shared)
    if not shared or used < _PAIRED_LEAST * all_of:
        return None
    weights = np.zeros(design.configurations)
    for side, sign in zip(sides, (-1, 1), strict=True):
        for place in shared:
            weights[side[place]] += sign / len(side[place]) / len(shared)
    return weights, len(shared)


def model_weights(design: Design, model: Model, p: int, a: int, b: int) -> Floats | None:
    """Weights [C] of the model's difference between two levels; None where they cannot be told from others'."""
    contrast = np.zeros(model.columns.shape[1])
    for level, sign in ((a, -1.0), (b, 1.0)):
        if level:
            contrast[model.starts[p] + level - 1] += sign
    return estimable(model.columns, model.inverse, contrast)


def estimable(columns: Floats, inverse: Floats, contrast: Floats) -> Floats | None:
    """Weights of a contrast of coefficients, None where the columns do not determine it."""
    weights = contrast @ inverse
    if np.abs(weights @ columns - contrast).max() > _ROUNDING * max(1.0, float(np.abs(inverse).max())):
        return None
    return np.asarray(weights, dtype=np.float64)


class Noise:
    """What repeats could have come to, drawn once for all questions about a design; the same for the same trials."""

    def __init__(self, design: Design, *, seed: int = 0) -> None:
        self.design = design
        self.pooled, self.freedom = design.noise
        size = design.configurations
        mine = design.freedom > 0
        self.own = np.divide(design.squares, design.freedom, out=np.full(size, self.pooled), where=mine)
        """The variance of one trial of each configuration [C]: its own where it was repeated, else that of all."""
        if not self.freedom:
            return
        draws = max(1000, min(_DRAWS, _NUMBERS_MOST // max(1, size)))
        rng = np.random.default_rng(seed)
        of_means = (self.own / design.counts)[:, None]
        self._means = rng.standard_normal((size, draws)) * np.sqrt(of_means)
        # A configuration that was trained once is as unsure of its noise as all others are together.
        shared = self.pooled * rng.chisquare(self.freedom, draws) / self.freedom
        self._errors = np.broadcast_to(shared / design.counts[:, None], (size, draws)).copy()
        freedom = design.freedom[mine, None]
        self._errors[mine] = of_means[mine] * rng.chisquare(freedom, (len(freedom), draws)) / freedom

    def factor(self, weights: Floats, share: float) -> float:
        """So many standard errors are enough for all differences `weights` [K, C] in a `share` of draws."""
        used = np.flatnonzero((weights != 0).any(axis=0))
        weights = weights[:, used]
        errors = np.sqrt((weights**2) @ self._errors[used])
        distances = np.abs(weights @ self._means[used])
        # No spread at all: the interval is a point.
        t = np.divide(distances, errors, out=np.zeros_like(distances), where=errors > 0)
        return float(np.quantile(t.max(axis=0), share))


def intervals(noise: Noise, weights: Floats, *, model: Model | None = None, share: float = 0.95) -> Contrasts:
    """Differences `weights` [K, C] with intervals that hold all at once in a `share` of cases.

    With a `model` that has degrees of freedom left, what it leaves over is the noise; else repeats are.
    """
    design = noise.design
    estimates = weights @ design.means
    nothing = np.full(len(weights), math.nan)
    if not noise.freedom:
        return Contrasts(estimates, nothing, nothing)
    errors = np.sqrt((weights**2) @ (noise.own / design.counts))
    if model is not None and model.freedom > 0:
        errors = np.maximum(errors, np.sqrt(model.variance * (weights**2).sum(axis=1)))
        factor = _model_factor(weights, model.freedom, share)
    else:
        factor = noise.factor(weights, share)
    return Contrasts(estimates, estimates - factor * errors, estimates + factor * errors)


def _model_factor(weights: Floats, freedom: int, share: float) -> float:
    if len(weights) == 1:
        return t_quantile((1 + share) / 2, freedom)
    rng = np.random.default_rng(0)
    # Differences of a handful of levels lie in a space of few dimensions: noise is drawn there.
    u, s, _ = np.linalg.svd(weights, full_matrices=False)
    kept = u[:, s > s[0] * 1e-9] * s[s > s[0] * 1e-9]
    z = np.abs(kept @ rng.standard_normal((kept.shape[1], _DRAWS)))
    length = np.sqrt((weights**2).sum(axis=1))[:, None]
    scale = np.sqrt(rng.chisquare(freedom, _DRAWS) / freedom)
    return float(np.quantile((z / length).max(axis=0) / scale, share))


def stacked(rows: Sequence[Floats], size: int) -> Floats:
    """Rows of weights as one array [K, size]."""
    return np.stack(rows) if rows else np.zeros((0, size))


def repeats_of(design: Design, weights: Floats) -> tuple[tuple[int, int], bool]:
    """Least and most repeats of the configurations that weigh, and whether something was repeated on both sides."""
    used = np.abs(weights) > 1e-9
    counts = design.counts[used]
    sides = [design.counts[used & (np.sign(weights) == sign)] for sign in (-1, 1)]
    return (int(counts.min()), int(counts.max())), all(len(s) > 0 and int(s.max()) > 1 for s in sides)
