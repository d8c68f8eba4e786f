"""Shares of the variance: of the levels of a parameter, of pairs of parameters, of repeats.

Sums of squares of the levels of all parameters, each after all others, less what noise alone would give: the epsilon
squared of T. L. Kelley, PNAS 21 (1935) 554. Where every combination was trained equally often they are the terms of a
functional analysis of variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from epochal.views.effects_contrast import Model, Noise, intervals, repeats_of, stacked
from epochal.views.effects_design import Design
from epochal.views.effects_facts import Effect, Interaction

__all__ = ["find_interactions", "share_of", "share_of_repeats"]

Floats = npt.NDArray[np.float64]

_INTERACTIONS_MOST = 10


def share_of_repeats(design: Design, total: float) -> float | None:
    """The share of the variance that repeats have, of the whole as the variance of noise would be found in it."""
    within = float(((design.values - design.means[design.cells]) ** 2).sum())
    freedom = len(design.values) - design.configurations
    if freedom < 1 or total <= 0:
        return None
    return min(1.0, within / freedom * (len(design.values) - 1) / total)


def share_of(design: Design, model: Model, of: Sequence[int], total: float, *, exact: bool) -> float | None:
    """The share of all variance that levels of a parameter add to what all others explain, less noise."""
    kept = np.ones(model.columns.shape[1], dtype=bool)
    for p in of:
        kept[model.starts[p] : model.starts[p] + len(design.levels[p]) - 1] = False
    weight = np.sqrt(design.counts.astype(np.float64))[:, None]
    y = design.means * weight[:, 0]
    gained, freedom = _gained(model.columns[:, kept] * weight, model.columns[:, ~kept] * weight, y)
    if not freedom or total <= 0:
        return None
    return float(max(0.0, gained - freedom * _noise(design, model, exact=exact)) / total)


def _noise(design: Design, model: Model, *, exact: bool) -> float:
    """The variance of one trial that a sum of squares has by chance, for each degree of freedom."""
    noise, freedom = design.noise
    lack = model.variance * float(design.counts.mean()) if model.freedom > 0 else math.nan
    candidates = [v for v in (noise if freedom else math.nan, math.nan if exact and freedom else lack) if v == v]
    return max(candidates, default=0.0)


def _gained(base: Floats, more: Floats, y: Floats) -> tuple[float, int]:
    """How much less is left of y [n] by columns `more` beside `base`, and the degrees of freedom that takes."""
    q, s, _ = np.linalg.svd(base, full_matrices=False)
    q = q[:, s > s.max() * 1e-9] if s.size else q
    rest = more - q @ (q.T @ more)
    u, s, _ = np.linalg.svd(rest, full_matrices=False)
    u = u[:, s > 1e-7 * max(1.0, float(np.abs(more).max()) * math.sqrt(len(y)))]
    return float(((u.T @ y) ** 2).sum()), u.shape[1]


def find_interactions(
    noise: Noise, model: Model, effects: Sequence[Effect], total: float
) -> tuple[list[Interaction], float]:
    """The pairs of parameters that do most together, and the share of variance that all pairs have."""
    design = noise.design
    place = {name: p for p, name in enumerate(design.parameters)}
    weight = np.sqrt(design.counts.astype(np.float64))[:, None]
    y = design.means * weight[:, 0]
    u, s, _ = np.linalg.svd(model.columns * weight, full_matrices=False)
    q = u[:, s > s.max() * 1e-9]
    rest = y - q @ (q.T @ y)
    shares: list[tuple[float, Effect, Effect]] = []
    chance = noise.pooled if noise.freedom else 0.0
    for one, other in combinations([e for e in effects if e.largest is not None], 2):
        products = _products(design, model, place[one.parameter], place[other.parameter]) * weight
        left = products - q @ (q.T @ products)
        basis, sizes, _ = np.linalg.svd(left, full_matrices=False)
        basis = basis[:, sizes > 1e-7 * math.sqrt(len(y) * float(weight.max()) ** 2)]
        if basis.shape[1] and total > 0:
            gained = float(((basis.T @ rest) ** 2).sum()) - basis.shape[1] * chance
            shares.append((max(0.0, gained / total), one, other))
    shares.sort(key=lambda row: -row[0])
    found = [_interaction(design, place, *row) for row in shares[:_INTERACTIONS_MOST]]
    rows = [(i, weights) for i, (_, weights) in enumerate(found) if weights is not None]
    listed = [interaction for interaction, _ in found]
    if rows and noise.freedom:
        told = intervals(noise, stacked([w for _, w in rows], design.configurations))
        for k, (i, weights) in enumerate(rows):
            repeats, enough = repeats_of(design, weights)
            listed[i] = Interaction(
                parameters=listed[i].parameters,
                levels=listed[i].levels,
                estimate=float(told.estimates[k]),
                low=float(told.low[k]) if enough else None,
                high=float(told.high[k]) if enough else None,
                share=listed[i].share,
                repeats=repeats,
            )
    return listed, sum(share for share, _, _ in shares)


def _products(design: Design, model: Model, p: int, q: int) -> Floats:
    one = model.columns[:, model.starts[p] : model.starts[p] + len(design.levels[p]) - 1]
    other = model.columns[:, model.starts[q] : model.starts[q] + len(design.levels[q]) - 1]
    return (one[:, :, None] * other[:, None, :]).reshape(design.configurations, -1)


def _interaction(
    design: Design, place: Mapping[str, int], share: float, one: Effect, other: Effect
) -> tuple[Interaction, Floats | None]:
    """The difference of differences between the levels of both that differ most, over places that have all four."""
    p, q = place[one.parameter], place[other.parameter]
    sides = (_ends(one), _ends(other))
    rest = np.ascontiguousarray(np.delete(design.exact, [p, q], axis=1))
    places: dict[bytes, dict[tuple[int, int], list[int]]] = {}
    for c in range(design.configurations):
        a, b = int(design.codes[c, p]), int(design.codes[c, q])
        if a in sides[0] and b in sides[1]:
            places.setdefault(rest[c].tobytes(), {}).setdefault((sides[0].index(a), sides[1].index(b)), []).append(c)
    whole = [corners for corners in places.values() if len(corners) == 4]
    weights: Floats | None = None
    if whole and 4 * len(whole) >= sum(len(c) for c in places.values()) / 2:
        weights = np.zeros(design.configurations)
        for corners in whole:
            for (i, j), members in corners.items():
                weights[members] += (1 if i == j else -1) / len(members) / len(whole)
    labels = tuple((e.levels[s[0]].label, e.levels[s[1]].label) for e, s in zip((one, other), sides, strict=True))
    return (
        Interaction(
            parameters=(one.parameter, other.parameter),
            levels=(labels[0], labels[1]),
            estimate=None if weights is None else float(weights @ design.means),
            low=None,
            high=None,
            share=share,
            repeats=(int(design.counts.min()), int(design.counts.max())),
        ),
        weights,
    )


def _ends(effect: Effect) -> tuple[int, int]:
    """The two levels that differ most."""
    return (0, 0) if effect.largest is None else (effect.largest.before, effect.largest.after)
