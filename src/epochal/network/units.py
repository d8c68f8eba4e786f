"""The units of a layer: what each listens to, how strongly, and who listens to it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError
from epochal.facts import Graph, Layer, Parameter

__all__ = ["Unit", "units_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """One unit of a layer, or one output channel of a convolution.

    `incoming` are its weights, as they stand in one row of the layer's weight: [inputs], or [inputs, height, width] of
    a kernel. `influence` is their mean absolute value. `bias` is None where the layer has none. `outgoing` are the
    weights that its output meets in the layers that come next, by the name of the layer: [outputs], or [outputs,
    places...] where each output listens to it at several places. Empty for the last layer, and where layers that mix
    units stand between.
    """

    index: int
    incoming: Array
    bias: float | None
    outgoing: Mapping[str, Array] = field(default_factory=dict)

    @property
    def influence(self) -> float:
        """The mean absolute value of the incoming weights."""
        return float(np.abs(self.incoming.astype(np.float64)).mean()) if self.incoming.size else 0.0


def units_of(graph: Graph, layer: str, state: Mapping[str, Array]) -> tuple[Unit, ...]:
    """The units of a layer of `graph` whose parameters are in `state`."""
    weighted = {node.layer_id: node for node in graph.layers if _role(node, "weight") is not None}
    if layer not in weighted:
        near = difflib.get_close_matches(layer, weighted, 1)
        raise NotFoundError(
            f"There is no layer {layer!r} with weights.",
            hint=(f"Did you mean {near[0]!r}? " if near else "") + f"There are: {', '.join(list(weighted)[:12])}.",
        )
    node = weighted[layer]
    weight = _outputs_first(node, state)
    bias_parameter = _role(node, "bias")
    bias = state.get(bias_parameter.name) if bias_parameter is not None else None
    if bias is not None and bias.shape != weight.shape[:1]:
        bias = None
    following = {name: _outputs_first(weighted[name], state) for name in _next(graph, layer, weighted)}
    return tuple(
        Unit(
            index=i,
            incoming=weight[i].copy(),
            bias=None if bias is None else float(bias[i]),
            outgoing={name: found for name, w in following.items() if (found := _met(w, i, len(weight))) is not None},
        )
        for i in range(len(weight))
    )


def _role(node: Layer, role: str) -> Parameter | None:
    return next((p for p in node.parameters if p.role == role), None)


def _outputs_first(node: Layer, state: Mapping[str, Array]) -> Array:
    """The layer's weight [outputs, inputs, ...], in whichever order it is kept."""
    parameter = _role(node, "weight")
    if parameter is None or parameter.name not in state:
        raise NotFoundError(f"The weight of layer {node.layer_id!r} is not among the parameters.")
    value = state[parameter.name]
    turned = value.transpose(parameter.layout) if len(parameter.layout) == value.ndim else value
    if node.kind.startswith("ConvTranspose") and turned.ndim > 2 and not parameter.layout:
        return turned.swapaxes(0, 1)
    return turned


def _next(graph: Graph, layer: str, weighted: Mapping[str, Layer]) -> list[str]:
    """The layers with weights that what `layer` puts out comes to first."""
    after: dict[str, list[str]] = {}
    for edge in graph.edges:
        after.setdefault(edge.source, []).append(edge.target)
    nodes = {node.layer_id: node for node in graph.layers}
    found: list[str] = []
    seen = {layer}
    waiting = list(after.get(layer, ()))
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        weight = _role(nodes[name], "weight") if name in nodes else None
        # A scale for each unit, as normalisation has, lets the units through as they are.
        if name in weighted and weight is not None and len(weight.shape) > 1:
            found.append(name)
        else:
            waiting += after.get(name, ())
    return found


def _met(weight: Array, unit: int, units: int) -> Array | None:
    """The part of a following weight that unit `unit` of `units` meets, None where inputs are not those units."""
    if weight.ndim < 2 or not units:
        return None
    if weight.shape[1] == units:
        return weight[:, unit].copy()
    if weight.ndim == 2 and weight.shape[1] % units == 0:  # channels of places, flattened channel by channel
        return weight.reshape(len(weight), units, -1)[:, unit].copy()
    return None
