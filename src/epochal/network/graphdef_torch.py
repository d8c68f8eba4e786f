"""A graph of PyTorch's TorchScript, as `SummaryWriter.add_graph` writes it: one layer for each use of a module.

The file names modules by their classes and names (`ResNet/Sequential[layer1]/Conv2d[0]/input.3`) and says the shapes of
values, but neither those of parameters nor of kernels: multiply-adds and parameters are not counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from epochal.facts import Edge, Graph, Layer, Shape
from epochal.network.graph_files import Names, finished
from epochal.network.graphdef import Node

__all__ = ["draw_torch"]

_NOTE = "TensorBoard's file does not say how large parameters and kernels are: they are not counted."
_MODULE = re.compile(r"(\w+)\[([^\[\]]+)\]")
_NAMED = re.compile(r"name\s*:\s*(\S+)")
_SAID = re.compile(r"value\s*:\s*(\S.*?)\s*\}")
# Questions about shapes: what is made of their answers is no value that flows.
_ASKING = frozenset({"size", "Int", "numel", "dim", "len", "NumToTensor", "ScalarImplicit", "Constant", "GetAttr"})
# What hands its inputs on as they are, or bound together.
_HANDING = frozenset(
    {
        "ListConstruct", "TupleConstruct", "ListUnpack", "TupleUnpack", "alias", "clone", "contiguous", "detach",
        "detach_", "to",
    }
)  # fmt: skip
# With several outputs, each of them is written as an operation of its own.
_MANY = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu", "max", "min", "topk", "sort", "var_mean", "std_mean"})
# PyTorch treats what is inside as its own.
_WHOLE = ("MultiheadAttention",)
_LISTS = ("ModuleList", "ModuleDict", "ParameterList")
_SETTINGS: dict[str, dict[int, str]] = {
    "_convolution": {3: "stride", 4: "padding", 5: "dilation", 8: "groups"},
    "batch_norm": {6: "momentum", 7: "eps"}, "layer_norm": {1: "normalized_shape", 4: "eps"},
    "group_norm": {1: "num_groups", 4: "eps"},
    "max_pool2d": {1: "kernel_size", 2: "stride", 3: "padding", 4: "dilation", 5: "ceil_mode"},
    "max_pool1d": {1: "kernel_size", 2: "stride", 3: "padding", 4: "dilation", 5: "ceil_mode"},
    "avg_pool2d": {1: "kernel_size", 2: "stride", 3: "padding", 4: "ceil_mode"},
    "adaptive_avg_pool2d": {1: "output_size"}, "dropout": {1: "p"}, "softmax": {1: "dim"}, "log_softmax": {1: "dim"},
    "cat": {1: "dim"}, "flatten": {1: "start_dim", 2: "end_dim"}, "leaky_relu": {1: "negative_slope"},
    "transpose": {1: "dim0", 2: "dim1"}, "permute": {1: "dims"}, "mean": {1: "dim", 2: "keepdim"},
}  # fmt: skip


@dataclass(slots=True)
class _Box:
    """A layer in the making; `held` are the names of parameters and buffers that it uses."""

    layer_id: str
    kind: str
    role: Literal["input", "module", "operation", "output"]
    module: str = ""
    sources: list[str] = field(default_factory=list)
    inputs: list[Shape] = field(default_factory=list)
    outputs: list[Shape] = field(default_factory=list)
    held: dict[str, None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    ops: set[str] = field(default_factory=set)


def draw_torch(nodes: Sequence[Node], title: str) -> Graph:
    """The picture of such a graph; `nodes` are in running order."""
    by_name = {node.name: node for node in nodes}
    modules = _Modules(nodes)
    flows = _flows(nodes)
    boxes = _boxes(flows, by_name, modules)
    layers = [
        Layer(
            layer_id=box.layer_id,
            kind=box.kind,
            role=box.role,
            module=box.module,
            inputs=tuple(box.inputs),
            outputs=tuple(box.outputs),
            attributes=box.settings | ({"tensors": ", ".join(box.held)} if box.held else {}),
        )
        for box in boxes
    ]
    edges = [Edge(source=source, target=box.layer_id) for box in boxes for source in dict.fromkeys(box.sources)]
    weighted = {box.layer_id for box in boxes
                if any("weight" in name for name in box.held) and not any("norm" in op for op in box.ops)}  # fmt: skip
    return finished(
        layers, edges, model=modules.model or title, framework="torch", kinds=modules.groups, separator=".",
        note=_NOTE, weighted=weighted,
    )  # fmt: skip


class _Modules:
    """Which modules there are, as the names of operations tell."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.model = ""
        self.kinds: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        for node in nodes:
            self._read(node.name)
        self._outer = {above for path in self.kinds for above in _above(path)}
        self.groups = {path: kind for path, kind in self.kinds.items() if path in self._outer and kind not in _LISTS}

    def _read(self, name: str) -> None:
        path = ""
        first, _, rest = name.partition("/")
        if rest and first not in ("input", "output"):
            self.model = self.model or first
        for part in rest.split("/"):
            said = _MODULE.fullmatch(part)
            if said is None or self.kinds.get(path) in _WHOLE:
                break
            inner = f"{path}.{said[2]}" if path else said[2]
            # Lists of modules are not named, so that modules of two lists may have one name.
            path = inner if self.kinds.get(inner, said[1]) == said[1] else f"{inner}_{said[1]}"
            self.kinds[path] = said[1]
        self._paths[name] = path

    def around(self, node: Node) -> str:
        """The module in which an operation runs, "" for the network itself."""
        return self._paths[node.name]

    def is_layer(self, path: str) -> bool:
        """Whether a module is drawn as a layer: no other one runs inside of it."""
        return path != "" and path not in self._outer


def _above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _op(node: Node) -> str:
    return node.op.rpartition("::")[2]


def _flows(nodes: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """Each operation that is drawn, and the drawn ones that it takes from."""
    flows: dict[str, tuple[str, ...]] = {}
    same: dict[str, tuple[str, ...]] = {}  # a value -> the drawn operations that made it
    last: Node | None = None
    for node in nodes:
        came = tuple(dict.fromkeys(source for name in node.inputs for source in same.get(name, ())))
        if node.op == "IO Node" and not node.inputs:
            flows[node.name], same[node.name] = (), (node.name,)
        elif not came or _op(node) in _ASKING:
            continue
        elif _op(node) in _HANDING:
            same[node.name] = came
        elif last is not None and _op(node) in _MANY and (last.op, last.inputs) == (node.op, node.inputs):
            same[node.name] = same[last.name]
        else:
            flows[node.name], same[node.name], last = came, (node.name,), node
    return flows


def _boxes(flows: Mapping[str, tuple[str, ...]], nodes: Mapping[str, Node], modules: _Modules) -> list[_Box]:
    """One box for each use of a layer, one for each operation outside of layers."""
    taken = Names([*modules.kinds, "output"])
    out = _Box("output", "output", "output")
    boxes: list[_Box] = []
    made: dict[str, _Box] = {}
    used: set[str] = set()
    for run in _runs([nodes[name] for name in flows], modules):
        path = modules.around(run[0])
        if run[0].op == "IO Node" and not run[0].inputs:
            box = _Box(taken.fresh(re.sub(r"\.\d+$", "", run[0].name.rpartition("/")[2])), "input", "input")
        elif run[0].op == "IO Node":
            box = out
        elif modules.is_layer(path):
            box = _Box(taken.fresh(f"{path}@2") if path in used else path, modules.kinds[path], "module", path)
            used.add(path)
        else:
            kind = _op(run[0]).strip("_")
            box = _Box(taken.fresh(f"{path}.{kind}" if path else kind), kind, "operation", path)
        if box is not out:
            boxes.append(box)
        for node in run:
            came = [name for name in flows[node.name] if made[name] is not box]
            box.sources += [made[name].layer_id for name in came]
            box.inputs += [shape for name in came if (shape := nodes[name].shape) is not None]
            box.outputs = [node.shape] if node.shape is not None and box is not out else []
            box.settings |= _settings(node, nodes)
            box.held |= dict.fromkeys(held for name in node.inputs for held in _tensors(name, nodes))
            box.ops.add(_op(node))
            made[node.name] = box
    return _without_dead_ends([*boxes, out])


def _runs(drawn: Sequence[Node], modules: _Modules) -> list[list[Node]]:
    """Operations that are one use of a layer: different ones that run one after the other inside of a module."""
    runs: list[list[Node]] = []
    for path, together in groupby(drawn, key=lambda node: modules.around(node) if node.op != "IO Node" else None):
        nodes = list(together)
        whole = path is not None and modules.is_layer(path) and len({node.op for node in nodes}) > 1
        runs += [nodes] if whole else [[node] for node in nodes]
    return runs


def _without_dead_ends(boxes: Sequence[_Box]) -> list[_Box]:
    """Leave out operations whose result nothing uses: questions that the forward asked of its values."""
    kept: list[_Box] = []
    needed: set[str] = set()
    for box in reversed(boxes):
        if box.role != "operation" or box.layer_id in needed:
            kept.append(box)
            needed |= set(box.sources)
    return kept[::-1]


def _settings(node: Node, nodes: Mapping[str, Node]) -> dict[str, Any]:
    """The plain settings that the operation was called with."""
    places = _SETTINGS.get(_op(node), {})
    found = {name: _constant(node.inputs[i], nodes) for i, name in places.items() if i < len(node.inputs)}
    return {name: value for name, value in found.items() if value is not None and value != []}


def _constant(name: str, nodes: Mapping[str, Node]) -> Any:
    node = nodes.get(name)
    if node is None:
        return None
    if _op(node) == "ListConstruct":
        return [_number(nodes[one]) for one in node.inputs if one in nodes]
    return _number(node)


def _number(node: Node) -> float | int | None:
    said = _SAID.search(str(node.settings.get("attr", "")))
    if _op(node) != "Constant" or said is None:
        return None
    try:
        value = float(said[1])
    except ValueError:
        return None
    return int(value) if value.is_integer() else value if math.isfinite(value) else None


def _tensors(name: str, nodes: Mapping[str, Node]) -> list[str]:
    """The parameters or buffers that a value is, by their own names."""
    node = nodes.get(name)
    if node is None:
        return []
    if _op(node) == "ListConstruct":
        return [
            held for one in node.inputs if one != name and _is_held(nodes.get(one)) for held in _tensors(one, nodes)
        ]
    said = _NAMED.search(str(node.settings.get("attr", ""))) if _is_held(node) else None
    return [said[1]] if said else []


def _is_held(node: Node | None) -> bool:
    return node is not None and _op(node) == "GetAttr"
