"""A graph of TensorFlow's operations, as `tf.summary.graph` and its former `FileWriter` write it.

What is drawn begins at the inputs (placeholders, data sets). Variables are the parameters of the operations that read
them; gradients, updates and what only asks for shapes are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from epochal.facts import Edge, Graph, Layer, Parameter, Shape
from epochal.facts.products import einsum_products
from epochal.network.graph_files import Names, finished
from epochal.network.graphdef import Node

__all__ = ["draw_tensorflow"]

_BEGINS = ("Placeholder", "PlaceholderWithDefault", "IteratorGetNext", "IteratorV2", "_Arg")
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
_RESOURCE = "type 20"
_READING = ("ReadVariableOp", "Identity", "Cast", "ResourceGather")
_HANDING = ("Identity", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape")
_ASKING = ("Shape", "ShapeN", "Size", "Rank", "NoOp", "Assert")
_BEHIND = ("gradients", "gradient_tape", "save", "training", "train", "report_uninitialized_variables")
_CLOSED = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case")
_TYPES = {"type 1": "float32", "type 2": "float64", "type 14": "bfloat16", "type 19": "float16", "type 3": "int32",
          "type 9": "int64"}  # fmt: skip
# How a kernel is looked at, outputs first: [places..., inputs, outputs] as TensorFlow keeps it.
_LAYOUTS: dict[str, tuple[int, ...]] = {
    "MatMul": (1, 0), "Conv1D": (2, 1, 0), "Conv2D": (3, 2, 0, 1), "Conv3D": (4, 3, 0, 1, 2),
    "DepthwiseConv2dNative": (2, 3, 0, 1), "Conv2DBackpropInput": (2, 3, 0, 1),
}  # fmt: skip
_MATRICES = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")


def draw_tensorflow(nodes: Sequence[Node], title: str) -> Graph:
    """The picture of such a graph; `nodes` are in running order."""
    by_name = {node.name: node for node in nodes}
    taken = Names()
    maker: dict[str, str] = {}
    layers: list[Layer] = []
    edges: list[Edge] = []
    left = 0
    for node in nodes:
        behind = any(part in _BEHIND for part in node.name.split("/")[:-1])
        came = dict.fromkeys(maker[name] for name in node.inputs if name in maker)
        begins = node.op in _BEGINS and node.settings.get("dtype") != _RESOURCE and not node.inputs
        if not (came or begins) or node.op in _ASKING:
            continue
        if node.op in _HANDING and len(came) == 1:
            maker[node.name] = next(iter(came))
            continue
        if behind or "Assign" in node.op or "Apply" in node.op:
            left += 1
            continue
        layer_id = maker[node.name] = taken.fresh(node.name)
        edges += [Edge(source=source, target=layer_id) for source in came]
        layers.append(_layer(node, layer_id, by_name, begins=begins))
    if not layers:
        raise ValueError("its graph has no inputs")
    note = f"{left:,} operations of gradients and updates are left out." if left else ""
    return finished(layers, edges, model=title, framework="tensorflow", note=note)


def _layer(node: Node, layer_id: str, nodes: Mapping[str, Node], *, begins: bool) -> Layer:
    held = {} if begins else {name: found for name in node.inputs if (found := _variable(name, nodes)) is not None}
    flowing = [nodes[name] for name in node.inputs if name in nodes and name not in held]
    shown = {key: value for key, value in node.settings.items() if key in _SHOWN and value is not None}
    return Layer(
        layer_id=layer_id,
        kind="input" if begins else node.op,
        role="input" if begins else "module" if held else "operation",
        module=layer_id if held else layer_id.rpartition("/")[0],
        inputs=tuple(one.shape for one in flowing if one.shape and one.op != "Const"),
        outputs=tuple(shape for shape in node.shapes[:1] if shape is not None),
        parameters=tuple(_parameter(node, found) for found in dict.fromkeys(held.values())),
        attributes=shown,
        multiply_adds=_work(node, nodes),
    )


_SHOWN = (
    "strides", "padding", "data_format", "dilations", "explicit_paddings", "ksize", "transpose_a", "transpose_b",
    "adj_x", "adj_y", "equation", "epsilon", "is_training", "alpha", "keep_dims", "axis", "N",
)  # fmt: skip


def _variable(name: str, nodes: Mapping[str, Node]) -> tuple[str, str, Shape] | None:
    """The variable that a value is: its name, element type and shape; None where it is none."""
    node, shape = nodes.get(name), None
    for _ in range(len(_READING) * 4):
        if node is None:
            return None
        shape = shape or (node.shape if node.shape and -1 not in node.shape else None)
        dtype = node.settings.get("dtype", node.settings.get("T"))
        if node.op in _VARIABLES or (node.op == "Placeholder" and dtype == _RESOURCE):
            own = node.settings.get("shape")
            size = own if isinstance(own, tuple) and own and -1 not in own else shape
            kind = nodes[name].settings.get("dtype", dtype)
            return None if size is None else (_plain(node.name), _TYPES.get(str(kind), "float32"), size)
        if node.op not in _READING or not node.inputs:
            return None
        node = nodes.get(node.inputs[0])
    return None


def _plain(name: str) -> str:
    return name.removesuffix("/resource").removesuffix("/ReadVariableOp")


def _parameter(node: Node, found: tuple[str, str, Shape]) -> Parameter:
    name, dtype, shape = found
    role: Literal["weight", "bias", "other"]
    role = "weight" if len(shape) > 1 else "bias" if node.op in ("BiasAdd", "AddV2", "Add") else "other"
    layout = _LAYOUTS.get(node.op, ()) if role == "weight" and not node.settings.get("transpose_b") else ()
    return Parameter(name=name, shape=shape, dtype=dtype, role=role, layout=layout if len(layout) == len(shape) else ())


def _work(node: Node, nodes: Mapping[str, Node]) -> int | None:
    """Multiply-adds for one example, from the shapes that the file tells; the batch comes first."""
    if node.op in _CLOSED:
        return None
    given = [nodes[name].shape if name in nodes else None for name in node.inputs]
    try:
        return _count(node, given)
    except (IndexError, TypeError, ValueError):
        return None  # a shape is not told


def _count(node: Node, given: Sequence[Shape | None]) -> int | None:
    made = node.shape
    if node.op in _MATRICES:
        turned = node.settings.get("transpose_a") or node.settings.get("adj_x")
        return _product([*_known(made)[1:], _known(given[0])[-2 if turned else -1]])
    if node.op in ("Conv2D", "Conv3D"):
        return _product([*_known(made)[1:], *_known(given[1])[:-1]])
    if node.op == "DepthwiseConv2dNative":
        return _product([*_known(made)[1:], *_known(given[1])[:2]])
    if node.op in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):
        return _product([*_known(given[2])[1:], *_known(given[1])[:-1]])
    if node.op == "Einsum":
        shapes = [tuple(1 if i == 0 and size < 0 else size for i, size in enumerate(_known(one))) for one in given]
        return None if any(-1 in shape for shape in shapes) else einsum_products(str(node.settings["equation"]), shapes)
    return 0


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise ValueError("a shape that is not told")
    return shape


def _product(sizes: Sequence[int]) -> int | None:
    return None if min(sizes) < 0 else math.prod(sizes)
