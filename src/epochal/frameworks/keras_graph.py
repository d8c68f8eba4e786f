"""The structure of a Keras model as a graph: layers and operations, their shapes, variables, activations, arrows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import keras

from epochal.errors import NetworkError
from epochal.facts import Edge, Graph, GraphSource, Group, Layer, Parameter, find_groups, mark_skips
from epochal.facts.structure import name_activations
from epochal.frameworks.keras_facts import activation_of, is_see_through, parameter_fact, settings
from epochal.frameworks.keras_names import insides, named_layers, named_weights, see_inside, unique
from epochal.frameworks.keras_steps import described
from epochal.frameworks.keras_trace import Trace, graph_of, read_graph, trace_layers, trace_symbols
from epochal.frameworks.keras_work import multiply_adds

__all__ = ["build_graph", "needs_inputs"]

# Operations that hand their input on as it is.
_SILENT = ("Cast", "GetItem", "Identity", "StopGradient")
_UNSEEN = "What happens between the layers is not seen; arrows follow the order in which they ran."


@dataclass(slots=True)
class _Box:
    """A layer in the making."""

    layer_id: str
    kind: str
    role: Literal["input", "module", "operation", "output"]
    where: str = ""
    what: Any = None
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    activation: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def needs_inputs(model: Any) -> bool:
    """Whether the model's graph can only be seen in a call, for which one must know what inputs look like."""
    return graph_of(model) is None


def build_graph(model: Any, inputs: Any = None) -> Graph:
    """Draw a Keras model. `inputs` is one example batch, or a description of one; only subclassed models need it."""
    own = graph_of(model)
    if own is not None:
        return _make(model, read_graph(model, own), "declared")
    if inputs is None:
        return _bare(model, "Only the layers are known: no example inputs were given.")
    symbols = described(inputs)
    try:
        return _make(model, trace_symbols(model, symbols), "forward")
    except NetworkError as error:
        trouble = error.message
    try:
        return _make(model, trace_layers(model, symbols), "forward", note=f"{_UNSEEN} ({_short(trouble)})")
    except NetworkError as error:
        return _bare(model, f"Only the layers are known: {_short(error.message)}")


def _make(model: Any, trace: Trace, source: GraphSource, note: str = "") -> Graph:
    boxes, producer = _boxes(model, trace)
    edges = _edges(boxes, producer)
    functions, through = _activations(boxes)
    held, drawn = _parameters(model), set()
    used = {value for box in boxes for value in box.inputs}
    layers = []
    for box in boxes:
        parameters = held.get(id(box.what), ())
        drawn |= {p.name for p in parameters}
        layers.append(
            Layer(
                layer_id=box.layer_id,
                kind=box.kind,
                module=box.where,
                role=box.role,
                inputs=tuple(trace.shapes[v] for v in dict.fromkeys(box.inputs)),
                outputs=tuple(trace.shapes[v] for v in dict.fromkeys(box.outputs) if v in used),
                parameters=parameters,
                activation=box.activation,
                attributes=settings(box.what) | box.settings,
                multiply_adds=multiply_adds(
                    box.what, [trace.shapes[v] for v in box.inputs], [trace.shapes[v] for v in box.outputs]
                ),
            )
        )
    layers = name_activations(layers, edges, functions, through) + _left(model, held, drawn)
    return Graph(
        source=source,
        layers=tuple(layers),
        edges=mark_skips(layers, edges),
        model=_name(model),
        framework="keras",
        note=note,
        groups=_groups(model, layers),
    )


def _groups(model: Any, layers: list[Layer]) -> tuple[Group, ...]:
    drawn = {layer.module for layer in layers}
    kinds = {name: type(inner).__name__ for name, inner in named_layers(model) if name not in drawn and insides(inner)}
    return find_groups(layers, kinds, separator="/")


def _bare(model: Any, note: str) -> Graph:
    layers = tuple(_left(model, _parameters(model), set(), used=True))
    groups = _groups(model, list(layers))
    return Graph(source="parameters", layers=layers, model=_name(model), framework="keras", note=note, groups=groups)


def _name(model: Any) -> str:
    """The model's class, or the name that was given to one that has none of its own."""
    kind = type(model).__name__
    given = str(model.name)
    return given if kind in ("Functional", "Sequential") and _plain(given) != kind.lower() else kind


def _boxes(model: Any, trace: Trace) -> tuple[list[_Box], dict[int, str]]:
    names = {id(layer): name for name, layer in named_layers(model)}
    taken = {*names.values(), "output"}
    boxes: list[_Box] = []
    producer: dict[int, str] = {}
    same: dict[int, int] = {}  # value -> the value that it is, where an operation only hands it on
    uses: dict[int, int] = {}
    inputs = {layer.name for _, layer in named_layers(model) if isinstance(layer, keras.layers.InputLayer)}
    for name, value in trace.inputs:
        box = _Box(name if name in inputs else unique(name, taken), "input", "input", outputs=[value])
        boxes.append(box)
        producer[value] = box.layer_id
    for call in trace.calls:
        what, kind = call.what, type(call.what).__name__
        given = [known for v in call.inputs if (known := same.get(v, v)) in producer]
        layer = isinstance(what, keras.layers.Layer)
        if not layer and kind in _SILENT and len(given) == 1 and len(call.outputs) == 1:
            same[call.outputs[0]] = given[0]
            continue
        where = names.get(id(what), "") if layer else ""
        name = where or unique("/".join(filter(None, (call.where, _plain(what.name)))), taken)
        uses[id(what)] = uses.get(id(what), 0) + 1
        if where and uses[id(what)] > 1:
            name = unique(f"{name}@{uses[id(what)]}", taken)
        plain = not layer or (type(what).__module__.startswith("keras.src.layers.merging") and not what.weights)
        box = _Box(
            name,
            kind if layer else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower(),
            "operation" if plain else "module",
            where,
            what,
            list(given),
            list(call.outputs),
        )
        boxes.append(box)
        producer.update(dict.fromkeys(call.outputs, box.layer_id))
    ends = [known for v in trace.outputs if (known := same.get(v, v)) in producer]
    boxes.append(_Box("output", "output", "output", inputs=ends))
    return boxes, producer


def _plain(name: str) -> str:
    """`add_3` as `add`: Keras numbers operations by how many the process has made."""
    return re.sub(r"_\d+$", "", name)


def _edges(boxes: list[_Box], producer: dict[int, str]) -> tuple[Edge, ...]:
    """One arrow for each pair of boxes of which one uses what the other made."""
    return tuple(
        Edge(source=source, target=box.layer_id)
        for box in boxes
        for source in dict.fromkeys(producer[v] for v in box.inputs if v in producer)
    )


def _activations(boxes: list[_Box]) -> tuple[dict[str, str], set[str]]:
    """Which layers are nothing but activations, and which only stand between one and the layer that it belongs to."""
    functions: dict[str, str] = {}
    for box in boxes:
        name = activation_of(box.what) if box.what is not None else None
        if name is not None and isinstance(box.what, keras.layers.Layer) and box.what.weights:
            box.activation = name
        elif name is not None:
            functions[box.layer_id] = name
    return functions, {box.layer_id for box in boxes if box.what is not None and is_see_through(box.what)}


def _parameters(model: Any) -> dict[int, tuple[Parameter, ...]]:
    """What each layer holds, by the identity of the layer: also of layers whose inside is not shown."""
    facts = {id(w.variable): parameter_fact(name, w.variable, w.layer) for name, w in named_weights(model).items()}
    return {id(layer): tuple(facts[id(v)] for v in layer.weights if id(v) in facts) for _, layer in named_layers(model)}


def _left(model: Any, held: dict[int, tuple[Parameter, ...]], drawn: set[str], *, used: bool = False) -> list[Layer]:
    """Layers for variables that nothing which ran has touched; with `used`, nobody has looked what runs."""
    found = []
    layers = named_layers(model)
    closed = [layer for name, layer in layers if name and insides(layer) and not see_inside(layer)]
    hidden = {id(x) for layer in closed for _, x in named_layers(layer)[1:]}
    for name, layer in reversed(layers):
        if id(layer) in hidden:
            continue
        # Inner layers first: what is left for an outer one is its own.
        left = tuple(p for p in held[id(layer)] if p.name not in drawn)
        if left:
            drawn |= {p.name for p in left}
            own = settings(layer) | ({} if used else {"used": False})
            kind, label = type(layer).__name__, name or _name(model)
            found.append(Layer(layer_id=label, kind=kind, module=name, parameters=left, attributes=own,
                               activation=activation_of(layer)))  # fmt: skip
    return found[::-1]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
