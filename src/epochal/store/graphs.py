"""A network's graph as JSON, and back; the graphs of several networks as one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Group, Layer, Parameter, find_groups
from epochal.store.files import to_json
from epochal.store.layout import FORMAT_VERSION

__all__ = ["graph_from_json", "graph_to_json", "join_graphs"]


def graph_to_json(graph: Graph) -> bytes:
    """Return the content of network/graph.json."""
    return to_json({"format_version": FORMAT_VERSION, **asdict(graph)}, indent=1)


def graph_from_json(data: bytes) -> Graph:
    """Return the graph that `graph_to_json` wrote; raises DamagedError when the bytes are something else."""
    try:
        value = json.loads(data)
        layers = tuple(_layer(layer) for layer in value["layers"])
        known = value.get("groups")
        return Graph(
            source=value["source"],
            layers=layers,
            # Files written before groups were kept have them in the names of the layers.
            groups=_groups(known) if known is not None else find_groups(layers, separator=_separator(layers)),
            edges=tuple(Edge(**edge) for edge in value["edges"]),
            model=value.get("model", ""),
            framework=value.get("framework", ""),
            note=value.get("note", ""),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"graph.json is no graph: {type(error).__name__}: {error}") from None


def join_graphs(graphs: Mapping[str, Graph]) -> Graph:
    """Return the graphs of several models as one, each below its name; that of "" keeps its own names.

    No arrow leads from one model to another. The source is the poorest of theirs.
    """
    below = [_below(name, graph) for name, graph in graphs.items()]
    if len(below) == 1:
        return below[0]
    return Graph(
        source=max((graph.source for graph in below), key=_SOURCES.index),
        layers=tuple(layer for graph in below for layer in graph.layers),
        edges=tuple(edge for graph in below for edge in graph.edges),
        groups=tuple(group for graph in below for group in graph.groups),
        model=", ".join(_titled(name, graph.model) for name, graph in graphs.items()),
        framework=", ".join(dict.fromkeys(graph.framework for graph in below if graph.framework)),
        note=" ".join(_titled(name, graph.note) for name, graph in graphs.items() if graph.note),
    )


_SOURCES = ("export", "forward", "declared", "parameters")


def _titled(name: str, text: str) -> str:
    return ": ".join(filter(None, (name, text)))


def _below(name: str, graph: Graph) -> Graph:
    if not name:
        return graph
    dot = f"{name}."
    layers = []
    for layer in graph.layers:
        attributes = dict(layer.attributes)
        if "activates" in attributes:
            attributes["activates"] = f"{dot}{attributes['activates']}"
        layers.append(
            replace(
                layer,
                layer_id=dot + layer.layer_id,
                module=dot + layer.module if layer.module else name,
                parameters=tuple(replace(p, name=dot + p.name) for p in layer.parameters),
                attributes=attributes,
            )
        )
    edges = tuple(replace(e, source=dot + e.source, target=dot + e.target) for e in graph.edges)
    grouped = {layer_id for group in graph.groups for layer_id in group.layers}
    own = tuple(layer.layer_id for layer in graph.layers if layer.layer_id not in grouped)
    groups = (
        Group(group_id=name, kind=graph.model, layers=_dotted(dot, own)),
        *(
            replace(
                g, group_id=dot + g.group_id, parent=f"{name}.{g.parent}".rstrip("."), layers=_dotted(dot, g.layers)
            )
            for g in graph.groups
        ),
    )
    return replace(graph, layers=tuple(layers), edges=edges, groups=groups)


def _dotted(dot: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dot + name for name in names)


def _groups(values: Any) -> tuple[Group, ...]:
    return tuple(Group(**{**value, "layers": tuple(value.get("layers", ()))}) for value in values)


def _separator(layers: tuple[Layer, ...]) -> str:
    """What parts the names of modules: a dot, in networks of Keras a slash."""
    return "/" if any("/" in layer.layer_id for layer in layers) else "."


def _layer(value: Mapping[str, Any]) -> Layer:
    return Layer(
        **{
            **value,
            "inputs": _shapes(value.get("inputs", ())),
            "outputs": _shapes(value.get("outputs", ())),
            "parameters": tuple(_parameter(p) for p in value.get("parameters", ())),
        }
    )


def _parameter(value: Mapping[str, Any]) -> Parameter:
    shape, layout = tuple(value["shape"]), tuple(value.get("layout", ()))
    if layout and sorted(layout) != list(range(len(shape))):
        raise ValueError(f"layout {layout} is no order of the axes of {shape}")
    return Parameter(**{**value, "shape": shape, "layout": layout})


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in shape) for shape in value)
