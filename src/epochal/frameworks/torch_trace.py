"""From what ran in a network, in order, to its graph: layers, operations, activations and skip connections.

An exported program and a recorded forward call are both told as a `Trace`; this file knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn

from epochal.facts import Edge, Graph, GraphSource, Group, Layer, Parameter, Shape, find_groups, mark_skips
from epochal.facts.structure import name_activations
from epochal.frameworks.torch_modules import (
    activation_name,
    attributes,
    is_layer,
    kind_of,
    module_parameters,
    tensor_names,
)

__all__ = ["Call", "Trace", "bare_graph", "layer_table", "make_graph", "model_name"]

# Operations that hand their input on as it is, or only in another layout of memory: not worth a box in a picture.
_SILENT = frozenset(
    {
        "alias",
        "clone",
        "contiguous",
        "detach",
        "detach_",
        "getitem",
        "lift_fresh_copy",
        "to",
        "_to_copy",
        "requires_grad_",
    }
)
# What stands between a layer and "its" activation without changing whose activation it is.
_SEE_THROUGH = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.modules.dropout._DropoutNd, nn.Identity,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation that ran: `where` names the module and which use of it (`""` is the network itself).

    Values are numbered; `tensors` are names of the network's own parameters among its inputs. `work` are its
    multiply-adds for one example, None where they are not known.
    """

    op: str
    where: str
    use: int = 0
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    tensors: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    work: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that ran, in order, with the shape of every value (-1 where the size follows the batch)."""

    inputs: tuple[tuple[str, int], ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]
    shapes: Mapping[int, Shape]


@dataclass(slots=True)
class _Box:
    """A layer in the making."""

    layer_id: str
    kind: str
    role: Literal["input", "module", "operation", "output"]
    where: str = ""
    module: nn.Module | None = None
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    work: int | None = 0


def layer_table(network: nn.Module) -> dict[str, nn.Module]:
    """The modules of a network that are drawn as layers, by dotted name, in the order they were registered."""
    found: dict[str, nn.Module] = {}
    inside: tuple[str, ...] = ()
    for name, module in network.named_modules(remove_duplicate=False):
        if name.startswith(inside) or isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList):
            continue
        if is_layer(name, module):
            found[name] = module
            inside += (f"{name}.",)
    return found


def model_name(network: nn.Module) -> str:
    """The class's name; of a compiled network, that of the one inside."""
    return type(getattr(network, "_orig_mod", network)).__name__


def make_graph(network: nn.Module, trace: Trace, *, source: GraphSource, note: str = "") -> Graph:
    """Draw a trace: one box for each use of a layer, one for each operation outside of layers, and the arrows."""
    table = layer_table(network)
    boxes, producer = _boxes(network, table, trace)
    edges = _edges(boxes, producer)
    parameters = _parameters(network, table)
    seen_outside = {value for box in boxes for value in box.inputs}
    layers = [
        Layer(
            layer_id=box.layer_id,
            kind=box.kind,
            module=box.where,
            role=box.role,
            inputs=tuple(trace.shapes[v] for v in dict.fromkeys(box.inputs)),
            outputs=tuple(trace.shapes[v] for v in dict.fromkeys(box.outputs) if v in seen_outside),
            parameters=_parameters_of(box, parameters),
            attributes=({} if box.module is None else attributes(box.module)) | box.settings,
            multiply_adds=box.work,
        )
        for box in boxes
    ]
    layers = name_activations(layers, edges, *_activations(boxes)) + _unused(network, layers, parameters)
    return Graph(
        source=source,
        layers=tuple(layers),
        edges=mark_skips(layers, edges),
        model=model_name(network),
        framework="torch",
        note=note,
        groups=_groups(network, layers, table),
    )


def bare_graph(network: nn.Module, *, note: str) -> Graph:
    """Only the layers and their parameters, in the order they were registered: nothing was run."""
    parameters = _parameters(network, layer_table(network))
    layers = _unused(network, [], parameters)
    layers = [replace(layer, attributes={k: v for k, v in layer.attributes.items() if k != "used"}) for layer in layers]
    model, groups = model_name(network), _groups(network, layers, layer_table(network))
    return Graph(source="parameters", layers=tuple(layers), model=model, framework="torch", note=note, groups=groups)


def _groups(network: nn.Module, layers: list[Layer], table: Mapping[str, nn.Module]) -> tuple[Group, ...]:
    """The modules around the layers; lists and dictionaries of modules, which do not run themselves, are left out."""
    inside = tuple(f"{name}." for name in table if name)
    kinds = {
        name: kind_of(module)
        for name, module in network.named_modules(remove_duplicate=False)
        if name and name not in table and not name.startswith(inside)
        if not isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList)
    }
    return find_groups(layers, kinds)


def _boxes(network: nn.Module, table: Mapping[str, nn.Module], trace: Trace) -> tuple[list[_Box], dict[int, str]]:
    """Group what ran into boxes; also which box made each value."""
    taken = {name for name, _ in network.named_modules(remove_duplicate=False)}
    end = _fresh("output", taken)  # a layer of the user's may have this name
    boxes: list[_Box] = []
    uses: dict[tuple[str, int], _Box] = {}
    saved = network.state_dict(keep_vars=True).keys()  # masks and other fixed buffers are no one's parameters
    producer: dict[int, str] = {}
    root: dict[int, int] = {}  # value -> the value that it is, where an operation only hands it on

    for name, value in trace.inputs:
        box = _Box(layer_id=_fresh(name, taken), kind="input", role="input", outputs=[value])
        boxes.append(box)
        producer[value] = box.layer_id

    for call in trace.calls:
        inputs = [known for v in call.inputs if (known := root.get(v, v)) in producer]
        tensors = [name for name in call.tensors if name in saved]
        module = table.get(call.where)
        if module is None and call.op in _SILENT and len(inputs) == 1:
            root.update(dict.fromkeys(call.outputs, inputs[0]))
            continue
        if module is not None:
            box = uses.get((call.where, call.use)) or _Box(
                layer_id=_use_name(call.where or kind_of(module), taken, {used.layer_id for used in uses.values()}),
                kind=kind_of(module),
                role="module",
                where=call.where,
                module=module,
            )
            if (call.where, call.use) not in uses:
                uses[call.where, call.use] = box
                boxes.append(box)
        elif not inputs and not tensors:
            continue  # a constant that the network makes for itself: positions, masks
        else:
            name = f"{call.where}.{call.op}" if call.where else call.op
            box = _Box(layer_id=_fresh(name, taken), kind=call.op, role="operation", where=call.where)
            box.tensors += tensors
            box.settings |= call.settings
            boxes.append(box)
        box.inputs += [v for v in inputs if producer[v] != box.layer_id]
        box.outputs += call.outputs
        box.work = None if box.work is None or call.work is None else box.work + call.work
        producer.update(dict.fromkeys(call.outputs, box.layer_id))

    ends = [known for v in trace.outputs if (known := root.get(v, v)) in producer]
    boxes.append(_Box(layer_id=end, kind="output", role="output", inputs=ends))
    return _without_dead_ends(boxes, producer), producer


def _without_dead_ends(boxes: list[_Box], producer: Mapping[int, str]) -> list[_Box]:
    """Leave out operations whose result nothing uses: questions that the forward asked of its values."""
    kept: list[_Box] = []
    needed: set[str] = set()
    for box in reversed(boxes):
        if box.role != "operation" or box.tensors or box.layer_id in needed:
            kept.append(box)
            needed |= {producer[v] for v in box.inputs}
    return kept[::-1]


def _use_name(name: str, taken: set[str], used: set[str]) -> str:
    """The layer's own name at its first use, `name@2` and so on when a layer is used again."""
    return name if name not in used else _fresh(f"{name}@2", taken, pattern=f"{name}@%d")


def _fresh(name: str, taken: set[str], *, pattern: str = "") -> str:
    pattern = pattern or f"{name}_%d"
    n = 2
    while name in taken:
        name = pattern % n
        n += 1
    taken.add(name)
    return name


def _edges(boxes: list[_Box], producer: Mapping[int, str]) -> tuple[Edge, ...]:
    """One arrow for each pair of boxes of which one uses what the other made."""
    return tuple(
        Edge(source=source, target=box.layer_id)
        for box in boxes
        for source in dict.fromkeys(producer[v] for v in box.inputs)
    )


def _activations(boxes: list[_Box]) -> tuple[dict[str, str], set[str]]:
    """Which layers are activations, and which only stand between one and the layer that it belongs to."""
    what = {box.layer_id: box.kind if box.module is None else box.module for box in boxes}
    functions = {name: word for name, one in what.items() if (word := activation_name(one)) is not None}
    return functions, {box.layer_id for box in boxes if isinstance(box.module, _SEE_THROUGH)}


def _parameters(network: nn.Module, table: Mapping[str, nn.Module]) -> dict[str, tuple[str, tuple[Parameter, ...]]]:
    """For each module that holds parameters or buffers: its kind and what it holds."""
    names = tensor_names(network)
    held: dict[str, tuple[str, tuple[Parameter, ...]]] = {}
    inside = tuple(f"{name}." for name in table)
    for name, module in network.named_modules(remove_duplicate=False):
        if not name.startswith(inside):
            parameters = module_parameters(module, names, own=name not in table)
            if parameters or name in table:
                held[name] = (kind_of(module), parameters)
    return held


def _parameters_of(box: _Box, held: Mapping[str, tuple[str, tuple[Parameter, ...]]]) -> tuple[Parameter, ...]:
    if box.module is not None:
        return held[box.where][1]
    if not box.tensors:
        return ()
    by_name = {p.name: p for _, parameters in held.values() for p in parameters}
    return tuple(by_name[name] for name in dict.fromkeys(box.tensors) if name in by_name)


def _unused(
    network: nn.Module, layers: list[Layer], held: Mapping[str, tuple[str, tuple[Parameter, ...]]]
) -> list[Layer]:
    """Layers for parameters that nothing which ran has touched."""
    drawn = {p.name for layer in layers for p in layer.parameters}
    modules = dict(network.named_modules(remove_duplicate=False))
    found = []
    for name, (kind, parameters) in held.items():
        left = tuple(p for p in parameters if p.name not in drawn)
        if left:
            settings = attributes(modules[name]) | {"used": False}
            layer_id = name or kind
            ran = 0 if layers else None  # of a network that never ran nothing is known
            found.append(
                Layer(
                    layer_id=layer_id, kind=kind, module=name, parameters=left, attributes=settings, multiply_adds=ran
                )
            )
            drawn |= {p.name for p in left}
    return found
