"""Answers about labs: facts and effects as documents, the curves of all trials packed."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from epochal.errors import EpochalError
from epochal.facts.lab import TrialState
from epochal.store.library import Library
from epochal.views.effects import measure_effects, objectives_of
from epochal.views.effects_facts import Comparison, Effect, Effects, Interaction
from epochal.views.effects_optuna import has_optuna, optuna_importance
from epochal.views.effects_words import (
    comparison_text,
    effect_sentence,
    interaction_sentence,
    notes_of,
    spread_sentence,
)
from epochal.views.lab import (
    LabFacts,
    LabShelf,
    TrialCurve,
    best_trial,
    curve_pairs,
    read_curves,
    runs_by_id,
    varying_parameters,
)
from epochal.wire import frames
from epochal.wire.documents import to_json
from epochal.wire.queries import LabCurvesQuery, LabEffectsQuery, PlainQuery, read_query

__all__ = ["LABS", "LabAnswers", "effects_document", "lab_document", "lab_row"]

LABS = ("labs", "lab", "lab/effects", "lab/importance", "lab/curves")
"""The questions about labs."""

JSON = "application/json"
_LOOKED_INTO = 24
_KEPT = 32
_COMPARISONS_MOST = 28


class LabAnswers:
    """Answers questions about the labs of one library. Every method may be called from any thread."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.shelf = LabShelf(library.root)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def answer(self, what: str, project: str, lab_id: str, query: str) -> tuple[bytes, str]:
        """The body of an answer and its media type."""
        if what == "labs":
            read_query(PlainQuery, query)
            return to_json({"labs": [lab_row(facts) for facts in self.shelf.all()]}), JSON
        facts = self.shelf.get(project, lab_id)
        if what == "lab":
            read_query(PlainQuery, query)
            return to_json(lab_document(facts, self._names(facts))), JSON
        if what == "lab/curves":
            chosen = read_query(LabCurvesQuery, query)
            runs = runs_by_id(self._library.runs(), project)
            trials = None
            if chosen.first is not None or chosen.count is not None:
                # What is asked for may be any number: never more than there are.
                most = 1 + max((state.trial.number for state in facts.states), default=-1)
                first = min(chosen.first or 0, most)
                trials = range(first, most if chosen.count is None else min(most, first + chosen.count))
            curves = read_curves(facts, runs.get, chosen.name, trials=trials, points=chosen.points)
            return encode_curves(curves, chosen.name), frames.MEDIA_TYPE
        asked = read_query(LabEffectsQuery, query)
        # What trials came to does not change while others train: many questions, one calculation.
        return self._keep((what, facts.path, facts.version, asked.metric), lambda: _worked(what, facts, asked.metric))

    def _names(self, facts: LabFacts) -> list[str]:
        """The series of some of its runs, spread over the lab: those that differ in parameters may log other things."""
        runs = runs_by_id(self._library.runs(), facts.info.project)
        ids = [state.run for state in facts.states if state.run is not None and state.run in runs]
        names: dict[str, None] = {}
        for place in sorted(
            {round(i * (len(ids) - 1) / (_LOOKED_INTO - 1)) for i in range(_LOOKED_INTO)} if ids else ()
        ):
            with contextlib.suppress(EpochalError, OSError):
                names.update(dict.fromkeys(runs[ids[place]].series_names()))
        return list(names)

    def _keep(self, key: tuple[Any, ...], build: Callable[[], bytes]) -> tuple[bytes, str]:
        with self._lock:
            body = self._kept.get(key)
        if body is None:
            body = build()
            with self._lock:
                self._kept[key] = body
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return body, JSON


def _worked(what: str, facts: LabFacts, metric: str | None) -> bytes:
    if what == "lab/effects":
        return to_json(effects_document(measure_effects(facts.info, facts.states, metric)))
    found = optuna_importance(facts.info, facts.states, metric)
    return to_json({"metric": metric or facts.info.objective, "evaluator": "fanova", "importance": found})


def lab_row(facts: LabFacts) -> dict[str, Any]:
    """A LabRow."""
    info, best = facts.info, best_trial(facts)
    return {
        "id": facts.path,
        "project": info.project,
        "lab_id": info.id,
        "name": info.name,
        "created": info.created,
        "model": info.model,
        "data": info.data,
        "train": info.train,
        "objective": info.objective,
        "mode": info.mode,
        "repeats": info.repeats,
        "running": facts.running,
        "trials": len(facts.states),
        "counts": facts.counts,
        "seconds": sum(state.seconds or 0.0 for state in facts.states),
        "best_trial": None if best is None else best.trial.number,
        "best": None if best is None else best.metrics[info.objective],
        "version": facts.version,
    }


def lab_document(facts: LabFacts, series: Sequence[str]) -> dict[str, Any]:
    """A LabDocument."""
    varying, fixed = varying_parameters(facts.states)
    return {
        "lab": lab_row(facts),
        "source": facts.info.source,
        "parameters": varying,
        "fixed": fixed,
        "metrics": objectives_of(facts.states),
        "curves": [asdict(pair) for pair in curve_pairs(series)],
        "trials": [_trial(facts.info.project, state) for state in facts.states],
    }


def _trial(project: str, state: TrialState) -> dict[str, Any]:
    return {
        "trial": state.trial.number,
        "configuration": state.trial.configuration,
        "repeat": state.trial.repeat,
        "seed": state.trial.seed,
        "status": state.status,
        "run": None if state.run is None else f"{project}/{state.run}",
        "attempt": state.attempt,
        "error": state.error,
        "traceback": state.traceback,
        "seconds": state.seconds,
        "parameters": dict(state.trial.parameters),
        "metrics": dict(state.metrics),
    }


def effects_document(effects: Effects) -> dict[str, Any]:
    """An EffectsDocument."""
    spread = effects.spread
    return {
        "metric": effects.objective,
        "mode": effects.mode,
        "points": effects.points,
        "trials": effects.trials,
        "configurations": effects.configurations,
        "effects": [_effect(effect, effects) for effect in effects.effects],
        "interactions": [_interaction(one, effects) for one in effects.interactions],
        "spread": {
            "repeats_std": _number(spread.repeats_std),
            "configurations_std": _number(spread.configurations_std),
            "share": _number(spread.share),
            "low": _number(spread.low),
            "high": _number(spread.high),
            "configurations": spread.configurations,
            "repeats": [spread.repeats_least, spread.repeats_most],
            "sentence": spread_sentence(effects),
        },
        "rest": effects.rest,
        "of_repeats": effects.of_repeats,
        "notes": notes_of(effects),
        "second_opinion": has_optuna(),
    }


def _effect(effect: Effect, effects: Effects) -> dict[str, Any]:
    levels = [
        {
            "label": level.label,
            "value": level.value,
            "low": level.low,
            "high": level.high,
            "mean": mean,
            "trials": trials,
            "configurations": configurations,
        }
        for level, mean, trials, configurations in zip(
            effect.levels, effect.means, effect.trials, effect.configurations, strict=True
        )
    ]
    shown = sorted(effect.comparisons, key=lambda one: -abs(one.estimate))[:_COMPARISONS_MOST]
    return {
        "parameter": effect.parameter,
        "levels": levels,
        "comparisons": [_comparison(one, effect, effects) for one in shown],
        "largest": None if effect.largest is None else _comparison(effect.largest, effect, effects),
        "share": effect.share,
        "conclusion": effect.conclusion,
        "confounded": list(effect.confounded),
        "sentence": effect_sentence(effect, effects),
    }


def _comparison(one: Comparison, effect: Effect, effects: Effects) -> dict[str, Any]:
    return {
        "before": one.before,
        "after": one.after,
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "paired": one.paired,
        "places": one.places,
        "repeats": list(one.repeats),
        "clear": one.clear,
        "text": comparison_text(effect, one, effects),
    }


def _interaction(one: Interaction, effects: Effects) -> dict[str, Any]:
    return {
        "parameters": list(one.parameters),
        "levels": [list(ends) for ends in one.levels],
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "share": one.share,
        "clear": one.clear,
        "sentence": interaction_sentence(one, effects),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def encode_curves(curves: Sequence[TrialCurve], names: Sequence[str]) -> bytes:
    """An EPF1 container with a LabCurvesHeader."""
    place: Mapping[str, int] = {name: i for i, name in enumerate(names)}

    def joined(parts: list[Any], dtype: Any) -> Any:
        return np.concatenate(parts).astype(dtype) if parts else np.empty(0, dtype)

    return frames.encode(
        {"names": list(names)},
        {
            "trial": np.array([curve.trial for curve in curves], dtype=np.uint32),
            "name": np.array([place[curve.name] for curve in curves], dtype=np.uint32),
            "length": np.array([len(curve.steps) for curve in curves], dtype=np.uint32),
            "steps": joined([curve.steps for curve in curves], np.int64),
            "epochs": joined([curve.epochs for curve in curves], np.float64),
            "values": joined([curve.values for curve in curves], np.float64),
        },
    )
