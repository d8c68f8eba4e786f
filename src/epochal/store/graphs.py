"""A network's graph as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Layer, Parameter
from epochal.store.files import to_json
from epochal.store.layout import FORMAT_VERSION

__all__ = ["graph_from_json", "graph_to_json"]


def graph_to_json(graph: Graph) -> bytes:
    """Return the content of network/graph.json."""
    return to_json({"format_version": FORMAT_VERSION, **asdict(graph)}, indent=1)


def graph_from_json(data: bytes) -> Graph:
    """Return the graph that `graph_to_json` wrote; raises DamagedError when the bytes are something else."""
    try:
        value = json.loads(data)
        return Graph(
            source=value["source"],
            layers=tuple(_layer(layer) for layer in value["layers"]),
            edges=tuple(Edge(**edge) for edge in value["edges"]),
            model=value.get("model", ""),
            framework=value.get("framework", ""),
            note=value.get("note", ""),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"graph.json is no graph: {type(error).__name__}: {error}") from None


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
