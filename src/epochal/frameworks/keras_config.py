"""What a Keras training was told: its settings as plain values, and which way its metrics are better."""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from epochal.facts import Better

__all__ = ["FitFacts", "LearningRate", "better_of", "fit_facts", "settings_of", "sizes_of"]

_MORE = re.compile(
    r"acc|accuracy|auc|precision|recall|sensitivity|specificity|f1|fbeta|score|iou|r2|bleu|similarity|true|map"
)
_LESS = re.compile(
    r"loss|error|err|mse|mae|mape|msle|rmse|entropy|crossentropy|perplexity|divergence|hinge|poisson|logcosh|false"
)


@dataclass(frozen=True, slots=True)
class FitFacts:
    """What `fit` was called with, as far as its caller's frame still shows it. `callbacks` is Keras' list of them."""

    batch_size: int | None = None
    epochs: int | None = None
    callbacks: Any = None


def fit_facts(model: Any) -> FitFacts:
    """Look for the `fit` that runs now. Keras tells callbacks neither the batch size nor when `fit` fails."""
    callbacks = None
    frame = sys._getframe(1)
    for _ in range(32):
        own = frame.f_locals.get("self") if frame.f_code.co_argcount else None
        if isinstance(own, keras.callbacks.CallbackList):
            callbacks = own
        elif own is model and frame.f_code.co_name == "fit":
            adapter = getattr(frame.f_locals.get("epoch_iterator"), "data_adapter", None)
            size = getattr(adapter, "batch_size", None) or frame.f_locals.get("batch_size")
            epochs = frame.f_locals.get("epochs")
            return FitFacts(_whole(size), _whole(epochs), callbacks)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return FitFacts(callbacks=callbacks)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def settings_of(model: Any, params: Mapping[str, Any], facts: FitFacts) -> dict[str, Any]:
    """The training's settings: nested, and nothing but numbers, texts, lists and None."""
    given = {
        "model": model.name,
        **sizes_of(model),
        "optimizer": _optimizer(getattr(model, "optimizer", None)),
        "loss": _named(getattr(model, "loss", None)),
        "metrics": _metrics(model),
        "epochs": facts.epochs or params.get("epochs"),
        "steps_per_epoch": params.get("steps"),
        "batch_size": facts.batch_size,
        "steps_per_execution": int(getattr(model, "steps_per_execution", 1)),
        "run_eagerly": bool(getattr(model, "run_eagerly", False)),
        "jit_compile": bool(getattr(model, "jit_compile", False)),
        "dtype_policy": model.dtype_policy.name,
        "keras": {"version": keras.__version__, "backend": keras.backend.backend()},
    }
    return {name: value for name, value in given.items() if value is not None}


def sizes_of(model: Any) -> dict[str, int]:
    """How many numbers the model has, and how many of them are trained; nothing before it is built."""
    if not model.weights:
        return {}
    every, trained = (sum(int(np.prod(v.shape)) for v in w) for w in (model.weights, model.trainable_weights))
    return {"parameters": every, "trainable_parameters": trained}


def _optimizer(optimizer: Any) -> dict[str, Any] | None:
    if optimizer is None:
        return None
    try:
        config = dict(optimizer.get_config())
    except Exception:  # noqa: BLE001 - the user's own optimizer
        config = {}
    config.pop("name", None)
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        config["inner_optimizer"] = _optimizer(inner)
    return {"name": type(optimizer).__name__, **{k: _plain(v) for k, v in config.items() if v is not None}}


def _plain(value: Any) -> Any:
    """A configuration without what Keras keeps to build objects again: a schedule is its name and its settings."""
    if isinstance(value, Mapping):
        if "class_name" in value and "config" in value:
            inner = _plain(value["config"])
            named = {"name": str(value["class_name"]).rpartition(">")[2]}
            return named | ({k: v for k, v in inner.items() if k != "name"} if isinstance(inner, dict) else {})
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic) or (hasattr(value, "shape") and not value.shape):
        return float(value)
    return value if isinstance(value, bool | int | float | str) or value is None else _named(value)


def _named(value: Any) -> Any:
    """Losses and metrics by the names that people give them."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _named(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_named(v) for v in value]
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    return str(name or type(value).__name__)


def _metrics(model: Any) -> Any:
    told = getattr(model, "_compile_metrics", None)
    given = {"metrics": getattr(told, "_user_metrics", None), "weighted": getattr(told, "_user_weighted_metrics", None)}
    found = {name: _named(value) for name, value in given.items() if value}
    return found.get("metrics") if set(found) <= {"metrics"} else found


def better_of(series: str, model: Any) -> Better | None:
    """Which way a metric is better: as Keras knows of its own, else by its name; None where neither tells."""
    name = series.removeprefix("val_").removeprefix("test_")
    if name == "loss" or name.endswith("_loss"):
        return "min"
    for metric in _known_metrics(model):
        direction = getattr(metric, "_direction", None)
        if direction in ("up", "down") and (name == metric.name or name.endswith(f"_{metric.name}")):
            return "max" if direction == "up" else "min"
    words = re.split(r"[_\W]+", name.lower())
    if any(_LESS.fullmatch(word) for word in words):
        return "min"
    return "max" if any(_MORE.fullmatch(word) for word in words) else None


def _known_metrics(model: Any) -> list[Any]:
    found = []
    for metric in getattr(model, "metrics", ()):
        found += [metric, *getattr(metric, "metrics", ())]
    return found


class LearningRate:
    """The learning rate that a model's optimizer takes its steps with."""

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self._outer: Any = getattr(model, "optimizer", None)
        self._optimizer: Any = getattr(self._outer, "inner_optimizer", self._outer)
        self._last: float | None = None
        self._first = 0
        steps = getattr(self._optimizer, "_iterations", None)
        if steps is not None and steps._value is not None:
            self._first = int(keras.ops.convert_to_numpy(steps.value))

    @property
    def scheduled(self) -> bool:
        """Whether it is computed anew for every step."""
        return isinstance(self._source, keras.optimizers.schedules.LearningRateSchedule)

    @property
    def _source(self) -> Any:
        return getattr(self._optimizer, "_learning_rate", None)

    def at(self, batch: int) -> float | None:
        """The rate of a step, `batch` steps of this training after its beginning; None where it cannot be told."""
        source = self._source
        try:
            if self.scheduled:
                every = getattr(self._optimizer, "gradient_accumulation_steps", None) or 1
                self._last = float(keras.ops.convert_to_numpy(source((self._first + batch) // every)))
            elif hasattr(source, "_value"):
                value = source._value if source._value is not None else self._kept_by_fit(source)
                if value is not None:
                    self._last = float(keras.ops.convert_to_numpy(value))
            elif callable(source):
                self._last = float(source())
        except Exception:  # noqa: BLE001 - the user's own schedule
            return self._last
        return self._last

    def _kept_by_fit(self, variable: Any) -> Any:
        """A variable's value where `fit` keeps it outside of it, on the JAX backend."""
        state = getattr(self._model(), "_jax_state", None) or {}
        for own, value in zip(self._outer.variables, state.get("optimizer_variables") or (), strict=False):
            if own is variable:
                return value
        return None
