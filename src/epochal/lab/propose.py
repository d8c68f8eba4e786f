"""Optuna's samplers, which propose the next point from what came of those before, and its pruners.

Optuna is asked and told; it starts nothing and stores nothing, the lab's own events are what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from epochal.errors import MissingExtraError, UsageError
from epochal.lab.space import Choice, Space, same

__all__ = ["Proposing", "Pruning"]

_SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "nsgaii": "NSGAIISampler", "qmc": "QMCSampler"}
_PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"percentile": (25.0,)}


class Proposing:
    """Proposes points of a space. `directions` has `min` or `max` for each objective."""

    def __init__(self, space: Space, *, sampler: str, directions: Sequence[str], seed: int) -> None:
        optuna = _optuna()
        try:
            made = getattr(optuna.samplers, _SAMPLERS[sampler])(seed=seed)
        except ImportError as error:
            raise MissingExtraError(f"The sampler {sampler!r} needs more: {error}") from error
        self._optuna = optuna
        self._space = space
        self._study = optuna.create_study(sampler=made, directions=[_direction(mode) for mode in directions])
        self._open: dict[int, Any] = {}

    def propose(self, configuration: int) -> dict[str, Any]:
        """The point that is to be tried next, known from now on by this number."""
        trial = self._study.ask()
        self._open[configuration] = trial
        point: dict[str, Any] = {}
        for name, rule in self._space.rules.items():
            if not self._space.active(name, point):
                continue
            if isinstance(rule, Choice):
                # Choices may be lists, which Optuna does not take: it chooses among their numbers.
                numbers = list(range(len(rule.values)))
                point[name] = rule.values[trial.suggest_categorical(name, numbers)]
            elif rule.kind == "int":
                step = int(rule.step or 1)
                point[name] = trial.suggest_int(name, int(rule.low), int(rule.high), step=step, log=rule.log)
            else:
                point[name] = trial.suggest_float(name, rule.low, rule.high, step=rule.step, log=rule.log)
        return point

    def tell(self, configuration: int, values: Sequence[float] | None) -> None:
        """What came of a point that was proposed; None where nothing did."""
        trial = self._open.pop(configuration, None)
        if trial is None:
            return
        if values is None or not all(map(math.isfinite, values)):
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

    def remember(self, point: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """What came of a point earlier, in another process; points that the space does not have are passed by."""
        distributions: dict[str, Any] = {}
        chosen: dict[str, Any] = {}
        made = self._optuna.distributions
        for name, rule in self._space.rules.items():
            if name not in point:
                continue
            value = point[name]
            if isinstance(rule, Choice):
                places = [i for i, known in enumerate(rule.values) if same(known, value)]
                if not places:
                    return
                distributions[name] = made.CategoricalDistribution(list(range(len(rule.values))))
                chosen[name] = places[0]
            elif rule.kind == "int":
                step = int(rule.step or 1)
                distributions[name] = made.IntDistribution(int(rule.low), int(rule.high), log=rule.log, step=step)
                chosen[name] = value
            else:
                distributions[name] = made.FloatDistribution(rule.low, rule.high, log=rule.log, step=rule.step)
                chosen[name] = value
        known = values is not None and all(map(math.isfinite, values))
        state = self._optuna.trial.TrialState
        self._study.add_trial(
            self._optuna.create_trial(
                state=state.COMPLETE if known else state.FAIL,
                values=list(values) if known and values is not None else None,
                params=chosen,
                distributions=distributions,
            )
        )


class Pruning:
    """Says which trials are not worth going on with, from how they and the others have come along."""

    def __init__(self, *, pruner: str, direction: str) -> None:
        optuna = _optuna()
        made = getattr(optuna.pruners, _PRUNERS[pruner])(*_ARGUMENTS.get(pruner, ()))
        sampler = optuna.samplers.RandomSampler(seed=0)
        self._optuna = optuna
        self._study = optuna.create_study(direction=_direction(direction), pruner=made, sampler=sampler)
        self._open: dict[int, Any] = {}
        self._last: dict[int, int] = {}

    def report(self, number: int, values: Sequence[tuple[int, float]]) -> bool:
        """Tell of a trial's objective so far, as (epoch or step, value); whether the trial should end now."""
        trial = self._open.get(number)
        if trial is None:
            trial = self._open[number] = self._study.ask()
        new = [(step, value) for step, value in values if step > self._last.get(number, -1) and math.isfinite(value)]
        for step, value in new:
            trial.report(value, step)
            self._last[number] = step
            if trial.should_prune():
                return True
        return False

    def done(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Tell that a trial has ended."""
        trial = self._open.pop(number, None)
        if trial is None:
            return
        states = self._optuna.trial.TrialState
        if pruned:
            self._study.tell(trial, state=states.PRUNED)
        elif value is None or not math.isfinite(value):
            self._study.tell(trial, state=states.FAIL)
        else:
            self._study.tell(trial, value)


def _direction(mode: str) -> str:
    if mode not in ("min", "max"):
        raise UsageError(f"mode is {mode!r}", hint="use 'min' or 'max'")
    return "minimize" if mode == "min" else "maximize"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(
            "Samplers and pruners of Optuna need the package optuna.", hint="pip install 'epochal[optuna]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
