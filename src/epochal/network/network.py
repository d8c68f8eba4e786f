"""A network that one can ask, whatever it was made from."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.facts import Graph, Layer, Shape
from epochal.facts.chain import Chain, dense_chain
from epochal.network.preparation import Preparation
from epochal.network.units import Unit, units_of

if TYPE_CHECKING:
    from epochal.network.module import ModuleNetwork

__all__ = ["Network", "shown"]

Array = npt.NDArray[Any]


class Network(ABC):
    """A network that can be asked: called with a batch of arrays, or taken apart.

    `graph` is None for a network of which no graph is known; `step` is the training step that the parameters are from,
    None where there is none. `preparation` says how photos become its inputs, `classes` what its outputs are called;
    None and empty where nobody said.
    """

    __slots__ = ("classes", "graph", "preparation", "step")

    def __init__(self, *, graph: Graph | None, step: int | None) -> None:
        self.graph = graph
        self.step = step
        self.preparation: Preparation | None = None
        self.classes: tuple[str, ...] = ()

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        input_shape: Sequence[int] | None = None,
        activation: str = "relu",
        output: str = "none",
    ) -> Network:
        """A network from a file that something else made (`.npz`, `.safetensors`, `.pt`, `.pt2`), or of a name.

        Names: `latest@120` is a recorded run at a step (without `@` at its last snapshot), `epochal:efficientnet-lite0`
        a trained network for photos, and `torchvision:`, `timm:`, `transformers:` and `keras:` with a model's name ask
        those libraries, which may download its parameters. A file comes before a run of the same name.

        Of files the first three hold the weights [out, in] and biases [out] of a chain of linear layers, called
        `layers.0.weight`, `layers.0.bias` and so on; `activation` is applied between them (relu, sigmoid, tanh,
        leaky_relu or none), `output` to the last one (also softmax). `input_shape` is that of one example, such as
        (28, 28); flat where it is not given. A `.pt2` file is an exported PyTorch program that says all this itself.

        Nothing in the file is run. Raises NotFoundError, UsageError where the arrays make no such network,
        DamagedError for what cannot be read, UntrustedNetworkError for what could run code, and MissingExtraError where
        PyTorch (`.pt`, `.pt2`) or another library is needed.
        """
        from epochal.network.sources import open_source

        return open_source(path, input_shape=input_shape, activation=activation, output=output)

    @staticmethod
    def from_torch(
        module: Any,
        *,
        input_shape: Sequence[int] | None = None,
        preparation: Preparation | None = None,
        classes: Sequence[str] = (),
    ) -> ModuleNetwork:
        """A network that is a `torch.nn.Module`: the module itself, asked in eval mode and otherwise left alone.

        `input_shape` is that of one example, such as (3, 224, 224); `preparation` says how photos become inputs, and
        `classes` what the outputs are called.
        """
        network: ModuleNetwork = import_module("epochal.network.module").ModuleNetwork(
            module, input_shape=input_shape, preparation=preparation, classes=classes
        )
        return network

    @abstractmethod
    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the network answers, as arrays, to one batch of arrays or tensors."""

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """Copies of its parameters and buffers by name; bfloat16 as float32, since numpy has no such type."""

    @property
    @abstractmethod
    def input_shape(self) -> Shape | None:
        """Sizes of one example of its first input, without the batch; None where it takes none of one shape."""

    @property
    def module(self) -> Any:
        """The `torch.nn.Module` that answers; UsageError for a network that is calculated in numpy."""
        raise UsageError("This network is calculated in numpy: there is no PyTorch module in it.")

    @property
    def chain(self) -> Chain | None:
        """Its linear layers where it is nothing but a chain of them with activations between, else None."""
        return dense_chain(self.graph)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its modules that hold parameters or calculate, in running order."""
        return () if self.graph is None else tuple(layer for layer in self.graph.layers if layer.role == "module")

    def units(self, layer: str) -> tuple[Unit, ...]:
        """The units of a layer (output channels of a convolution) with the weights that lead to and from them.

        Raises NotFoundError for a layer that is not there or has no weights.
        """
        if self.graph is None:
            raise NotFoundError("No graph of this network is known, so neither are its layers.")
        return units_of(self.graph, layer, self.state())

    @abstractmethod
    def _takes(self) -> str:
        """Its inputs with their shapes, for people."""

    def __repr__(self) -> str:
        model = (self.graph.model if self.graph else "") or "network"
        at = "as it is" if self.step is None else f"at step {self.step}"
        return f"<Network {model} {at}, takes {self._takes()}>"


def shown(shape: Shape) -> str:
    """A shape for people: -1 may be any size."""
    return f"[{', '.join('any' if size < 0 else str(size) for size in shape)}]"
