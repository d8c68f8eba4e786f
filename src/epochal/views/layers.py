"""The layers of a network as the Weights page shows them: a weight, its bias, and what else the layer has."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from epochal.facts import Graph, Layer, Shape

__all__ = ["TensorFacts", "WeightLayer", "group_layers", "layouts", "turned"]

Role = Literal["weight", "bias", "other"]

_WEIGHT_WORDS = {"weight", "weights", "kernel", "w"}
_BIAS_WORDS = {"bias", "biases", "b"}
_NUMBERED = re.compile(r"(weights?|kernel|w|bias(?:es)?|b)[_-]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """A tensor recorded through time; `series` is `param/<name>`, `grad/<name>`, `act/<layer>` or a histogram's.

    `shape` is that which it is looked at in, outputs first: a tensor that is kept in another order has the order of its
    axes in `layout` (facts.Parameter). `frames` counts the steps at which its values are kept, `rows` those of its
    statistics. `change` is how far its mean moved over the run in units of its first standard deviation, None where
    that says nothing.
    """

    series: str
    kind: Literal["param", "grad", "act", "hist"]
    name: str
    shape: Shape | None
    dtype: str | None
    frames: int
    rows: int
    change: float | None
    layout: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayer:
    """A layer with parameters. `inputs` and `outputs` count units or channels, None where that cannot be said."""

    layer: str
    kind: str = ""
    activation: str | None = None
    inputs: int | None = None
    outputs: int | None = None
    weight: TensorFacts | None = None
    bias: TensorFacts | None = None
    others: list[TensorFacts] = field(default_factory=list)


def group_layers(tensors: Sequence[TensorFacts], graph: Graph | None) -> list[WeightLayer]:
    """Group parameters by layer: as the graph says, and by their names where there is no graph or it has no such one.

    A parameter that several layers share stands with the first of them.
    """
    left = {t.name: t for t in tensors if t.kind == "param"}
    layers: list[WeightLayer] = []
    for layer in graph.layers if graph is not None else ():
        roles: dict[Role, list[TensorFacts]] = {"weight": [], "bias": [], "other": []}
        for parameter in layer.parameters:
            tensor = left.pop(parameter.name, None)
            if tensor is not None:
                roles[
                    "weight" if parameter.role == "weight" else "bias" if parameter.role == "bias" else "other"
                ].append(tensor)
        if any(roles.values()):
            built = _build(layer.layer_id, roles)
            layers.append(replace(_sized(built, layer), kind=layer.kind, activation=layer.activation))
    grouped: dict[str, dict[Role, list[TensorFacts]]] = {}
    for tensor in left.values():
        name, role = _by_name(tensor)
        grouped.setdefault(name, {"weight": [], "bias": [], "other": []})[role].append(tensor)
    layers += [_sized(_build(name, roles), None) for name, roles in grouped.items()]
    return layers


def layouts(graph: Graph | None) -> dict[str, tuple[int, ...]]:
    """The order of axes of the parameters that are not kept outputs first, by name."""
    found = (p for layer in graph.layers for p in layer.parameters) if graph is not None else ()
    return {p.name: p.layout for p in found if p.layout}


def turned(shape: Shape, layout: tuple[int, ...]) -> tuple[Shape, tuple[int, ...]]:
    """The shape outputs first, and the order of axes that was taken: none where it does not fit the shape."""
    return (tuple(shape[i] for i in layout), layout) if len(layout) == len(shape) else (shape, ())


def _by_name(tensor: TensorFacts) -> tuple[str, Role]:
    """Layer and role of a parameter from its name alone: `layers.0.weight`, `Dense_0/kernel`, `W1`, `b1`."""
    prefix, dot, leaf = tensor.name.rpartition("." if "." in tensor.name else "/")
    word = leaf.lower()
    if word in _WEIGHT_WORDS | _BIAS_WORDS:
        return prefix or "network", "weight" if word in _WEIGHT_WORDS else "bias"
    if numbered := _NUMBERED.fullmatch(leaf):
        role: Role = "weight" if numbered[1].lower() in _WEIGHT_WORDS else "bias"
        return f"{prefix}{dot}{numbered[2]}", role
    if prefix:
        return prefix, "other"
    return tensor.name, "weight" if len(tensor.shape or ()) > 1 else "bias"


def _build(name: str, roles: dict[Role, list[TensorFacts]]) -> WeightLayer:
    weights, biases = roles["weight"], roles["bias"]
    return WeightLayer(
        layer=name,
        weight=weights[0] if weights else None,
        bias=biases[0] if biases else None,
        others=[*weights[1:], *biases[1:], *roles["other"]],
    )


def _sized(built: WeightLayer, layer: Layer | None) -> WeightLayer:
    """With the counts of its inputs and outputs, read off the weight's shape."""
    shape = (built.weight.shape if built.weight is not None else None) or ()
    bias = (built.bias.shape if built.bias is not None else None) or ()
    kind = layer.kind if layer is not None else ""
    groups = layer.attributes.get("groups", 1) if layer is not None else 1
    groups = groups if isinstance(groups, int) and not isinstance(groups, bool) and groups > 0 else 1
    if not shape:
        return replace(built, outputs=math.prod(bias) if bias else None)
    if len(shape) == 1:
        return replace(built, inputs=shape[0], outputs=shape[0])
    outputs, inputs = shape[0], shape[1]
    # Where no graph says how a matrix lies, as of arrays, its bias does: it has one number for each output.
    if kind == "Embedding" or (len(shape) == 2 and len(bias) == 1 and bias[0] == inputs != outputs):
        outputs, inputs = inputs, outputs
    elif kind.startswith("ConvTranspose"):
        outputs, inputs = inputs * groups, outputs
    else:
        inputs *= groups
    return replace(built, inputs=inputs, outputs=outputs)
