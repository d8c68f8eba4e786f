"""Keras models, data and the answers of numpy that recorded trainings are held against.

Import this only with KERAS_BACKEND set: the files called `keras_checks_*.py` do, which `test_keras.py` runs.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import epochal
from epochal.frameworks.keras import Callback
from epochal.workspace import RunReader

L: Any = keras.layers
BACKEND = keras.backend.backend()
Array = npt.NDArray[Any]


def data(n: int = 48, features: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Numbers, and classes 0 to 2."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)).astype("float32"), rng.integers(0, 3, n)


def classifier(seed: int = 1, **options: Any) -> Any:
    """A small network without an input layer: on TensorFlow it is built by its first step."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [L.Dense(8, activation="relu", name="hidden"), L.Dense(3, activation="softmax", name="out")]
    )
    model.compile(**{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options)
    return model


def pictures(seed: int = 1, **options: Any) -> tuple[Any, Array, Array]:
    """A residual network with all that can go wrong: batch norm, dropout, shared layers; and its data."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3), name="picture")
    x = L.Conv2D(4, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    x = L.ReLU(name="relu")(x)
    y = L.Conv2D(4, 3, padding="same", name="inner")(x)
    x = L.Add(name="join")([x, y])
    x = L.Dropout(0.3, name="drop")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    block = keras.Sequential([keras.Input((4,)), L.Dense(4, activation="tanh", name="mix")], name="block")
    x = block(block(x))
    model = keras.Model(inputs, L.Dense(3, activation="softmax", name="out")(x), name="pictures")
    model.compile(**{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options)
    rng = np.random.default_rng(seed)
    return model, rng.normal(size=(40, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 40)


class Subclassed(keras.Model):  # type: ignore[misc]
    """Layers that are known only when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = L.Dense(8, activation="relu", name="first")
        self.drop = L.Dropout(0.2, name="drop")
        self.second = L.Dense(3, activation="softmax", name="second")

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.second(self.drop(self.first(x), training=training))


class Regression:
    """Two layers and the mean squared error, trained by plain gradient descent in float64.

    `weights[k]` are those after k steps, `slopes[k]` the gradients of step k, `hidden[k]` what the first layer put out.
    """

    def __init__(self, weights: list[Array], x: Array, y: Array, *, batch: int, rate: float, epochs: int = 1) -> None:
        w = [np.asarray(a, np.float64) for a in weights]
        self.weights, self.hidden = [w], [np.zeros((0, 0))]
        self.slopes: list[list[Array]] = [[]]
        x, y = x.astype(np.float64), y.astype(np.float64)
        for _ in range(epochs):
            for start in range(0, len(x), batch):
                part, wanted = x[start : start + batch], y[start : start + batch]
                before = part @ w[0] + w[1]
                hidden = np.maximum(before, 0)
                wrong = 2 * (hidden @ w[2] + w[3] - wanted) / wanted.size
                back = (wrong @ w[2].T) * (before > 0)
                slopes = [part.T @ back, back.sum(0), hidden.T @ wrong, wrong.sum(0)]
                w = [a - rate * g for a, g in zip(w, slopes, strict=True)]
                self.weights.append(w)
                self.slopes.append(slopes)
                self.hidden.append(hidden)


NAMES = ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]


def regression(seed: int = 3, optimizer: Any = None, **options: Any) -> tuple[Any, Array, Array]:
    """The Keras twin of `Regression`, its weights away from 0, and its data: 4 batches of 12."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(6, activation="relu", name="hidden"), L.Dense(2, name="out")], name="twin"
    )
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.05), loss="mse", **options)
    return model, rng.normal(size=(48, 4)).astype("float32"), rng.normal(size=(48, 2)).astype("float32")


class Weights(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps `get_weights` at each epoch's end."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[list[Array]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.kept.append(self.model.get_weights())


def recorder(root: Path, **options: Any) -> Callback:
    """A callback that looks at every step, keeps every step's values, and lets no error pass."""
    given: dict[str, Any] = {"project": "keras", "dir": root, "strict": True, "system": False}
    given |= {"budget": None, "snapshots": 1, "watch": {"gradient_snapshots": True}}
    made: Any = Callback
    return made(**given | options)  # type: ignore[no-any-return]


def latest(root: Path) -> RunReader:
    """The run that began last."""
    return epochal.open(root).run("latest")


def column(reader: RunReader, series: str, name: str) -> dict[int, float]:
    """One of the statistics of a tensor, by step."""
    table = reader.stored.statistics(series)
    return dict(zip(table.steps.tolist(), table.columns[name].tolist(), strict=True))


def traces(model: Any) -> list[str]:
    """What watching leaves in a model, its layers and optimizers: nothing, after it has ended."""
    found = []
    things = [model, *model._flatten_layers(include_self=False), getattr(model, "optimizer", None)]
    for thing in things:
        for name, value in vars(thing).items() if thing is not None else ():
            # What a method of the class is hidden by, and whatever is ours.
            if type(value).__module__.startswith("epochal") or (
                name in ("call", "train_step", "apply", "stateless_apply")
            ):
                found.append(f"{type(thing).__name__}.{name}")
    with contextlib.suppress(AttributeError):
        if type(model.train_function).__module__.startswith("epochal"):
            found.append("train_function")
    return found
