"""Facts about a network's structure.

A shape lists sizes outermost first; -1 stands for the batch, whose size may vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Shape = tuple[int, ...]
GraphSource = Literal["export", "forward", "declared", "parameters"]
"""`export`: from the exported program; `forward`: seen in one forward pass; `declared`: given by the caller;
`parameters`: only the names of the parameters are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter or buffer: its name in the state dict, shape, element type, and where known how it began.

    `role` is `weight`, `bias`, `buffer` or `other`. `initializer` says how the first values were drawn, in words
    of the field (`Kaiming uniform (a=√5)`), with `, default` where the layer's class draws so by itself; None where it
    is not known. `layout` is the order of axes in which the tensor is looked at: transposed so it is [outputs, inputs,
    places of a kernel...], as PyTorch keeps it; empty where it lies so already. A Keras kernel [inputs, outputs] has
    (1, 0).
    """

    name: str
    shape: Shape
    dtype: str
    role: Literal["weight", "bias", "buffer", "other"]
    trainable: bool = True
    initializer: str | None = None
    layout: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def shown_shape(self) -> Shape:
        """Its shape as it is looked at, outputs first."""
        return tuple(self.shape[i] for i in self.layout) if self.layout else self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A module with parameters, or an operation of the graph.

    `layer_id` is unique in its graph; for modules it is the dotted module name. `kind` is the module's class
    (`Linear`) or the operation (`add`). `activation` names the function applied to the output, where one follows.
    """

    layer_id: str
    kind: str
    module: str = ""
    role: Literal["input", "module", "operation", "output"] = "module"
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    activation: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameter_count(self) -> int:
        """Numbers in its weights and biases, buffers left out."""
        return sum(p.size for p in self.parameters if p.role != "buffer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An arrow of the graph; `skip` is True where it jumps over layers of the main path."""

    source: str
    target: str
    skip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A network's layers in the order they run, and the arrows between them.

    `note` says, for a person, why the graph is poorer than an exported one, where it is.
    """

    source: GraphSource
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...] = ()
    model: str = ""
    framework: str = ""
    note: str = ""

    @property
    def parameter_count(self) -> int:
        """Numbers in all weights and biases; a parameter shared by several layers counts once."""
        seen = {p.name: p.size for layer in self.layers for p in layer.parameters if p.role != "buffer"}
        return sum(seen.values())

    @property
    def trainable_count(self) -> int:
        """As `parameter_count`, trainable ones only."""
        seen = {p.name: p.size for la in self.layers for p in la.parameters if p.role != "buffer" and p.trainable}
        return sum(seen.values())
