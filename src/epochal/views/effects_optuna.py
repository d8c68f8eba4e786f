"""A second opinion on which parameters mattered: Optuna's evaluators of importance, where it is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from epochal.errors import MissingExtraError, UsageError
from epochal.facts.lab import LabInfo, TrialState

__all__ = ["Evaluator", "has_optuna", "optuna_importance"]

Evaluator = Literal["fanova", "mdi"]


def has_optuna() -> bool:
    """Whether Optuna and what its evaluators need are installed; they are not imported for that."""
    return all(importlib.util.find_spec(name) is not None for name in ("optuna", "sklearn"))


def optuna_importance(
    info: LabInfo,
    states: Sequence[TrialState],
    objective: str | None = None,
    *,
    evaluator: Evaluator = "fanova",
    seed: int = 0,
) -> dict[str, float]:
    """The importance of each parameter that varied, most important first, summing to one.

    `fanova` is that of Hutter, Hoos and Leyton-Brown (2014), `mdi` the mean decrease of impurity; both of a random
    forest, which is fitted to trials as they are: repeats count as trials of their own. Numbers go in as numbers, other
    values as choices, a parameter that some trials lack as the choice not to set it. Raises MissingExtraError.
    """
    if not has_optuna():
        words = "the importance by Optuna needs Optuna and scikit-learn"
        raise MissingExtraError(words, hint="pip install epochal[optuna,sklearn]")
    import optuna

    name = objective or info.objective
    done = [s for s in states if s.status == "finished" and math.isfinite(s.metrics.get(name, math.nan))]
    if len(done) < 2:
        raise UsageError(f"two finished trials with {name} are needed", hint="importance compares trials")
    names = list(dict.fromkeys(key for state in done for key in state.trial.parameters))
    columns = {key: [_value(state.trial.parameters.get(key)) for state in done] for key in names}
    columns = {key: values for key, values in columns.items() if len(set(map(repr, values))) > 1}
    if not columns:
        return {}
    spaces = {key: _distribution(optuna, values) for key, values in columns.items()}
    choices = {key: isinstance(space, optuna.distributions.CategoricalDistribution) for key, space in spaces.items()}
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings(), contextlib.ExitStack() as after:
        after.callback(optuna.logging.set_verbosity, said)
        warnings.simplefilter("ignore")  # of what is experimental in it
        study = optuna.create_study(direction="maximize" if info.mode == "max" else "minimize")
        for i, state in enumerate(done):
            parameters = {key: str(v[i]) if choices[key] else v[i] for key, v in columns.items()}
            study.add_trial(
                optuna.trial.create_trial(params=parameters, distributions=spaces, value=state.metrics[name])
            )
        judge: Any = (
            optuna.importance.FanovaImportanceEvaluator(seed=seed)
            if evaluator == "fanova"
            else optuna.importance.MeanDecreaseImpurityImportanceEvaluator(seed=seed)
        )
        found = optuna.importance.get_param_importances(study, evaluator=judge)
    return {str(key): float(value) for key, value in found.items()}


def _value(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return json.dumps(value, sort_keys=True, default=str)
    return value


def _distribution(optuna: Any, values: Sequence[Any]) -> Any:
    if any(isinstance(value, str) for value in values):
        return optuna.distributions.CategoricalDistribution(sorted({str(value) for value in values}))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= 100
    if all(isinstance(value, int) for value in values):
        return optuna.distributions.IntDistribution(low, high, log=log)
    return optuna.distributions.FloatDistribution(float(low), float(high), log=log)
