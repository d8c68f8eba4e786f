"""What an ONNX file says: protocol buffers (onnx.proto of ONNX 1.x), of which only the fields that a picture needs are
read. Subgraphs of `If` and `Loop` stay closed, and nothing outside of the file is opened."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import Shape
from epochal.network.protobuf import MOST_NAME, Field, fields, flag, floats, number, numbers, part, text

__all__ = ["FLOATS", "Model", "Node", "Sizes", "Tensor", "read_model"]

Array = npt.NDArray[Any]
Sizes = tuple[int | str, ...]
"""The sizes of a value: whole numbers, and the words of those that are open ("" for one without a word)."""

MOST_NODES = 20_000
MOST_AXES = 16
FLOATS = ("float16", "float32", "float64", "bfloat16")
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
}  # fmt: skip


@dataclass(slots=True)
class Tensor:
    """A tensor that lies in the file, or beside it (`outside`); `values` are those of floating point."""

    name: str = ""
    shape: Shape = ()
    dtype: str = ""
    values: Array | None = None
    outside: bool = False


@dataclass(slots=True)
class Node:
    """An operator."""

    name: str = ""
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    value: Tensor | None = None


@dataclass(slots=True)
class Model:
    """The graph of a model; `sizes` are those of values that flow, by name."""

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    sizes: dict[str, Sizes] = field(default_factory=dict)


def read_model(data: memoryview) -> Model:
    """The model in these bytes; ValueError, IndexError or OverflowError where they are none."""
    graph = None
    for what, value in fields(data):
        if what == 7:
            graph = part(value)
    if graph is None:
        raise ValueError("it has no graph")
    found = Model()
    for what, value in fields(graph):
        if what == 1:
            _take_node(_node(part(value)), found)
        elif what == 2:
            found.name = text(value)
        elif what == 5:
            tensor = _tensor(part(value))
            found.tensors[tensor.name] = tensor
        elif what in (11, 12, 13):
            name, sizes = _value(part(value))
            if what == 11:
                found.inputs.append(name)
            elif what == 12:
                found.outputs.append(name)
            if sizes is not None:
                found.sizes[name] = sizes
    if not found.nodes:
        raise ValueError("it has no operators")
    return found


def _take_node(node: Node, found: Model) -> None:
    """Keep an operator; a constant is a tensor like those that the file begins with."""
    if node.op == "Constant" and node.value is not None and len(node.outputs) == 1:
        node.value.name = node.outputs[0]
        found.tensors[node.outputs[0]] = node.value
        return
    found.nodes.append(node)
    if len(found.nodes) > MOST_NODES:
        raise ValueError(f"more than {MOST_NODES:,} operators")


def _node(data: memoryview) -> Node:
    node = Node()
    for what, value in fields(data):
        if what == 1:
            node.inputs.append(text(value))
        elif what == 2:
            node.outputs.append(text(value))
        elif what == 3:
            node.name = text(value)
        elif what == 4:
            node.op = text(value)
        elif what == 5:
            name, said = _attribute(part(value))
            if isinstance(said, Tensor):
                node.value = said
            elif said is not None:
                node.attributes[name] = said
        elif what == 7:
            node.domain = text(value)
    return node


def _attribute(data: memoryview) -> tuple[str, Any]:
    """Its name, and its value where that is plain or a tensor."""
    name, several = "", list[float]()
    said: Any = None
    for what, value in fields(data):
        if what == 1:
            name = text(value)
        elif what == 2:
            said = float(struct.unpack("<f", part(value))[0])
        elif what == 3:
            said = number(value)
        elif what == 4 and len(part(value)) <= MOST_NAME:
            said = text(value)
        elif what == 5:
            said = _tensor(part(value))
        elif what == 7:
            several += floats(value)
        elif what == 8:
            several += numbers(value)
    if said is None and several:
        said = several[:MOST_NAME]
    return name, said if not isinstance(said, float) or math.isfinite(said) else None


def _tensor(data: memoryview) -> Tensor:
    tensor, shape, packed = Tensor(), list[int](), list[Field]()
    raw: memoryview | None = None
    for what, value in fields(data):
        if what == 1:
            shape += numbers(value)
        elif what == 2:
            tensor.dtype = _TYPES.get(number(value), "other")
        elif what in (4, 10):
            packed.append(value)
        elif what == 8:
            tensor.name = text(value)
        elif what == 9:
            raw = part(value)
        elif what == 14:
            tensor.outside = flag(value)
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise ValueError(f"a tensor of the shape {shape[:MOST_AXES]}")
    tensor.shape = tuple(shape)
    if tensor.dtype in FLOATS and not tensor.outside:
        tensor.values = _values(raw if raw is not None else memoryview(b"".join(map(part, packed))), tensor)
    return tensor


def _values(data: memoryview, tensor: Tensor) -> Array | None:
    kind = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "bfloat16": "<u2"}[tensor.dtype]
    count, size = math.prod(tensor.shape), np.dtype(kind).itemsize
    if len(data) == 0 and count:
        return None  # kept in a way that is not read here
    if len(data) != count * size:
        raise ValueError(f"{tensor.name} has {len(data):,} bytes, its shape asks for {count * size:,}")
    values = np.frombuffer(data, kind).reshape(tensor.shape)
    if tensor.dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.copy()


def _value(data: memoryview) -> tuple[str, Sizes | None]:
    """The name of a value, and its sizes where it is a tensor."""
    name, sizes = "", None
    for what, value in fields(data):
        if what == 1:
            name = text(value)
        elif what == 2:
            for kind, tensor in fields(part(value)):
                parts = fields(part(tensor)) if kind == 1 else ()
                for which, dims in parts:
                    if which == 2:
                        sizes = tuple(_size(part(dim)) for one, dim in fields(part(dims)) if one == 1)
    if sizes is not None and len(sizes) > MOST_AXES:
        raise ValueError(f"{name} has {len(sizes)} axes")
    return name, sizes


def _size(data: memoryview) -> int | str:
    size: int | str = ""
    for what, value in fields(data):
        if what == 1 and number(value) >= 0:
            size = number(value)
        elif what == 2:
            size = text(value)
    return size
