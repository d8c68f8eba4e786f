"""Graph and weights of an ONNX file: nothing is run, and nothing outside of the file is opened."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Layer, Parameter, Shape, find_groups, mark_skips
from epochal.network.graph_files import Names, file_bytes
from epochal.network.onnx_file import FLOATS, Model, Node, Sizes, read_model
from epochal.network.onnx_work import Batch, multiply_adds

__all__ = ["read_onnx"]

Array = npt.NDArray[Any]
_Role = Literal["weight", "bias", "buffer", "other"]

_SCALED: dict[int, _Role] = {1: "weight", 2: "bias"}
_QUANTISED: dict[int, _Role] = {3: "weight", 8: "bias"}
_RECURRENT: dict[int, _Role] = {1: "weight", 2: "weight", 3: "bias"}
_ROLES: dict[str, dict[int, _Role]] = {
    "BatchNormalization": {1: "weight", 2: "bias", 3: "buffer", 4: "buffer"},
    "LayerNormalization": _SCALED, "InstanceNormalization": _SCALED, "GroupNormalization": _SCALED,
    "Conv": _SCALED, "ConvTranspose": _SCALED, "ConvInteger": _SCALED, "DeformConv": _SCALED,
    "Gemm": _SCALED, "MatMul": _SCALED, "MatMulInteger": _SCALED,
    "QLinearConv": _QUANTISED, "QLinearMatMul": _QUANTISED,
    "LSTM": _RECURRENT, "GRU": _RECURRENT, "RNN": _RECURRENT,
}  # fmt: skip
"""Operator -> what the tensors at its inputs are for."""
# What only writes the numbers of a tensor in another way.
_SAME = ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast")


def read_onnx(path: Path) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of an ONNX file, and its weights by name: those of floating point whose values lie in it.

    Raises NotFoundError where there is no such file, DamagedError where it is no ONNX model or says what cannot be.
    """
    try:
        found = read_model(file_bytes(path))
    except (struct.error, ValueError, OverflowError, IndexError) as error:
        raise DamagedError(f"{path.name} is no ONNX model: {error}") from None
    graph = _drawn(found, path.stem)
    used = {p.name for layer in graph.layers for p in layer.parameters}
    return graph, {t.name: t.values for t in found.tensors.values() if t.values is not None and t.name in used}


def _drawn(found: Model, title: str) -> Graph:
    names = Names()
    ids = _ids(found.nodes, names)
    sizes = {name: tensor.shape for name, tensor in found.tensors.items()} | found.sizes
    flowing = [name for name in found.inputs if name not in found.tensors]
    batch = Batch.of(next((found.sizes[name][0] for name in flowing if found.sizes.get(name)), None))
    fixed = set(found.tensors) | {""}
    maker: dict[str, str] = {}
    same: dict[str, str] = {}  # a value made of a tensor -> the tensor that it is
    layers, edges = [], []
    for name in flowing:
        maker[name] = names.fresh(name)
        outputs = _shapes([name], sizes)
        layers.append(Layer(layer_id=maker[name], kind="input", role="input", outputs=outputs, multiply_adds=0))
    for node, layer_id in zip(found.nodes, ids, strict=True):
        came = [name for name in node.inputs if name in maker]
        if not came:  # made of constants alone
            fixed |= set(node.outputs)
            if node.op in _SAME and node.inputs and (first := same.get(node.inputs[0], node.inputs[0])) in sizes:
                same |= dict.fromkeys(node.outputs[:1], first)
                sizes |= dict.fromkeys(node.outputs[:1], sizes[first])
            continue
        batch.learn(node, sizes)
        layers.append(
            Layer(
                layer_id=layer_id,
                kind=node.op,
                role="module" if (held := _held(node, found, same)) else "operation",
                module=layer_id if held else layer_id.rpartition("/")[0],
                inputs=_shapes(came, sizes),
                outputs=_shapes(node.outputs, sizes),
                parameters=held,
                attributes=node.attributes,
                multiply_adds=multiply_adds(node, sizes, batch),
            )
        )
        sources = dict.fromkeys(maker[name] for name in came)
        edges += [Edge(source=source, target=layer_id) for source in sources if source != layer_id]
        maker.update({name: layer_id for name in node.outputs if name})
    ends = [name for name in found.outputs if name in maker]
    out = names.fresh("output")
    layers.append(Layer(layer_id=out, kind="output", role="output", inputs=_shapes(ends, sizes), multiply_adds=0))
    edges += [Edge(source=source, target=out) for source in dict.fromkeys(maker[name] for name in ends)]
    outside = sum(t.outside for t in found.tensors.values())
    return Graph(
        source="declared",
        layers=tuple(layers),
        edges=mark_skips(layers, edges),
        groups=find_groups(layers, separator="/"),
        model=found.name or title,
        framework="onnx",
        note=f"The values of {outside:,} tensors lie in other files, which are not read." if outside else "",
    )


def _held(node: Node, found: Model, same: dict[str, str]) -> tuple[Parameter, ...]:
    """The tensors of the file that an operator holds: its weights, and others of floating point."""
    roles = _ROLES.get(node.op, {})
    held: dict[str, Parameter] = {}
    for place, name in enumerate(node.inputs):
        tensor = found.tensors.get(same.get(name, name))
        # A single number is a bias or a weight where one belongs, else a constant of the arithmetic.
        least = 1 if place in roles else 2
        if tensor is None or math.prod(tensor.shape) < least or (tensor.dtype not in FLOATS and place not in roles):
            continue
        role = roles.get(place, "other")
        layout = _layout(node, tensor.shape) if role == "weight" else ()
        held.setdefault(
            tensor.name, Parameter(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, role=role, layout=layout)
        )
    return tuple(held.values())


def _layout(node: Node, shape: Shape) -> tuple[int, ...]:
    """Products from the right keep a matrix as [inputs, outputs]."""
    right = "MatMul" in node.op or (node.op == "Gemm" and not node.attributes.get("transB"))
    return (1, 0) if right and len(shape) == 2 else ()


def _shapes(names: Sequence[str], sizes: dict[str, Sizes]) -> tuple[Shape, ...]:
    known = (sizes[name] for name in names if name in sizes)
    return tuple(tuple(size if isinstance(size, int) else -1 for size in one) for one in known)


def _ids(nodes: Sequence[Node], names: Names) -> list[str]:
    """A name for each operator: its own, without the operator at its end where nothing else is in the same place."""
    plain = [(node.name or (node.outputs[0] if node.outputs else "")).strip("/") or node.op for node in nodes]
    inside = Counter(path for name in plain for path in _above(name))
    ids = []
    for node, name in zip(nodes, plain, strict=True):
        place, _, last = name.rpartition("/")
        says_nothing = re.fullmatch(rf"{re.escape(node.op)}(_\d+)?", last) is not None
        ids.append(names.fresh(place if inside[place] == 1 and says_nothing else name))
    return ids


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]
