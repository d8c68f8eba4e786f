"""Networks of linear layers in plain numpy: they answer without PyTorch, and without a program that must be checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, final

import numpy as np
import numpy.typing as npt

from epochal.errors import NetworkMissingError, UsageError
from epochal.facts import Graph, Shape
from epochal.facts.chain import Chain, Function, dense_chain
from epochal.network.network import Network, shown

__all__ = ["FUNCTIONS", "DenseNetwork", "can_run"]

Array = npt.NDArray[Any]


def _sigmoid(x: Array, _: Mapping[str, Any]) -> Array:
    # Of two forms the one that does not overflow.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _leaky_relu(x: Array, settings: Mapping[str, Any]) -> Array:
    slope = settings.get("negative_slope", settings.get("alpha", 0.01))
    return np.where(x >= 0, x, x * float(slope))


def _softmax(x: Array, _: Mapping[str, Any]) -> Array:
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    whole: Array = grown / grown.sum(axis=-1, keepdims=True)
    return whole


def _log_softmax(x: Array, _: Mapping[str, Any]) -> Array:
    shifted = x - x.max(axis=-1, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


FUNCTIONS: dict[str, Callable[[Array, Mapping[str, Any]], Array]] = {
    "relu": lambda x, _: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": lambda x, _: np.tanh(x),
    "leakyrelu": _leaky_relu,
    "softmax": _softmax,
    "logsoftmax": _log_softmax,
    "linear": lambda x, _: x,
}
"""Name -> what it does to numbers [..., units], given the settings of the graph's node."""


def can_run(chain: Chain | None) -> bool:
    """Whether `DenseNetwork` knows all functions of a chain."""
    return chain is not None and all(_known(f) for link in chain.links for f in link.functions)


def _known(function: Function) -> bool:
    if function.name not in FUNCTIONS:
        return False
    # Over another axis than the classes it would be something else.
    return "softmax" not in function.name or function.attributes.get("dim", -1) in (1, -1, None)


@final
class DenseNetwork(Network):
    """A chain of linear layers; `parameters` by the names that its graph has for them. They are copied.

    Raises NetworkMissingError where a parameter is missing or has another shape than the graph says.
    """

    __slots__ = ("_chain", "_links", "_parameters")

    def __init__(self, graph: Graph, parameters: Mapping[str, Array], *, step: int | None = None) -> None:
        super().__init__(graph=graph, step=step)
        chain = dense_chain(graph)
        if chain is None or not can_run(chain):
            raise NetworkMissingError("This network is no chain of linear layers with known functions between them.")
        self._chain: Chain = chain
        self._parameters = {name: np.array(value) for name, value in parameters.items()}
        self._links = [self._placed(i) for i in range(len(chain.links))]

    def _placed(self, place: int) -> tuple[Array, Array | None, tuple[Function, ...]]:
        link = self._chain.links[place]
        weight = self._parameters.get(link.weight)
        bias = None if link.bias is None else self._parameters.get(link.bias)
        if weight is None or (link.bias is not None and bias is None):
            missing = link.weight if weight is None else link.bias
            raise NetworkMissingError(f"The snapshot does not fit the recorded network: it lacks {missing}.")
        if link.layout and len(link.layout) == weight.ndim:
            weight = weight.transpose(link.layout)
        if weight.shape != (link.outputs, link.inputs) or (bias is not None and bias.shape != (link.outputs,)):
            raise NetworkMissingError(
                f"The snapshot does not fit the recorded network: {link.weight} is {list(weight.shape)} in the "
                f"snapshot, {[link.outputs, link.inputs]} in the network."
            )
        return weight, bias, link.functions

    @property
    def chain(self) -> Chain:
        """Its linear layers."""
        return self._chain

    @property
    def input_shape(self) -> Shape:
        """Sizes of one example, without the batch."""
        return self._chain.input_shape

    def __call__(self, *inputs: Any, **named: Any) -> Array:
        """What the network answers to a batch [N, *input_shape], or [N, inputs] flat: [N, outputs].

        Raises UsageError for a wrong number or shape of inputs.
        """
        given = [*inputs, *named.values()]
        if len(given) != 1:
            raise UsageError(f"The network takes one batch; it was given {len(given)} inputs.")
        value = given[0]
        batch = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
        size = prod(self.input_shape)
        if batch.ndim < 1 or batch.shape[1:] not in (self.input_shape, (size,)):
            raise UsageError(f"x must have the shape {shown((-1, *self.input_shape))}; it has {shown(batch.shape)}.")
        if batch.dtype.kind not in "fiub":
            raise UsageError(f"x must be made of numbers; it is {batch.dtype}.")
        kind = np.result_type(self._links[0][0].dtype, np.float32)
        flow = batch.reshape(len(batch), size).astype(kind, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            for weight, bias, functions in self._links:
                flow = flow @ weight.T
                if bias is not None:
                    flow = flow + bias
                for function in functions:
                    flow = FUNCTIONS[function.name](flow, function.attributes)
        return flow

    def state(self) -> dict[str, Array]:
        """Copies of its parameters by name."""
        return {name: value.copy() for name, value in self._parameters.items()}

    def _takes(self) -> str:
        return f"x {shown((-1, *self.input_shape))}"
