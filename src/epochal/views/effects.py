"""What each parameter of a lab did to its objective, how sure that is, and what the seed alone does.

For each parameter: the difference between any two of its levels with an interval (`effects_contrast`), and its share
of the variance by a functional analysis of variance (`effects_variance`), which F. Hutter, H. Hoos and K. Leyton-Brown
(ICML 2014) brought to parameters of learning. Nothing is concluded from configurations that were trained once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts import better_by_name
from epochal.facts.lab import LabInfo, Mode, TrialState
from epochal.views.effects_contrast import (
    Contrasts,
    Model,
    Noise,
    estimable,
    fit_model,
    intervals,
    model_weights,
    paired_weights,
    repeats_of,
    stacked,
)
from epochal.views.effects_design import Design, Observation, make_design
from epochal.views.effects_facts import Comparison, Conclusion, Effect, Effects
from epochal.views.effects_spread import measure_spread
from epochal.views.effects_variance import find_interactions, share_of, share_of_repeats

__all__ = ["measure_effects", "objectives_of"]

Floats = npt.NDArray[np.float64]

_RATIO = re.compile(r"(^|[/_ ])(acc|accuracy|auc|f1|precision|recall|iou|dice|top\d+|score)([/_ ]|$)", re.IGNORECASE)
_SIDES_MOST = 24
"""Parameters with more levels are not compared level by level."""


def objectives_of(states: Sequence[TrialState]) -> list[str]:
    """Metrics that finished trials have, in the order of their first appearance."""
    return list(dict.fromkeys(name for state in states if state.status == "finished" for name in state.metrics))


def measure_effects(info: LabInfo, states: Sequence[TrialState], objective: str | None = None) -> Effects:
    """Measure what each parameter did to `objective`, the lab's own where none is named.

    Raises UsageError for a metric that no finished trial has, when there are finished trials.
    """
    name = objective or info.objective
    known = objectives_of(states)
    if known and name not in known:
        raise UsageError(f"no finished trial has the metric {name!r}", hint=f"there are: {', '.join(known)}")
    observations, left_out = [], dict[str, int]()
    for state in states:
        value = state.metrics.get(name, math.nan)
        if state.status == "finished" and math.isfinite(value):
            observations.append(Observation(state.trial.parameters, value, state.trial.seed))
        elif state.status != "waiting":
            reason = "not finite" if state.status == "finished" else state.status
            left_out[reason] = left_out.get(reason, 0) + 1
    mode = _mode_of(info, name)
    return _measure(name, mode, observations, left_out)


def _mode_of(info: LabInfo, name: str) -> Mode:
    """Which way a metric is better: as the lab says of its objectives, else by its name."""
    said = {str(one): mode for one, mode in info.settings.get("objectives") or ()} | {info.objective: info.mode}
    if name in said:
        return "min" if said[name] == "min" else "max"
    return "max" if _RATIO.search(name) else better_by_name(name)


def _measure(name: str, mode: Mode, observations: Sequence[Observation], left_out: Mapping[str, int]) -> Effects:
    values = [one.value for one in observations]
    points = bool(values) and bool(_RATIO.search(name)) and min(values) >= 0 and max(values) <= 1
    if not values:
        empty = make_design([])
        return Effects(
            objective=name,
            mode=mode,
            points=False,
            trials=0,
            configurations=0,
            left_out=left_out,
            effects=(),
            interactions=(),
            spread=measure_spread(empty),
            rest=None,
            of_repeats=None,
        )
    design = make_design(observations)
    model = fit_model(design)
    total = float(((design.values - design.values.mean()) ** 2).sum())
    noise = Noise(design)
    effects = [_effect(noise, model, p, mode, total) for p in range(len(design.parameters))]
    effects.sort(key=lambda e: (-(e.share if e.share is not None else -1), e.parameter))
    interactions, pair_shares = find_interactions(noise, model, effects, total)
    of_repeats = share_of_repeats(design, total)
    rest = None
    if of_repeats is not None:
        rest = max(0.0, 1 - of_repeats - sum(e.share or 0 for e in effects) - pair_shares)
    return Effects(
        objective=name,
        mode=mode,
        points=points,
        trials=len(values),
        configurations=design.configurations,
        left_out=left_out,
        effects=effects,
        interactions=interactions,
        spread=measure_spread(design),
        rest=rest,
        of_repeats=of_repeats,
        equal_repeats=bool(noise.freedom and noise.pooled <= (1e-9 * max(map(abs, values))) ** 2),
        fixed={key: value for key, value in observations[0].parameters.items() if key not in design.parameters},
    )


def _effect(noise: Noise, model: Model, p: int, mode: Mode, total: float) -> Effect:
    design = noise.design
    levels = design.levels[p]
    k = len(levels)
    of_trials = design.codes[design.cells, p]
    trials = np.bincount(of_trials, minlength=k)
    means = np.bincount(of_trials, weights=design.values, minlength=k) / np.maximum(trials, 1)
    comparisons, confounded = ([], ()) if k > _SIDES_MOST else _compare(noise, model, p, mode)
    largest = max(comparisons, key=lambda c: abs(c.estimate), default=None)
    if largest is None:
        conclusion: Conclusion = "confounded"
    elif largest.low is None:
        conclusion = "one repeat"
    else:
        conclusion = "effect" if largest.clear else "unclear"
    paired = largest is not None and largest.paired
    return Effect(
        parameter=design.parameters[p],
        levels=levels,
        means=means.tolist(),
        trials=trials.tolist(),
        configurations=np.bincount(design.codes[:, p], minlength=k).tolist(),
        comparisons=comparisons,
        largest=largest,
        share=None if largest is None else share_of(design, model, [p], total, exact=paired),
        conclusion=conclusion,
        confounded=confounded,
    )


def _compare(noise: Noise, model: Model, p: int, mode: Mode) -> tuple[list[Comparison], tuple[str, ...]]:
    """All pairs of levels that can be compared, each in the direction that is better."""
    design = noise.design
    paired: list[tuple[int, int, Floats, int]] = []
    modelled: list[tuple[int, int, Floats, int]] = []
    lost: tuple[int, int] | None = None
    for a, b in combinations(range(len(design.levels[p])), 2):
        found = paired_weights(design, p, a, b)
        if found is not None:
            paired.append((a, b, *found))
            continue
        weights = model_weights(design, model, p, a, b)
        if weights is None:
            lost = lost or (a, b)
        else:
            modelled.append((a, b, weights, int(np.isin(design.codes[:, p], (a, b)).sum())))
    comparisons: list[Comparison] = []
    # What noise is differs between the two kinds; together they hold as often as each is asked to.
    share = 0.95 if not (paired and modelled) else 0.975
    for rows, of_model in ((paired, None), (modelled, model)):
        if rows:
            weights = stacked([row[2] for row in rows], design.configurations)
            found_intervals = intervals(noise, weights, model=of_model, share=share)
            comparisons += [
                _comparison(design, row, i, found_intervals, mode, paired=of_model is None)
                for i, row in enumerate(rows)
            ]
    confounded: tuple[str, ...] = ()
    if lost is not None and not comparisons:
        confounded = _confounders(design, model, p, *lost)
    return comparisons, confounded


def _comparison(
    design: Design, row: tuple[int, int, Floats, int], i: int, found: Contrasts, mode: Mode, *, paired: bool
) -> Comparison:
    a, b, weights, places = row
    estimate, low, high = float(found.estimates[i]), float(found.low[i]), float(found.high[i])
    if (estimate < 0) == (mode == "max"):
        a, b, estimate, low, high = b, a, -estimate, -high, -low
    repeats, told = repeats_of(design, weights)
    told = told and math.isfinite(low)
    return Comparison(
        before=a,
        after=b,
        estimate=estimate,
        low=low if told else None,
        high=high if told else None,
        paired=paired,
        places=places,
        repeats=repeats,
    )


def _confounders(design: Design, model: Model, p: int, a: int, b: int) -> tuple[str, ...]:
    """Parameters without any one of which the two levels could be told apart; all others where it takes several."""
    contrast = np.zeros(model.columns.shape[1])
    for level, sign in ((a, -1.0), (b, 1.0)):
        if level:
            contrast[model.starts[p] + level - 1] += sign
    found, others = [], []
    for q, name in enumerate(design.parameters):
        if q == p:
            continue
        others.append(name)
        kept = np.ones(len(contrast), dtype=bool)
        kept[model.starts[q] : model.starts[q] + len(design.levels[q]) - 1] = False
        columns = model.columns[:, kept]
        if estimable(columns, np.asarray(np.linalg.pinv(columns, rcond=1e-10)), contrast[kept]) is not None:
            found.append(name)
    return tuple(found or others)
