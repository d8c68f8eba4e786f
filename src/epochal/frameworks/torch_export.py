"""Export a network to a program that runs without the user's source, and tell that program as a `Trace`."""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._pytree import tree_leaves, tree_map

from epochal.errors import NetworkError
from epochal.facts import Shape
from epochal.frameworks.torch_modules import tensor_names
from epochal.frameworks.torch_quiet import untouched
from epochal.frameworks.torch_trace import Call, Trace, layer_table
from epochal.frameworks.torch_work import multiply_adds

__all__ = ["Arguments", "batch_size", "export_program", "program_bytes", "trace_program"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword inputs of a network's forward call."""

# Metadata of the user's machine or of tracing, of no use to whoever loads the program.
_PRIVATE = ("stack_trace", "from_node", "source_fn_stack", "custom", "torch_fn", "partitioner_tag")


def batch_size(arguments: Arguments) -> int | None:
    """The size of the first dimension of the first tensor among the inputs, None when there is none."""
    return next((int(leaf.shape[0]) for leaf in tree_leaves(arguments) if _has_batch(leaf)), None)


def export_program(network: nn.Module, arguments: Arguments) -> tuple[ExportedProgram, str]:
    """Export in eval mode with a batch of any size where the network allows it; also a note where it does not.

    Raises NetworkError, in plain words, when the network cannot be exported.
    """
    size = batch_size(arguments)
    problem: Exception | None = None
    with untouched(network):
        for any_size in (True, False) if size is not None else (False,):
            try:
                program = _export(network, arguments, any_size=any_size)
            except Exception as error:  # noqa: BLE001 - the user's forward and PyTorch's tracer may raise anything
                problem = problem or error
                continue
            fixed = size is not None and not _is_dynamic(program)
            return program, f"The batch size is fixed at {size}: the network needs to know it." if fixed else ""
    raise NetworkError(f"{type(network).__name__} cannot be exported: {_reason(problem)}") from problem


def _export(network: nn.Module, arguments: Arguments, *, any_size: bool) -> ExportedProgram:
    size = batch_size(arguments)
    if any_size and size == 1:
        # Tracing takes a size of 1 for a constant; two equal examples keep it a variable.
        arguments = tree_map(lambda leaf: torch.cat([leaf, leaf]) if _has_batch(leaf, 1) else leaf, arguments)
        size = 2
    shapes = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for leaf in tree_leaves(arguments) if any_size else ():
        if _has_batch(leaf, size):
            shapes[leaf] = {0: Dim.AUTO}
    dynamic = shapes.dynamic_shapes(network, *arguments) if any_size else None  # type: ignore[no-untyped-call]
    return torch.export.export(network, *arguments, dynamic_shapes=dynamic, strict=False)


def program_bytes(program: ExportedProgram) -> bytes:
    """The program as a `.pt2` file, without example inputs and without the user's paths and source lines.

    Raises NetworkError when this PyTorch would write pickles into it, which nobody could load safely.
    """
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            for key in _PRIVATE:
                node.meta.pop(key, None)
    # Public setters do not exist for these: both would be written into the file, the first as a pickle of the
    # user's data, the second as Python code that whoever loads the file would have to run.
    program._example_inputs = None
    program._guards_code = []
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # of how it groups tensors that are views of one
        warnings.simplefilter("ignore")
        torch.export.save(program, buffer)
    data = buffer.getvalue()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickled = [i.filename for i in archive.infolist() if i.filename.endswith(".pt") and i.file_size]
    if pickled:
        raise NetworkError(
            f"PyTorch {torch.__version__} writes networks as pickles ({pickled[0]}), which are not safe to load.",
            hint="Record with a newer PyTorch.",
        )
    return data


def trace_program(network: nn.Module, program: ExportedProgram) -> Trace:
    """Tell an exported program as a trace; `network` is the module that it was exported from."""
    table = layer_table(network)
    names = tensor_names(network)
    of_tensor = dict(network.named_parameters(remove_duplicate=False)) | dict(
        network.named_buffers(remove_duplicate=False)
    )
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    number: dict[Node, int] = {}
    shapes: dict[int, Shape] = {}
    inputs: list[tuple[str, int]] = []
    calls: list[Call] = []
    outputs: tuple[int, ...] = ()
    sizes = _Sizes(program)
    for node in program.graph.nodes:
        if node.op == "output":
            outputs = tuple(number[leaf] for leaf in tree_leaves(node.args) if leaf in number)
            continue
        if node.op == "get_attr" or (found := _value_shape(node)) is None:
            continue
        if node.op == "placeholder":
            if node.name in signature.user_inputs:
                shapes[number.setdefault(node, len(number))] = found
                inputs.append((node.name, number[node]))
            continue
        shapes[number.setdefault(node, len(number))] = found
        where, use = _place(node, table)
        sources = node.all_input_nodes
        tensors = [of_tensor[held[n.name]] for n in sources if n.name in held and held[n.name] in of_tensor]
        call = Call(
            op=_operation(node),
            where=where,
            use=use,
            inputs=tuple(number[n] for n in sources if n in number),
            outputs=(number[node],),
            tensors=tuple(names[id(t)] for t in tensors if id(t) in names),
            settings=_settings(node),
            work=_work(node, sizes),
        )
        calls.append(call)
    return Trace(inputs=tuple(inputs), calls=tuple(calls), outputs=outputs, shapes=shapes)


class _Sizes:
    """The shapes of values for one example: what follows the batch is worked out for a batch of 1."""

    def __init__(self, program: ExportedProgram) -> None:
        users = program.graph_signature.user_inputs
        values = [n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in users]
        first = next((v.shape[0] for v in values if isinstance(v, torch.Tensor) and v.dim()), 1)
        self._known: dict[Any, int | None] = {}
        # Where the network fixes the batch, all is counted for the whole of it and shared out.
        self.fixed = int(first) if is_concrete_int(first) else 1

    def of(self, value: object) -> Shape | None:
        """The shape of a tensor; None where one of its sizes is no plain function of the batch."""
        if not isinstance(value, torch.Tensor):
            return None
        found = [self._one(size) for size in value.shape]
        return None if None in found else tuple(size for size in found if size is not None)

    def _one(self, size: Any) -> int | None:
        if is_concrete_int(size):
            return int(size)
        told = size.node.expr
        if told not in self._known:
            one = told.subs(dict.fromkeys(told.free_symbols, 1))
            self._known[told] = int(one) if one.is_Integer else None
        return self._known[told]


def _work(node: Node, sizes: _Sizes) -> int | None:
    """The multiply-adds of a node for one example."""
    if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in ("aten", "prims"):
        return None  # an operator from elsewhere
    given = [sizes.of(leaf.meta.get("val")) for leaf in tree_leaves((node.args, node.kwargs)) if isinstance(leaf, Node)]
    shapes = [shape for shape in given if shape is not None]
    answer = next((leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)), None)
    settings = _settings(node)
    if "rnn" in _operation(node) or _operation(node) in ("lstm", "gru"):
        settings["packed"] = node.target._overloadname == "data" if hasattr(node.target, "_overloadname") else False
    count = multiply_adds(_operation(node), shapes, sizes.of(answer), settings)
    if count and len(shapes) < len(given):
        return None
    return count if count is None or sizes.fixed == 1 or count % sizes.fixed else count // sizes.fixed


def _has_batch(leaf: object, size: int | None = None) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.dim() > 0 and size in (None, leaf.shape[0])


def _is_dynamic(program: ExportedProgram) -> bool:
    users = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in users]
    return any(-1 in _shape(value) for value in values if isinstance(value, torch.Tensor))


def _shape(tensor: torch.Tensor) -> Shape:
    # A size that the tracer had to settle stays a symbolic integer, with a number for its expression.
    return tuple(int(size) if is_concrete_int(size) else -1 for size in tensor.shape)


def _reason(problem: Exception | None) -> str:
    """The tracer's complaint in plain words where we know it, else its first line."""
    name, text = type(problem).__name__, str(problem).strip()
    if "data-dependent" in text or "DataDependent" in name:
        return "its forward decides by the values of tensors (data-dependent control flow)"
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{name}: {first[:300]}" if first else name


def _value_shape(node: Node) -> Shape | None:
    """The shape of what a node gives; of the first tensor when it gives several; None when it gives none."""
    tensor = next((leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, torch.Tensor)), None)
    return None if tensor is None else _shape(tensor)


def _place(node: Node, table: Mapping[str, nn.Module]) -> tuple[str, int]:
    """The layer that an operation belongs to and which use of it, else the innermost module around it."""
    path, use = "", 0
    for key, (name, _) in node.meta.get("nn_module_stack", {}).items():
        if key.startswith("_empty_nn_module_stack"):
            continue
        # A second use of the same module has its key, not its path, end in @1 (in older versions the path too).
        path = name.split("@")[0]
        count = key.rpartition("@")[2] if "@" in key else "0"
        use = int(count) if count.isdigit() else 0
        if path in table:
            break
    return path, use


def _operation(node: Node) -> str:
    if isinstance(node.target, torch._ops.OpOverload):
        if node.target is torch.ops.aten.slice.Tensor and node.args[2:] == (0, sys.maxsize):
            return "alias"  # the `:` of an index
        return node.target._schema.name.split("::")[-1].strip("_")
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        name = str(node.target.name())  # type: ignore[no-untyped-call]
        return "no_grad" if name == "wrap_with_set_grad_enabled" and node.args[0] is False else name
    return str(getattr(node.target, "__name__", node.target)).strip("_")


def _settings(node: Node) -> dict[str, Any]:
    """Plain arguments of an operation under the names of its schema: `dim`, `start_dim`, `size`, ..."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {}
    named = [argument.name for argument in node.target._schema.arguments]
    found: dict[str, Any] = {}
    for name, value in [*zip(named, node.args, strict=False), *node.kwargs.items()]:
        if isinstance(value, bool | int | float | str):
            found[name] = value
        elif isinstance(value, list | tuple) and any(isinstance(v, bool | int | float) for v in value):
            found[name] = [v if isinstance(v, bool | int | float) else -1 for v in value]  # -1: follows the batch
    return found
