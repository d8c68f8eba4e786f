"""The graph of a Keras model from its JSON: `model.to_json()`, which Keras' TensorBoard callback writes as well.

Sequential and functional models of Keras 2 and 3, with the models inside of them. The JSON names layers and their
settings; the shapes of variables follow from these where the kind of the layer is known here (`keras_layers`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Layer, Shape
from epochal.network.graph_files import MOST_LAYERS, Names, finished, running_order
from epochal.network.keras_layers import MERGING, SILENT, described, made_of

__all__ = ["keras_graph"]

_MODELS = ("Functional", "Sequential", "Model")
Value = tuple[str, int, int]
"""An output: the name of the layer, which of its calls, which of what it puts out."""


@dataclass(slots=True)
class _Call:
    """One call of a layer."""

    said: Mapping[str, Any]
    sources: list[Value]
    shapes: list[Shape | None]


@dataclass(slots=True)
class _Drawing:
    layers: list[Layer] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    taken: Names = field(default_factory=lambda: Names(["output"]))
    kinds: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)


def keras_graph(said: Any, name: str) -> Graph:
    """The graph of a model that a file of this name says; DamagedError where it says none."""
    try:
        if not isinstance(said, Mapping) or said.get("class_name") not in _MODELS:
            raise ValueError("it is no sequential or functional model")
        drawing = _Drawing()
        ends = _draw(said["config"], "", None, drawing)
        ids = list(dict.fromkeys(source for source, _ in ends))
        shapes = tuple(shape for _, shape in ends if shape is not None)
        end = Layer(layer_id="output", kind="output", role="output", inputs=shapes, multiply_adds=0)
        drawing.layers.append(end)
        drawing.edges += [Edge(source=source, target="output") for source in ids]
        unknown = ", ".join(drawing.unknown)
        own = str(said["config"].get("name", ""))
        plain = re.fullmatch(rf"({'|'.join(_MODELS)})(_\d+)?", own, re.IGNORECASE) is None
        return finished(
            drawing.layers, drawing.edges, model=own if own and plain else str(said["class_name"]), framework="keras",
            kinds=drawing.kinds, functions=drawing.functions,
            note=f"What these layers hold is not told, so it is not counted: {unknown}." if unknown else "",
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise DamagedError(f"{name} is no model of Keras: {type(error).__name__}: {str(error)[:200]}") from None


Source = tuple[str, Shape | None]
"""The layer that a value comes from, and the shape of the value."""


def _draw(config: Any, inside: str, given: Sequence[Source] | None, drawing: _Drawing) -> list[Source]:
    """Draw a model; `given` is what the model around it feeds it. Returns where its outputs come from."""
    calls, ends, starts = _calls(config)
    told = {source: shape for call in calls.values() for source, shape in zip(call.sources, call.shapes, strict=True)}
    made: dict[Value, Source] = {}
    fed = iter(given or ())
    order = running_order({key: [(s[0], s[1]) for s in call.sources] for key, call in calls.items()}, calls)
    for start in [key for key in starts if key in calls] + [key for key in order if key not in starts]:
        call, name = calls[start], start[0]
        if start in starts and given is not None:
            made[name, start[1], 0] = next(fed)
            continue
        came = [made[source] for source in call.sources if source in made]
        if call.said.get("class_name") in SILENT and len(came) == 1:
            made[name, start[1], 0] = (came[0][0], told.get((name, start[1], 0)))
            continue
        path = f"{inside}{_plain(name)}"
        if call.said.get("class_name") in _MODELS:
            drawing.kinds[path] = str(call.said["class_name"])
            for i, end in enumerate(_draw(call.said["config"], f"{path}/", came, drawing)):
                made[name, start[1], i] = end
            continue
        layer = _layer(call, path, [shape for _, shape in dict.fromkeys(came)], told.get((name, start[1], 0)), drawing)
        drawing.layers.append(layer)
        drawing.edges += [Edge(source=source, target=layer.layer_id) for source in dict.fromkeys(s for s, _ in came)]
        if len(drawing.layers) > MOST_LAYERS:
            raise ValueError(f"more than {MOST_LAYERS:,} layers")
        for i in range(max(1, len({value[2] for value in told if value[:2] == start}))):
            shape = told.get((name, start[1], i)) or (layer.outputs[0] if layer.outputs and not i else None)
            made[name, start[1], i] = (layer.layer_id, shape)
    # Keras counts the calls of models inside from another beginning where it names the outputs: the last one is meant.
    last = {(name, place): source for (name, _, place), source in sorted(made.items())}
    found = [made.get(end) or last.get((end[0], end[2])) for end in ends]
    return [source for source in found if source is not None]


def _layer(call: _Call, path: str, came: Sequence[Shape | None], told: Shape | None, drawing: _Drawing) -> Layer:
    kind, config = str(call.said.get("class_name", "")), call.said.get("config") or {}
    if kind == "InputLayer":
        shape = _shape(config.get("batch_shape", config.get("batch_input_shape")))
        outputs = () if shape is None else (shape,)
        layer_id = drawing.taken.fresh(path)
        return Layer(layer_id=layer_id, kind="input", role="input", outputs=outputs, multiply_adds=0)
    inputs = tuple(shape for shape in came if shape is not None) or _built(call.said)
    function = ".ops." in str(call.said.get("module", ""))
    facts = described(kind, config, inputs, told, path, function=function)
    if facts.unknown:
        drawing.unknown[kind] = None
    shape = told if told is not None else made_of(kind, config, inputs)
    plain = re.sub(r"_\d+$", "", path) if function else path
    again = path in drawing.taken and not function
    layer_id = drawing.taken.fresh(f"{path}@2" if again else plain)
    if facts.activation and not facts.parameters:
        drawing.functions[layer_id] = facts.activation
    return Layer(
        layer_id=layer_id,
        kind=re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower() if function else kind,
        module="" if function else path,
        role="operation" if function or kind in MERGING else "module",
        inputs=inputs,
        outputs=() if shape is None else (shape,),
        parameters=facts.parameters,
        activation=facts.activation if facts.parameters else None,
        attributes=facts.settings,
        multiply_adds=facts.multiply_adds,
    )


def _calls(config: Any) -> tuple[dict[tuple[str, int], _Call], list[Value], list[tuple[str, int]]]:
    """The calls of a model's layers by layer and number, its outputs, and the calls that are its inputs."""
    calls: dict[tuple[str, int], _Call] = {}
    if "input_layers" not in config:
        return _chained(config)
    for said in config["layers"]:
        name = str(said.get("name") or said["config"]["name"])
        if not said.get("inbound_nodes"):
            calls[name, 0] = _Call(said, [], [])
        for i, node in enumerate(said.get("inbound_nodes") or ()):
            found = list(_tensors(node))
            calls[name, i] = _Call(said, [value for value, _ in found], [shape for _, shape in found])
    starts = [value[:2] for value in _ends(config["input_layers"])]
    return calls, _ends(config["output_layers"]), starts


def _chained(config: Any) -> tuple[dict[tuple[str, int], _Call], list[Value], list[tuple[str, int]]]:
    """Of a sequential model: each layer called with what the one before puts out."""
    layers = list(config["layers"] if isinstance(config, Mapping) else config)
    if layers and layers[0].get("class_name") != "InputLayer":
        shape = layers[0]["config"].get("batch_input_shape")
        layers.insert(0, {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": shape}})
    names = [str(said.get("name") or said["config"]["name"]) for said in layers]
    calls = {
        (name, 0): _Call(said, [(names[i - 1], 0, 0)] if i else [], [None] if i else [])
        for i, (name, said) in enumerate(zip(names, layers, strict=True))
    }
    return calls, [(names[-1], 0, 0)], [(names[0], 0)]


def _tensors(node: Any) -> Iterator[tuple[Value, Shape | None]]:
    """The tensors in the arguments of a call, wherever they stand: Keras 3 says their shapes, Keras 2 does not."""
    if isinstance(node, Mapping):
        config = node.get("config")
        if node.get("class_name") == "__keras_tensor__" and isinstance(config, Mapping):
            name, call, place = config["keras_history"]
            yield (str(name), int(call), int(place)), _shape(config.get("shape"))
            return
        for value in node.values():
            yield from _tensors(value)
    elif isinstance(node, list):
        if _is_value(node):
            yield (node[0], node[1], node[2]), None
            return
        for value in node:
            yield from _tensors(value)


def _ends(said: Any) -> list[Value]:
    """The inputs or outputs of a model: one, a list, or several by name."""
    if isinstance(said, Mapping):
        return [end for value in said.values() for end in _ends(value)]
    if isinstance(said, list):
        return [(said[0], said[1], said[2])] if _is_value(said) else [end for value in said for end in _ends(value)]
    return []


def _is_value(said: Any) -> bool:
    return len(said) in (3, 4) and [type(part) for part in said[:3]] == [str, int, int]


def _plain(name: str) -> str:
    return name.replace("/", "_")[:200]


def _shape(said: Any) -> Shape | None:
    if not isinstance(said, list) or not all(size is None or isinstance(size, int) for size in said):
        return None
    return tuple(-1 if size is None else size for size in said[:32])


def _built(said: Mapping[str, Any]) -> tuple[Shape, ...]:
    """What a layer was built for, as Keras 3 keeps it."""
    config = said.get("build_config")
    shape = _shape(config.get("input_shape")) if isinstance(config, Mapping) else None
    return () if shape is None else (shape,)
