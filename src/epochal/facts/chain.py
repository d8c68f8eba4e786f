"""Networks that are one chain of linear layers with functions of single numbers between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from epochal.facts.graph import Graph, Layer, Shape

__all__ = ["Chain", "Function", "Link", "dense_chain"]

_LINEAR = frozenset({"linear", "dense"})
_FLATTENING = frozenset({"flatten", "view", "reshape"})
_SILENT = frozenset({"dropout", "alphadropout", "featurealphadropout", "identity", "inputlayer", "contiguous"})
_FUNCTIONS = frozenset(
    {
        "relu", "sigmoid", "tanh", "softmax", "logsoftmax", "leakyrelu", "elu", "selu", "celu", "gelu", "silu", "swish",
        "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish", "relu6", "mish", "logsigmoid", "tanhshrink",
        "exponential", "linear",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function applied to what a layer puts out: its plain name (`relu`, `logsoftmax`) and settings."""

    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One linear layer: the names of its weight and bias among the parameters, and what follows it.

    `layout` is the order of axes in which the weight is [outputs, inputs] (facts.Parameter), empty where it lies so.
    """

    layer: str
    weight: str
    bias: str | None
    inputs: int
    outputs: int
    layout: tuple[int, ...] = ()
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The links from input to output; `input_shape` is that of one example, without the batch."""

    links: tuple[Link, ...]
    input_shape: Shape


def dense_chain(graph: Graph | None) -> Chain | None:
    """The network as a chain of linear layers, None where it is anything else.

    Flattening the input, dropout (which does nothing to a trained network) and activations may stand between.
    """
    nodes = _path(graph) if graph is not None else None
    if not nodes:
        return None
    activated = {node.attributes.get("activates") for node in nodes}
    links: list[Link] = []
    input_shape: Shape | None = None
    flat = True
    for node in nodes:
        kind = node.kind.lower().replace("_", "")
        if node.role == "input":
            input_shape = (node.outputs or node.inputs or ((),))[0][1:]
            flat = len(input_shape) == 1
        elif node.role == "output" or kind in _SILENT:
            continue
        elif kind in _FLATTENING and not node.parameters:
            if node.outputs and (len(node.outputs[0]) != 2 or (links and node.outputs != node.inputs)):
                return None
            flat = True
        elif kind in _LINEAR and node.parameters:
            link = _link(node)
            expected = links[-1].outputs if links else prod(input_shape) if input_shape is not None else None
            if link is None or not flat or (expected is not None and expected != link.inputs):
                return None
            if node.activation and node.layer_id not in activated:
                named = node.activation.lower().replace("_", "")
                if named not in _FUNCTIONS:
                    return None
                link = replace(link, functions=(Function(name=named),))
            links.append(link)
        elif kind in _FUNCTIONS and links and not node.parameters:
            last = links[-1]
            function = Function(name=kind, attributes=dict(node.attributes))
            links[-1] = replace(last, functions=(*last.functions, function))
        else:
            return None
    if not links:
        return None
    return Chain(links=tuple(links), input_shape=input_shape or (links[0].inputs,))


def _path(graph: Graph) -> list[Layer] | None:
    """The nodes in running order where each leads to just one other, None where the graph branches or is not known."""
    if graph.source == "parameters" or any(edge.skip for edge in graph.edges):
        return None
    by_id = {layer.layer_id: layer for layer in graph.layers}
    after: dict[str, str] = {}
    entered: set[str] = set()
    for edge in graph.edges:
        if edge.source in after or edge.target in entered or {edge.source, edge.target} - by_id.keys():
            return None
        after[edge.source] = edge.target
        entered.add(edge.target)
    starts = [name for name in by_id if name not in entered]
    if len(starts) != 1:
        return None
    path = [by_id[starts[0]]]
    while (name := after.get(path[-1].layer_id)) is not None:
        path.append(by_id[name])
    return path if len(path) == len(by_id) else None


def _link(node: Layer) -> Link | None:
    """The linear layer of a node, None where it has more than a matrix and a bias."""
    weights = [p for p in node.parameters if p.role == "weight"]
    biases = [p for p in node.parameters if p.role == "bias"]
    if len(weights) != 1 or len(biases) > 1 or len(node.parameters) != len(weights) + len(biases):
        return None
    shape = weights[0].shown_shape
    if len(shape) != 2 or (node.inputs and len(node.inputs[0]) != 2):
        return None
    return Link(
        layer=node.layer_id,
        weight=weights[0].name,
        bias=biases[0].name if biases else None,
        inputs=shape[1],
        outputs=shape[0],
        layout=weights[0].layout,
    )
