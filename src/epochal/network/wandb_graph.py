"""The graph that W&B keeps of a watched network (`wandb.watch(model, log_graph=True)`, `media/graph/*.graph.json`).

It lists modules in the order in which they ran, blocks as one module each, with their parameters and the shapes of what
they put out. Of a PyTorch network it keeps no arrows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Layer, Parameter, Shape
from epochal.facts.activations import activation_word
from epochal.network.graph_files import MOST_LAYERS, Names, finished

__all__ = ["wandb_graph"]

_NOTE = "W&B keeps no arrows: they follow the order in which modules first ran. Blocks are one module each."
_SETTING = re.compile(r"(\w+)=(\([^()]*\)|[^,()]+)")
_FREE = re.compile(r".*(Norm\w*|Pool\w*|Dropout\w*|Pad\w*)|Flatten|Identity|Embedding|Upsample|ZeroPad\w*")


def wandb_graph(said: Mapping[str, Any], path: Path) -> Graph:
    """The graph in such a JSON document; DamagedError where it says none."""
    try:
        nodes = said["nodes"]
        if not isinstance(nodes, list) or not 0 < len(nodes) <= MOST_LAYERS:
            raise ValueError("it has no list of nodes, or too long a one")
        taken = Names()
        ids = [taken.fresh(str(node.get("name") or "network")[:1000]) for node in nodes]
        layers = [_layer(node, layer_id) for node, layer_id in zip(nodes, ids, strict=True)]
        places = {node.get("id"): i for i, node in enumerate(nodes)}
        told = [(places[a], places[b]) for a, b in said.get("edges") or () if a in places and b in places]
        ways = sorted({(a, b) for a, b in told if a < b}, key=lambda way: way[::-1]) or list(pairwise(range(len(ids))))
        note = "" if told else _NOTE
        edges = [Edge(source=ids[a], target=ids[b]) for a, b in ways]
        title = re.sub(r"(_summary_\w+)?(\.graph)?\.json$", "", path.name)
        framework = str(said.get("format") or "")[:100]
        separator = "." if framework == "torch" else "/"
        return finished(layers, edges, model=title, framework=framework, separator=separator, note=note)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{path.name} is no graph of W&B: {type(error).__name__}: {str(error)[:200]}") from None


def _layer(node: Mapping[str, Any], layer_id: str) -> Layer:
    text = str(node.get("class_name") or node.get("type") or "layer")
    kind = re.split(r"[(\s]", text.strip(), maxsplit=1)[0][:100]
    closed = "\n" in text  # a module with others inside
    parameters = tuple(_parameter(layer_id, name, shape) for name, shape in node.get("parameters") or ())
    shape = _shape(node.get("output_shape"))
    return Layer(
        layer_id=layer_id,
        kind=kind,
        module=layer_id,
        outputs=() if shape is None else (shape,),
        parameters=parameters,
        attributes={} if closed else _settings(text),
        multiply_adds=None if closed else _work(kind, parameters, shape),
    )


def _parameter(layer_id: str, name: Any, shape: Any) -> Parameter:
    leaf = str(name).rpartition(".")[2]
    role: Literal["weight", "bias", "other"]
    role = "weight" if leaf.startswith("weight") else "bias" if leaf.startswith("bias") else "other"
    sizes = tuple(shape[:32])
    if not all(isinstance(size, int) and 0 <= size < 1 << 40 for size in sizes):
        raise ValueError(f"a parameter of the shape {str(shape)[:100]}")
    return Parameter(name=f"{layer_id}.{str(name)[:1000]}", shape=sizes, dtype="float32", role=role)


def _shape(said: Any) -> Shape | None:
    """The shape of the first output, however deep it stands."""
    for _ in range(8):
        if not isinstance(said, list) or not said:
            return None
        if all(size is None or isinstance(size, int) for size in said):
            return tuple(-1 if size is None else size for size in said[:32])
        said = said[0]
    return None


def _settings(text: str) -> dict[str, Any]:
    """What a module's text says in its brackets: `Conv2d(3, 8, kernel_size=(3, 3), bias=False)`."""
    found: dict[str, Any] = {}
    for name, value in _SETTING.findall(text[:2000]):
        members = [_plain(part) for part in value.strip("()").split(",") if part.strip()]
        found["use_bias" if name == "bias" else name] = members if value.startswith("(") else members[0]
    return found


def _plain(text: str) -> bool | int | float | str:
    word = text.strip()
    if word in ("True", "False"):
        return word == "True"
    for kind in (int, float):
        try:
            value = kind(word)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    return word


def _work(kind: str, parameters: Sequence[Parameter], made: Shape | None) -> int | None:
    """Multiply-adds for one example of layers with one matrix of weights."""
    weight = next((p for p in parameters if p.role == "weight"), None)
    if kind == "Linear" and weight is not None and made:
        return math.prod(made[1:-1]) * weight.size
    if re.fullmatch(r"Conv[123]d", kind) and weight is not None and made:
        return math.prod(made[2:]) * weight.size
    return 0 if _FREE.fullmatch(kind) or activation_word(kind) else None
