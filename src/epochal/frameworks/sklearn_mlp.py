"""What scikit-learn's multi-layer perceptrons are made of, by their public attributes alone.

Their weights are [inputs, outputs]; here they are handed on transposed, a row for each unit, as the Studio draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import Edge, Graph, Layer, Parameter

__all__ = ["Mlp", "is_mlp", "loss_of"]

Array = npt.NDArray[Any]

_HIDDEN: dict[str, tuple[str, Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": ("ReLU", lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(y.dtype)),
    "tanh": ("Tanh", np.tanh, lambda y: 1 - y * y),
    "logistic": ("Sigmoid", lambda x: _sigmoid(x), lambda y: y * (1 - y)),
    "identity": ("", lambda x: x, np.ones_like),
}
"""Name -> its word in a picture, the function, and its derivative as a function of its *output*."""

_OUT: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "softmax": ("Softmax", lambda x: _softmax(x)),
    "logistic": ("Sigmoid", lambda x: _sigmoid(x)),
    "identity": ("", lambda x: x),
    "exp": ("Exp", np.exp),
}
SAMPLE = 512
"""Gradients and activations are those of at most so many examples, evenly spread over the data."""


def is_mlp(estimator: object) -> bool:
    """Whether an estimator is a multi-layer perceptron, or will be one when it is fitted."""
    return (
        hasattr(estimator, "hidden_layer_sizes") and hasattr(estimator, "solver") and hasattr(estimator, "activation")
    )


class Mlp:
    """A multi-layer perceptron as the probe of arrays reads it; before its first fit it has no parameters.

    With `x` [n, features] it shows activations, and with `y` too the gradients of its own loss on these examples, the
    penalty for large weights (`alpha`) included.
    """

    framework = "sklearn"

    def __init__(self, estimator: Any, x: Array | None = None, y: Array | None = None) -> None:
        self._estimator = estimator
        self.x, self.y = x, y

    @property
    def model(self) -> str:
        """The class of the estimator."""
        return type(self._estimator).__name__

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Weights [outputs, inputs] and biases by name."""
        weights, biases = _fitted(self._estimator)
        found: dict[str, Array] = {}
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            found[f"layers.{i}.weight"], found[f"layers.{i}.bias"] = weight.T, bias
        return found

    @property
    def activations(self) -> Mapping[str, Array] | None:
        """What each layer puts out for `x`, before and after its activation."""
        if self.x is None or not _fitted(self._estimator)[0]:
            return None
        found: dict[str, Array] = {}
        before, after = _forward(self._estimator, self.x)
        words = _words(self._estimator)
        for i, word in enumerate(words):
            found[f"layers.{i}"] = before[i]
            if word:
                found[f"layers.{i}.{word.lower()}"] = after[i]
        return found

    @property
    def gradients(self) -> Mapping[str, Array] | None:
        """Gradients of the loss on `x` and `y`, laid out as the parameters."""
        if self.x is None or self.y is None or not _fitted(self._estimator)[0]:
            return None
        return _gradients(self._estimator, self.x, _encoded(self._estimator, self.y))

    def graph(self) -> Graph | None:
        """The layers as they will run, None before the first fit."""
        weights, _ = _fitted(self._estimator)
        return _graph(self._estimator) if weights else None

    def graph_from(self, inputs: object) -> Graph | None:
        """The same; `inputs`, which `run.watch` was given, are the examples to show activations and gradients of."""
        self.x, self.y = _as_examples(inputs)
        return self.graph()


def _as_examples(inputs: object) -> tuple[Array | None, Array | None]:
    if isinstance(inputs, tuple) and len(inputs) == 2:
        return spread(_dense(inputs[0])), spread(np.asarray(inputs[1]))
    return (None, None) if inputs is None else (spread(_dense(inputs)), None)


def _dense(x: Any) -> Array:
    dense: Array = x.toarray() if hasattr(x, "toarray") else np.asarray(x)
    return dense


def spread(rows: Array) -> Array:
    """At most SAMPLE rows, evenly spread."""
    return rows if len(rows) <= SAMPLE else rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(int)]


def _fitted(estimator: Any) -> tuple[list[Array], list[Array]]:
    return getattr(estimator, "coefs_", []), getattr(estimator, "intercepts_", [])


def _words(estimator: Any) -> list[str]:
    hidden, last = _HIDDEN[estimator.activation][0], _OUT[estimator.out_activation_][0]
    return [hidden] * (len(estimator.coefs_) - 1) + [last]


def _forward(estimator: Any, x: Array) -> tuple[list[Array], list[Array]]:
    """Each layer's output before and after its activation."""
    hidden, last = _HIDDEN[estimator.activation][1], _OUT[estimator.out_activation_][1]
    before: list[Array] = []
    after: list[Array] = []
    x = np.asarray(x, estimator.coefs_[0].dtype)
    count = len(estimator.coefs_)
    for i, (weight, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        before.append((after[-1] if after else x) @ weight + bias)
        after.append((last if i == count - 1 else hidden)(before[-1]))
    return before, after


def _gradients(estimator: Any, x: Array, targets: Array) -> dict[str, Array]:
    """Backward through the layers: for each loss with its own output function the error is output minus target."""
    _, after = _forward(estimator, x)
    inputs = [np.asarray(x, after[0].dtype), *after[:-1]]
    slope = _HIDDEN[estimator.activation][2]
    flow = (after[-1] - targets) / len(x)
    found: dict[str, Array] = {}
    for i in reversed(range(len(inputs))):
        weight = estimator.coefs_[i]
        found[f"layers.{i}.weight"] = flow.T @ inputs[i] + (estimator.alpha / len(x)) * weight.T
        found[f"layers.{i}.bias"] = flow.sum(axis=0)
        if i:
            flow = (flow @ weight.T) * slope(inputs[i])
    return found


def _encoded(estimator: Any, y: Array) -> Array:
    """Targets [n, outputs], as the output function gives them: 0 and 1 for classes."""
    classes = getattr(estimator, "classes_", None)
    if classes is None or y.ndim > 1:
        return y.reshape(len(y), -1).astype(float)
    places = np.searchsorted(classes, y)
    if estimator.out_activation_ == "logistic":
        return places[:, None].astype(float)
    targets: Array = np.eye(len(classes))[places]
    return targets


def loss_of(estimator: Any, x: Array, y: Array) -> float:
    """The estimator's loss on examples, as it is trained with, without the penalty for large weights.

    Cross-entropy for classes, half the mean squared error, or Poisson's deviance, for numbers: the mean over examples.
    """
    _, after = _forward(estimator, x)
    out, targets = after[-1], _encoded(estimator, y)
    if estimator.out_activation_ in ("softmax", "logistic"):
        tiny = np.finfo(out.dtype).eps
        safe = np.clip(out, tiny, 1 - tiny)
        logs = targets * np.log(safe)
        if estimator.out_activation_ == "logistic":
            logs = logs + (1 - targets) * np.log(1 - safe)
        return float(-logs.sum() / len(x))
    if estimator.out_activation_ == "exp":
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(targets > 0, targets * np.log(targets / out), 0.0)
        return float(np.mean(own - targets + out))
    return float(0.5 * np.mean((targets - out) ** 2))


def _graph(estimator: Any) -> Graph:
    sizes = [estimator.coefs_[0].shape[0], *(weight.shape[1] for weight in estimator.coefs_)]
    layers = [Layer(layer_id="x", kind="input", role="input", outputs=((-1, sizes[0]),))]
    for i, ((fan_in, fan_out), word) in enumerate(zip(pairwise(sizes), _words(estimator), strict=True)):
        name, shape = f"layers.{i}", ((-1, fan_out),)
        layers.append(
            Layer(
                layer_id=name,
                kind="Dense",
                module=name,
                inputs=((-1, fan_in),),
                outputs=shape,
                parameters=_facts(estimator, i),
                activation=word or None,
                multiply_adds=fan_in * fan_out,
            )
        )
        if word:
            extra = {"activates": name}
            layers.append(
                Layer(
                    layer_id=f"{name}.{word.lower()}",
                    kind=word,
                    role="operation",
                    inputs=shape,
                    outputs=shape,
                    attributes=extra,
                )
            )
    layers.append(Layer(layer_id="output", kind="output", role="output", inputs=((-1, sizes[-1]),)))
    edges = [Edge(source=a.layer_id, target=b.layer_id) for a, b in pairwise(layers)]
    return Graph(
        source="declared",
        layers=tuple(layers),
        edges=tuple(edges),
        model=type(estimator).__name__,
        framework="sklearn",
    )


def _facts(estimator: Any, i: int) -> tuple[Parameter, ...]:
    began = "uniform (±√(2/(fan-in+fan-out)))" if estimator.activation == "logistic" else "Glorot uniform"
    weight, bias = estimator.coefs_[i], estimator.intercepts_[i]
    return (
        Parameter(
            name=f"layers.{i}.weight",
            shape=weight.shape[::-1],
            dtype=str(weight.dtype),
            role="weight",
            initializer=f"{began}, default",
        ),
        Parameter(
            name=f"layers.{i}.bias",
            shape=bias.shape,
            dtype=str(bias.dtype),
            role="bias",
            initializer=f"{began}, default",
        ),
    )


def _sigmoid(x: Array) -> Array:
    # Two forms, so that neither overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _softmax(x: Array) -> Array:
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    shares: Array = raised / raised.sum(axis=1, keepdims=True)
    return shares
