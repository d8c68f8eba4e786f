"""Graph and weights of an ONNX file: nothing is run, and nothing outside of the file is opened.

The format is protocol buffers (onnx.proto of ONNX 1.x); only the fields that a picture needs are read, all others are
passed over. Subgraphs of `If` and `Loop` stay closed.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError
from epochal.facts import Edge, Graph, Layer, Parameter, Shape, find_groups, mark_skips

__all__ = ["read_onnx"]

Array = npt.NDArray[Any]

MOST_BYTES = 4 << 30
MOST_NODES = 100_000
MOST_AXES = 16
MOST_NAME = 1000

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
_FLOATS = ("float16", "float32", "float64", "bfloat16")
# Operators whose inner graphs are not looked into: what they cost is not known.
_CLOSED = ("If", "Loop", "Scan", "SequenceMap")
_ROLES: dict[str, tuple[Literal["weight", "bias", "buffer"], ...]] = {
    "BatchNormalization": ("weight", "bias", "buffer", "buffer"),
    "LayerNormalization": ("weight", "bias"),
    "InstanceNormalization": ("weight", "bias"),
    "GroupNormalization": ("weight", "bias"),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), ("weight", "bias")),
}


@dataclass(slots=True)
class _Tensor:
    name: str = ""
    shape: Shape = ()
    dtype: str = ""
    values: Array | None = None
    outside: bool = False


@dataclass(slots=True)
class _Node:
    name: str = ""
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Graph:
    name: str = ""
    nodes: list[_Node] = field(default_factory=list)
    tensors: dict[str, _Tensor] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)


def read_onnx(path: Path) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of an ONNX file, and its weights by name: those of floating point whose values lie in it.

    Raises NotFoundError where there is no such file, DamagedError where it is no ONNX model or says what cannot be.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.")
    if path.stat().st_size > MOST_BYTES:
        raise DamagedError(f"{path.name} is larger than {MOST_BYTES >> 30} GiB.")
    try:
        found = _model(memoryview(path.read_bytes()))
    except (struct.error, ValueError, OverflowError, IndexError) as error:
        raise DamagedError(f"{path.name} is no ONNX model: {error}") from None
    if not found.nodes:
        raise DamagedError(f"{path.name} is no ONNX model: it has no operators.")
    graph = _drawn(found, path.stem)
    used = {p.name for layer in graph.layers for p in layer.parameters}
    return graph, {t.name: t.values for t in found.tensors.values() if t.values is not None and t.name in used}


# The file.


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a message: whole numbers as they are, all else as bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of an unknown kind ({kind})")
        if size > end - at:
            raise ValueError("a field is longer than what it stands in")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number that does not end")


def _part(value: object) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a number where a part is expected")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("a part where a number is expected")
    return value - (1 << 64) if value >> 63 else value


def _text(value: object) -> str:
    data = _part(value)
    if len(data) > MOST_NAME:
        raise ValueError(f"a name of {len(data):,} bytes")
    return bytes(data).decode("utf-8", "replace")


def _numbers(value: object) -> list[int]:
    """One number, or several packed into one field."""
    if isinstance(value, int):
        return [_number(value)]
    data, at, found = _part(value), 0, []
    while at < len(data):
        one, at = _varint(data, at)
        found.append(_number(one))
    return found


def _model(data: memoryview) -> _Graph:
    graph = None
    for number, value in _fields(data):
        if number == 7:
            graph = _part(value)
    if graph is None:
        raise ValueError("it has no graph")
    return _graph(graph)


def _graph(data: memoryview) -> _Graph:
    found = _Graph()
    for number, value in _fields(data):
        if number == 1:
            found.nodes.append(_node(_part(value)))
            if len(found.nodes) > MOST_NODES:
                raise ValueError(f"more than {MOST_NODES:,} operators")
        elif number == 2:
            found.name = _text(value)
        elif number == 5:
            tensor = _tensor(_part(value))
            found.tensors[tensor.name] = tensor
        elif number in (11, 12, 13):
            name, shape = _value(_part(value))
            if number == 11:
                found.inputs.append(name)
            elif number == 12:
                found.outputs.append(name)
            if shape is not None:
                found.shapes[name] = shape
    return found


def _node(data: memoryview) -> _Node:
    node = _Node()
    for number, value in _fields(data):
        if number == 1:
            node.inputs.append(_text(value))
        elif number == 2:
            node.outputs.append(_text(value))
        elif number == 3:
            node.name = _text(value)
        elif number == 4:
            node.op = _text(value)
        elif number == 5:
            name, said = _attribute(_part(value))
            if said is not None:
                node.attributes[name] = said
        elif number == 7:
            node.domain = _text(value)
    return node


def _attribute(data: memoryview) -> tuple[str, Any]:
    """Its name, and its value where that is plain."""
    name, several = "", list[float]()
    said: Any = None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            said = float(struct.unpack("<f", _part(value))[0])
        elif number == 3:
            said = _number(value)
        elif number == 4 and len(_part(value)) <= MOST_NAME:
            said = _text(value)
        elif number == 7:
            several += [float(v) for v in np.frombuffer(_part(value), "<f4")]
        elif number == 8:
            several += _numbers(value)
    if said is None and several:
        said = several[:MOST_NAME]
    return name, said if not isinstance(said, float) or math.isfinite(said) else None


def _tensor(data: memoryview) -> _Tensor:
    tensor, shape, packed = _Tensor(), [], b""
    raw: memoryview | None = None
    for number, value in _fields(data):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            tensor.dtype = _TYPES.get(_number(value), "other")
        elif number == 4 or number == 10:
            packed += bytes(_part(value))
        elif number == 8:
            tensor.name = _text(value)
        elif number == 9:
            raw = _part(value)
        elif number == 14:
            tensor.outside = _number(value) == 1
    if len(shape) > MOST_AXES or any(size < 0 for size in shape):
        raise ValueError(f"a tensor of the shape {shape[:MOST_AXES]}")
    tensor.shape = tuple(shape)
    if tensor.dtype in _FLOATS and not tensor.outside:
        tensor.values = _values(raw if raw is not None else memoryview(packed), tensor)
    return tensor


def _values(data: memoryview, tensor: _Tensor) -> Array | None:
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


def _value(data: memoryview) -> tuple[str, Shape | None]:
    """The name of a value, and its shape where it is a tensor: -1 for a size that is open."""
    name, shape = "", None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, tensor in _fields(_part(value)):
                parts = _fields(_part(tensor)) if kind == 1 else ()
                for what, dims in parts:
                    if what == 2:
                        shape = tuple(_size(_part(dim)) for which, dim in _fields(_part(dims)) if which == 1)
    if shape is not None and len(shape) > MOST_AXES:
        raise ValueError(f"{name} has {len(shape)} axes")
    return name, shape


def _size(data: memoryview) -> int:
    found = [_number(value) for number, value in _fields(data) if number == 1]
    return found[-1] if found and found[-1] >= 0 else -1


# The picture.


def _drawn(found: _Graph, title: str) -> Graph:
    names = _names(found.nodes)
    ids = list(names)
    fixed = set(found.tensors) | {""}
    maker: dict[str, str] = {}
    layers, edges = [], []
    for name in found.inputs:
        if name not in fixed:
            maker[name] = _fresh(name, names)
            layers.append(Layer(layer_id=maker[name], kind="input", role="input", outputs=_shapes([name], found)))
    for node, layer_id in zip(found.nodes, ids, strict=True):
        flowing = [name for name in node.inputs if name not in fixed]
        if not any(name in maker for name in flowing):
            fixed |= set(node.outputs)  # made of constants alone
            continue
        layers.append(_layer(node, layer_id, found, [name for name in flowing if name in maker]))
        sources = dict.fromkeys(maker[name] for name in flowing if name in maker)
        edges += [Edge(source=source, target=layer_id) for source in sources if source != layer_id]
        maker.update({name: layer_id for name in node.outputs if name})
    ends = [name for name in found.outputs if name in maker]
    out = _fresh("output", names)
    layers.append(Layer(layer_id=out, kind="output", role="output", inputs=_shapes(ends, found)))
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


def _layer(node: _Node, layer_id: str, found: _Graph, flowing: Sequence[str]) -> Layer:
    held = tuple(
        Parameter(
            name=name,
            shape=found.tensors[name].shape,
            dtype=found.tensors[name].dtype,
            role=_role(node, i - 1),
            layout=_layout(node, found.tensors[name].shape, i),
        )
        for i, name in enumerate(node.inputs)
        if name in found.tensors and found.tensors[name].dtype in _FLOATS and math.prod(found.tensors[name].shape) > 1
    )
    return Layer(
        layer_id=layer_id,
        kind=node.op,
        role="module" if held else "operation",
        module=layer_id if held else layer_id.rpartition("/")[0],
        inputs=_shapes(flowing, found),
        outputs=_shapes(node.outputs, found),
        parameters=held,
        attributes=node.attributes,
        multiply_adds=_work(node, found),
    )


def _role(node: _Node, place: int) -> Literal["weight", "bias", "buffer", "other"]:
    roles = _ROLES.get(node.op, ())
    return roles[place] if 0 <= place < len(roles) else "other"


def _layout(node: _Node, shape: Shape, place: int) -> tuple[int, ...]:
    """Products from the right keep a matrix as [inputs, outputs]."""
    right = node.op == "MatMul" or (node.op == "Gemm" and not node.attributes.get("transB"))
    return (1, 0) if right and place == 1 and len(shape) == 2 else ()


def _work(node: _Node, found: _Graph) -> int | None:
    """Multiply-adds for one example, from the shapes that the file tells."""
    if node.op in _CLOSED or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        return None
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2 or not node.outputs:
        return None if node.op in ("Einsum", "LSTM", "GRU", "RNN", "Attention", "ConvInteger") else 0
    shapes = {name: tensor.shape for name, tensor in found.tensors.items()} | found.shapes
    first, second, made = (shapes.get(name) for name in (*node.inputs[:2], node.outputs[0]))
    taken, other = (first, second) if node.op == "ConvTranspose" else (made, first)
    if not taken or second is None or -1 in taken[1:] or not other:
        return None
    if node.op in ("Conv", "ConvTranspose"):
        return math.prod(taken[1:]) * math.prod(second[1:])
    inner = other[0] if node.op == "Gemm" and node.attributes.get("transA") else other[-1]
    return None if inner < 0 else math.prod(taken[1:]) * inner


def _shapes(names: Sequence[str], found: _Graph) -> tuple[Shape, ...]:
    return tuple(found.shapes[name] for name in names if name in found.shapes)


def _names(nodes: Sequence[_Node]) -> dict[str, None]:
    """A name for each operator: its own, without the operator at its end where nothing else is in the same place."""
    plain = [(node.name or (node.outputs[0] if node.outputs else "")).strip("/") or node.op for node in nodes]
    inside = Counter(path for name in plain for path in _above(name))
    taken: dict[str, None] = {}
    for node, name in zip(nodes, plain, strict=True):
        place, _, last = name.rpartition("/")
        says_nothing = re.fullmatch(rf"{re.escape(node.op)}(_\d+)?", last) is not None
        _fresh(place if inside[place] == 1 and says_nothing else name, taken)
    return taken


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _fresh(name: str, taken: dict[str, None]) -> str:
    found, n = name or "value", 2
    while found in taken:
        found, n = f"{name}_{n}", n + 1
    taken[found] = None
    return found
