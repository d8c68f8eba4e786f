"""A small network in plain numpy, for machines without PyTorch: ReLU, tanh or sigmoid, softmax and cross-entropy.

It shows `parameters`, `gradients`, `activations` and `graph()`, which is all that `run.watch` asks of arrays, under the
names that the PyTorch network of the demo has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import Edge, Graph, Layer, Parameter

__all__ = ["ACTIVATIONS", "NumpyLearner", "NumpyMlp"]

Array = npt.NDArray[Any]
Function = Callable[[Array], Array]


def _sigmoid(x: Array) -> Array:
    # Two forms, so that neither overflows.
    with np.errstate(over="ignore"):
        return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))).astype(
            x.dtype
        )


ACTIVATIONS: dict[str, tuple[str, Function, Function]] = {
    "relu": ("ReLU", lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(y.dtype)),
    "tanh": ("Tanh", np.tanh, lambda y: 1 - y * y),
    "sigmoid": ("Sigmoid", _sigmoid, lambda y: y * (1 - y)),
}
"""Name -> its class in the graph, the function, and its derivative as a function of its *output*."""


class NumpyMlp:
    """A multi-layer perceptron; weights are [outputs, inputs], drawn as PyTorch draws them."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        seed: int = 0,
        dtype: npt.DTypeLike = np.float32,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self._sizes = tuple(sizes)
        self._shape = (self._sizes[0],) if input_shape is None else tuple(input_shape)
        self._kind, self._function, self._derivative = ACTIVATIONS[activation]
        random = np.random.default_rng(seed)
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.activations: dict[str, Array] = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(self._sizes)):
            bound = 1 / math.sqrt(fan_in)
            self.parameters[f"layers.{2 * i}.weight"] = random.uniform(-bound, bound, (fan_out, fan_in)).astype(dtype)
            self.parameters[f"layers.{2 * i}.bias"] = random.uniform(-bound, bound, fan_out).astype(dtype)

    @property
    def depth(self) -> int:
        """How many layers have weights."""
        return len(self._sizes) - 1

    def __call__(self, x: Array) -> Array:
        """Scores of the classes [n, classes] for examples [n, features], or pictures [n, height, width]."""
        return self._forward(x)[-1]

    def _forward(self, x: Array) -> list[Array]:
        """The input and the output of every layer, activations included: [x, layers.0, layers.1, ...]."""
        outputs = [x.reshape(len(x), -1)]
        for i in range(self.depth):
            weight, bias = self.parameters[f"layers.{2 * i}.weight"], self.parameters[f"layers.{2 * i}.bias"]
            outputs.append(outputs[-1] @ weight.T + bias)
            if i < self.depth - 1:
                outputs.append(self._function(outputs[-1]))
        return outputs

    def learn(self, x: Array, labels: Array) -> float:
        """Compute the mean cross-entropy of a batch and its gradients, kept in `gradients`."""
        outputs = self._forward(x)
        self.activations = {f"layers.{i}": output for i, output in enumerate(outputs[1:])}
        probabilities, loss = _softmax_loss(outputs[-1], labels)
        probabilities[np.arange(len(labels)), labels] -= 1
        flow = probabilities / len(labels)
        for i in reversed(range(self.depth)):
            into = outputs[2 * i]
            self.gradients[f"layers.{2 * i}.weight"] = flow.T @ into
            self.gradients[f"layers.{2 * i}.bias"] = flow.sum(axis=0)
            if i:
                flow = (flow @ self.parameters[f"layers.{2 * i}.weight"]) * self._derivative(into)
        return loss

    def evaluate(self, x: Array, labels: Array) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        scores = self(x)
        return _softmax_loss(scores, labels)[1], float((scores.argmax(axis=1) == labels).mean())

    def graph(self) -> Graph:
        """The network's layers, as an exported PyTorch network would have them."""
        layers = [Layer(layer_id="x", kind="input", role="input", outputs=((-1, *self._shape),))]
        if len(self._shape) > 1:
            came, flat = layers[0].outputs, ((-1, self._sizes[0]),)
            layers.append(Layer(layer_id="flatten", kind="flatten", role="operation", inputs=came, outputs=flat))
        for i, (fan_in, fan_out) in enumerate(pairwise(self._sizes)):
            inner = i < self.depth - 1
            name, shape = f"layers.{2 * i}", ((-1, fan_out),)
            layers.append(
                Layer(
                    layer_id=name,
                    kind="Linear",
                    module=name,
                    inputs=((-1, fan_in),),
                    outputs=shape,
                    parameters=self._facts(name),
                    activation=self._kind if inner else None,
                    attributes={"in_features": fan_in, "out_features": fan_out},
                    multiply_adds=fan_in * fan_out,
                )
            )
            if inner:
                after = f"layers.{2 * i + 1}"
                layers.append(
                    Layer(
                        layer_id=after,
                        kind=self._kind,
                        module=after,
                        inputs=shape,
                        outputs=shape,
                        attributes={"activates": name},
                    )
                )
        layers.append(Layer(layer_id="output", kind="output", role="output", inputs=((-1, self._sizes[-1]),)))
        edges = [Edge(source=a.layer_id, target=b.layer_id) for a, b in pairwise(layers)]
        return Graph(source="declared", layers=tuple(layers), edges=tuple(edges), model="Mlp", framework="numpy")

    def _facts(self, layer: str) -> tuple[Parameter, ...]:
        weight, bias = self.parameters[f"{layer}.weight"], self.parameters[f"{layer}.bias"]
        return (
            Parameter(
                name=f"{layer}.weight",
                shape=weight.shape,
                dtype=str(weight.dtype),
                role="weight",
                initializer="Kaiming uniform (a=√5)",
            ),
            Parameter(
                name=f"{layer}.bias",
                shape=bias.shape,
                dtype=str(bias.dtype),
                role="bias",
                initializer="uniform (±1/√fan-in)",
            ),
        )


class NumpyLearner:
    """A numpy network with its optimizer, as the demo's loop uses it."""

    engine = "numpy"

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str,
        optimizer: str,
        lr: float,
        seed: int,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.network = NumpyMlp(sizes, activation=activation, seed=seed, input_shape=input_shape)
        self._update = _OPTIMIZERS[optimizer]
        self._lr = lr
        self._steps = 0
        self._memory = {name: [np.zeros_like(p), np.zeros_like(p)] for name, p in self.network.parameters.items()}

    def running(self) -> AbstractContextManager[None]:
        """A training that runs away is a thing to watch: its NaN are recorded, not warned of."""
        return np.errstate(over="ignore", invalid="ignore", divide="ignore")

    def example(self, x: Array) -> object:
        """What `run.watch` wants as inputs: nothing, since the network draws its own graph."""
        return None

    def examples(self, x: Array, labels: Array, shown: Array | None) -> Any:
        """Examples as `run.watch` wants them."""
        return (x, labels) if shown is None else (x, labels, shown)

    def learn(self, x: Array, labels: Array) -> float:
        """Take one step of training on a batch and return its loss."""
        loss = self.network.learn(x, labels)
        self._steps += 1
        for name, parameter in self.network.parameters.items():
            gradient = self.network.gradients[name]
            # In place: whoever watches holds these arrays.
            parameter -= self._lr * self._update(gradient, self._memory[name], self._steps)
        return loss

    def evaluate(self, x: Array, labels: Array) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        return self.network.evaluate(x, labels)


def _softmax_loss(scores: Array, labels: Array) -> tuple[Array, float]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    totals = exponents.sum(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels] - np.log(totals[:, 0])
    return exponents / totals, float(-picked.mean())


def _momentum(gradient: Array, memory: list[Array], step: int) -> Array:
    memory[0] = 0.9 * memory[0] + gradient
    return memory[0]


def _rmsprop(gradient: Array, memory: list[Array], step: int) -> Array:
    memory[0] = 0.99 * memory[0] + 0.01 * gradient**2
    return gradient / (np.sqrt(memory[0]) + 1e-8)


def _adam(gradient: Array, memory: list[Array], step: int) -> Array:
    memory[0] = 0.9 * memory[0] + 0.1 * gradient
    memory[1] = 0.999 * memory[1] + 0.001 * gradient**2
    return (memory[0] / (1 - 0.9**step)) / (np.sqrt(memory[1] / (1 - 0.999**step)) + 1e-8)


_OPTIMIZERS: dict[str, Callable[[Array, list[Array], int], Array]] = {
    "adam": _adam,
    "rmsprop": _rmsprop,
    "sgd": _momentum,
}
