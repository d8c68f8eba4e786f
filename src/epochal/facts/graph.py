"""Facts about a network's structure.

A shape lists sizes outermost first; -1 stands for the batch, whose size may vary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Shape = tuple[int, ...]
_ITEM_BITS = re.compile(r"(\d+)")
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
    def nbytes(self) -> int:
        """How many bytes it takes, by the bits that the name of its element type says (`bfloat16`, `float8_e4m3fn`)."""
        if self.dtype == "bool":
            return self.size
        bits = _ITEM_BITS.search(self.dtype)
        return self.size * (int(bits[1]) if bits else 32) // 8

    @property
    def shown_shape(self) -> Shape:
        """Its shape as it is looked at, outputs first."""
        return tuple(self.shape[i] for i in self.layout) if self.layout else self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A module with parameters, or an operation of the graph.

    `layer_id` is unique in its graph; for modules it is the dotted module name. `kind` is the module's class
    (`Linear`) or the operation (`add`). `activation` names the function applied to the output, where one follows.
    `multiply_adds` counts those of its matrix products and convolutions in the forward pass of one example, 0 where it
    has none and None where that is not known; sums, norms and activations, which cost little, are left out.
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
    multiply_adds: int | None = None

    @property
    def parameter_count(self) -> int:
        """Numbers in its weights and biases, buffers left out."""
        return sum(p.size for p in self.parameters if p.role != "buffer")

    @property
    def nbytes(self) -> int:
        """Bytes of its parameters and buffers."""
        return sum(p.nbytes for p in self.parameters)

    @property
    def units(self) -> int | None:
        """How many units or channels it puts out, as its settings say; None where they do not."""
        found = (self.attributes.get(name) for name in _UNITS)
        return next((n for n in found if isinstance(n, int) and not isinstance(n, bool)), None)

    @property
    def dtype(self) -> str | None:
        """The element type of its weights and biases (several, with commas between), None where it has none."""
        return ", ".join(dict.fromkeys(p.dtype for p in self.parameters if p.role != "buffer")) or None

    @property
    def trainable(self) -> bool | None:
        """Whether any weight or bias is trained, None where it has none."""
        own = [p.trainable for p in self.parameters if p.role != "buffer"]
        return any(own) if own else None


_UNITS = ("units", "filters", "out_features", "out_channels", "embedding_dim", "output_dim", "hidden_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An arrow of the graph; `skip` is True where a skip connection joins the main path (see `Skip`)."""

    source: str
    target: str
    skip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A skip connection: a short way round layers of the main path, joined to it by a sum or a concatenation.

    It leaves the main path behind the layer `source` and is joined to it in the layer `target`. `through` are the
    layers on its own way: none where it hands on what `source` gave (an identity), one convolution and its norm where
    a residual block changes shape.
    """

    source: str
    target: str
    through: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A module that holds others (`BasicBlock`), or a further use of one: `group_id` is its dotted name, or that@2.

    `parent` is the group it stands in, "" for the network itself. `layers` are the ids of the layers directly inside.
    """

    group_id: str
    kind: str = ""
    parent: str = ""
    layers: tuple[str, ...] = ()


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
    groups: tuple[Group, ...] = ()

    @property
    def nodes(self) -> tuple[Layer, ...]:
        """The layers: another name for them."""
        return self.layers

    @property
    def skips(self) -> tuple[Skip, ...]:
        """The skip connections, one for each arrow that is marked as one."""
        return traced_skips(self.edges)

    @property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """Of each module that is used more than once, the ids of its uses in the order they run."""
        uses: dict[str, list[str]] = {}
        for layer in self.layers:
            if layer.role == "module" and layer.module:
                uses.setdefault(layer.module, []).append(layer.layer_id)
        return {module: tuple(ids) for module, ids in uses.items() if len(ids) > 1}

    @property
    def multiply_adds(self) -> int | None:
        """Those of one example's forward pass, over all layers of which they are known; None where of no layer."""
        known = [layer.multiply_adds for layer in self.layers if layer.multiply_adds is not None]
        return sum(known) if known else None

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers; one that several layers share counts once."""
        return sum({p.name: p.nbytes for layer in self.layers for p in layer.parameters}.values())

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


def traced_skips(edges: Sequence[Edge]) -> tuple[Skip, ...]:
    """Follow the arrows that are marked as skips back to where they leave the main path.

    `edges` are in running order: an arrow into a layer comes before those out of it.
    """
    names = list(dict.fromkeys(name for edge in edges for name in (edge.source, edge.target)))
    at = {name: i for i, name in enumerate(names)}
    sources: dict[str, list[int]] = {}
    before = {i: 1 << i for i in range(len(names))}  # of each layer: itself and what leads to it, as a set of bits
    for edge in edges:
        sources.setdefault(edge.target, []).append(at[edge.source])
        before[at[edge.target]] |= before[at[edge.source]]
    skips = []
    for edge in edges:
        if not edge.skip:
            continue
        one, main = at[edge.source], 0
        for other in sources[edge.target]:
            main |= before[other] if other != one else 0
        fork = (before[one] & main).bit_length() - 1
        own = before[one] & ~main
        through = tuple(names[n] for n in _places(own) if before[n] >> fork & 1) if fork >= 0 else ()
        skips.append(Skip(source=edge.source if fork < 0 else names[fork], target=edge.target, through=through))
    return tuple(skips)


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set, growing."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
