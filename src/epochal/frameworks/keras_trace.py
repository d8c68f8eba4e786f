"""What runs in a Keras model, in order: read off its graph of operations, or off one call with symbols for values.

A functional or sequential model has its graph. Of a subclassed one, `call` is run once with Keras' own symbols, which
note every layer and every `keras.ops` operation. Where `call` uses functions of the backend, which take no symbols,
only the layers can be noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras

from epochal.errors import NetworkError
from epochal.facts import Shape
from epochal.frameworks.keras_names import calls_seen, named_layers, see_inside

__all__ = ["Call", "Trace", "graph_of", "read_graph", "trace_layers", "trace_symbols"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer or operation. Values are numbered; `where` is the name of the model it ran in."""

    what: Any
    where: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(slots=True)
class Trace:
    """All that ran, with the shape of every value (-1 for the batch)."""

    inputs: list[tuple[str, int]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    shapes: dict[int, Shape] = field(default_factory=dict)

    def new(self, shape: Sequence[int | None]) -> int:
        """Number a new value."""
        number = len(self.shapes)
        self.shapes[number] = tuple(-1 if s is None else int(s) for s in shape)
        return number


def graph_of(model: Any) -> Any:
    """The graph of operations that a model has of itself, None of a subclassed or unbuilt one."""
    inner = getattr(model, "_functional", None)
    if inner is not None:
        return inner
    return model if hasattr(model, "_nodes_by_depth") and getattr(model, "inputs", None) else None


def read_graph(model: Any, graph: Any) -> Trace:
    """The trace of a model that has a graph; models inside it are opened, too."""
    names = {id(layer): name for name, layer in named_layers(model)}
    trace, values = Trace(), {}
    for tensor in graph.inputs:
        values[id(tensor)] = number = trace.new(tensor.shape)
        maker = getattr(getattr(tensor, "_keras_history", None), "operation", None)
        trace.inputs.append(("input" if maker is None else maker.name, number))
    _walk(graph, "", values, trace, names)
    trace.outputs = [values[id(tensor)] for tensor in graph.outputs if id(tensor) in values]
    return trace


def _walk(graph: Any, where: str, values: dict[int, int], trace: Trace, names: dict[int, str]) -> None:
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            what = node.operation
            inputs = [values[id(t)] for t in node.arguments.keras_tensors if id(t) in values]
            inner = graph_of(what) if isinstance(what, keras.Model) else None
            if inner is not None and len(inner.inputs) == len(inputs):
                inside = {id(t): number for t, number in zip(inner.inputs, inputs, strict=True)}
                _walk(inner, names.get(id(what), what.name), inside, trace, names)
                ends = [inside.get(id(t)) for t in inner.outputs]
                if None not in ends and len(ends) == len(node.outputs):
                    values.update({id(t): end for t, end in zip(node.outputs, ends, strict=True) if end is not None})
                    continue
            outputs = [trace.new(t.shape) for t in node.outputs]
            values.update({id(t): number for t, number in zip(node.outputs, outputs, strict=True)})
            trace.calls.append(Call(what, where, tuple(inputs), tuple(outputs)))


def trace_symbols(model: Any, inputs: Any) -> Trace:
    """Call a subclassed model with symbols. Raises NetworkError where its `call` does not take them."""
    failed: Exception | None = None
    # One batch of several inputs is one argument as `fit` gives it, or an argument each.
    ways = [(inputs,), tuple(inputs)] if isinstance(inputs, tuple) else [(inputs,)]
    for arguments in ways:
        with _nodes_taken_back(model):
            try:
                outputs = model.call(*arguments)
                graph = keras.Function(inputs=list(keras.tree.flatten(arguments)), outputs=outputs)
                return read_graph(model, graph)
            except Exception as error:  # noqa: BLE001 - the user's own code meets values that it was not made for
                failed = error
    raise NetworkError(f"calling {type(model).__name__} with symbols failed: {type(failed).__name__}: {failed}")


@contextmanager
def _nodes_taken_back(model: Any) -> Iterator[None]:
    """Layers note each symbolic call of theirs: forget those that are made inside."""
    kept = [
        (nodes, len(nodes))
        for _, layer in named_layers(model)
        for nodes in (layer._inbound_nodes, layer._outbound_nodes)
    ]
    try:
        yield
    finally:
        for nodes, count in kept:
            del nodes[count:]


class _Tracing(keras.Operation):  # type: ignore[misc] # Keras has no types
    """Runs a model on the backend's own symbols, and notes what its layers take and give."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model
        self.names = {id(layer): name for name, layer in named_layers(model)}
        self.trace = Trace()

    def call(self, *arguments: Any) -> Any:
        """Run once; of several runs (with batches of different sizes) the last is kept."""
        self.trace = trace = Trace()
        numbers: dict[int, int] = {}
        kept: list[Any] = []  # values are known by identity: none may be freed meanwhile
        leaves = _tensors(arguments)
        batch = next((v.shape[0] for v in leaves if len(v.shape)), None)

        def number(value: Any, *, new: bool) -> int:
            if new or id(value) not in numbers:
                # JAX calls a size that may vary by a letter.
                shape = [s if isinstance(s, int) else None for s in value.shape]
                if shape and shape[0] == batch:
                    shape[0] = None
                numbers[id(value)] = trace.new(shape)
                kept.append(value)
            return numbers[id(value)]

        trace.inputs = [("input", number(v, new=True)) for v in leaves]
        last: tuple[int, ...] = ()

        def note(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
            nonlocal last
            given = [numbers[id(v)] for v in _tensors((args, kwargs)) if id(v) in numbers]
            # What happens between layers is not seen: what it made comes from the layer before.
            inputs = tuple(given) or last or tuple(n for _, n in trace.inputs)
            last = tuple(number(v, new=True) for v in _tensors(result))
            trace.calls.append(Call(layer, "", inputs, last))

        boxes = [layer for name, layer in named_layers(self._model) if name and not see_inside(layer)]
        inner = {id(x) for layer in boxes for _, x in named_layers(layer)[1:]}
        with calls_seen([layer for layer in boxes if id(layer) not in inner], note):
            result = self._model.call(*arguments)
        given = [numbers[id(v)] for v in _tensors(result) if id(v) in numbers]
        trace.outputs = given or list(last)
        return result


def trace_layers(model: Any, inputs: Any) -> Trace:
    """Run a subclassed model on the backend's symbols and note its layers. Raises NetworkError where that fails."""
    tracing = _Tracing(model)
    try:
        tracing.compute_output_spec(inputs)
    except Exception as error:  # noqa: BLE001 - as above
        failed = error
    else:
        return tracing.trace
    raise NetworkError(f"calling {type(model).__name__} failed: {type(failed).__name__}: {failed}")


def _tensors(value: Any) -> list[Any]:
    return [v for v in keras.tree.flatten(value) if hasattr(v, "shape") and hasattr(v, "dtype")]
