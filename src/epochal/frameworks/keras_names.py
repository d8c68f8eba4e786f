"""What a Keras model is made of: its layers and variables, under names that tell them apart; and who calls a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

__all__ = ["Weight", "calls_seen", "insides", "named_layers", "named_weights", "see_inside", "unique"]


def insides(layer: Any) -> list[Any]:
    """The layers directly inside a layer or model, in the order they were made (or run, where that is known)."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def see_inside(layer: Any) -> bool:
    """Whether what is inside a layer is shown: models, and layers that are not Keras' own.

    What is inside Keras' own layers (the cell of an LSTM, the projections of an attention) is theirs to call, in loops
    that cannot be watched.
    """
    if not insides(layer):
        return False
    return isinstance(layer, keras.Model) or type(layer).__module__.split(".")[0] != "keras"


def named_layers(model: Any) -> list[tuple[str, Any]]:
    """The model (named "") and every layer inside, at any depth, each once: `block/dense` is `dense` inside `block`.

    The model's own name is left out: Keras numbers it by how many models the process has made.
    """
    found: list[tuple[str, Any]] = [("", model)]
    seen, taken = {id(model)}, {""}

    def walk(prefix: str, layer: Any) -> Iterator[tuple[str, Any]]:
        for inside in insides(layer):
            if id(inside) in seen:
                continue
            seen.add(id(inside))
            name = unique(f"{prefix}{inside.name}", taken)
            yield name, inside
            yield from walk(f"{name}/", inside)

    found += walk("", model)
    return found


@dataclass(frozen=True, slots=True)
class Weight:
    """A variable, and the innermost layer that holds it."""

    variable: Any
    layer: Any


def named_weights(model: Any) -> dict[str, Weight]:
    """The model's variables as `get_weights` orders them, named by the layer that holds them: `block/dense/kernel`."""
    owner: dict[int, tuple[str, Any]] = {}
    for name, layer in named_layers(model):
        for variable in layer.weights:
            known = owner.get(id(variable))
            # The innermost layer comes last; a variable that two layers share belongs to the first.
            if known is None or name.startswith(f"{known[0]}/" if known[0] else ""):
                owner[id(variable)] = (name, layer)
    found: dict[str, Weight] = {}
    taken: set[str] = set()
    for variable in model.weights:
        name, layer = owner.get(id(variable), ("", model))
        found[unique(f"{name}/{variable.name}" if name else variable.name, taken)] = Weight(variable, layer)
    return found


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name_2` and so on where that is taken; takes it."""
    chosen, n = name, 2
    while chosen in taken:
        chosen, n = f"{name}_{n}", n + 1
    taken.add(chosen)
    return chosen


@contextmanager
def calls_seen(layers: Sequence[Any], note: Any) -> Iterator[None]:
    """Inside, `note(layer, args, kwargs, result)` is told of every call of the layers."""
    wrapped = []
    try:
        for layer in layers:
            if "call" not in layer.__dict__:
                layer.__dict__["call"] = _Seen(layer, layer.call, note)
                wrapped.append(layer)
        yield
    finally:
        for layer in wrapped:
            layer.__dict__.pop("call", None)


class _Seen:
    """A layer's `call`, overheard."""

    __slots__ = ("_call", "_layer", "_note")

    def __init__(self, layer: Any, call: Any, note: Any) -> None:
        self._layer, self._call, self._note = layer, call, note

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._call(*args, **kwargs)
        self._note(self._layer, args, kwargs, result)
        return result
