"""Layers drawn from nothing but the names, shapes and types of arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from epochal.facts import Graph, Layer, Parameter, Shape

Role = Literal["weight", "bias", "buffer", "other"]

_WEIGHTS = {
    "weight", "weights", "kernel", "kernels", "w", "embedding", "scale", "gamma", "coef", "coefs", "coef_", "coefs_",
}  # fmt: skip
_BIASES = {"bias", "biases", "b", "beta", "offset", "offsets", "intercept", "intercepts", "intercept_", "intercepts_"}
_BUFFERS = {"mean", "var", "running_mean", "running_var", "moving_mean", "moving_variance", "state_index"}
_NUMBERED = re.compile(r"([a-z]+)_?(\d+)")
_LINEN = re.compile(r"([A-Z][A-Za-z]*)_\d+")

Facts = Mapping[str, tuple[Shape, str]]
"""The shape and the type of each array by its name."""


def plain_graph(
    arrays: Facts, *, model: str, framework: str, kinds: Mapping[str, str] | None = None, note: str = ""
) -> Graph:
    """Return a layer for each prefix of the names: `layers.0.weight` and `layers.0.bias` are one.

    So are `weights.0` and `biases.0` (lists of all weights and of all biases), and `W1` and `b1`. `kinds` are the
    classes of layers, where known. Which layer follows which is not told by names, so there are no arrows; layers
    stand in the order of the arrays.
    """
    layers: dict[str, list[tuple[str, Role | None]]] = {}
    for name in arrays:
        layer, role = placed(name)
        layers.setdefault(layer, []).append((name, role))
    drawn = [
        Layer(
            layer_id=layer,
            kind=(kinds or {}).get(layer) or _kind(layer),
            module=layer,
            parameters=tuple(_told(names, arrays)),
        )
        for layer, names in layers.items()
    ]
    return Graph(
        source="parameters",
        layers=tuple(_laid_out(drawn)),
        model=model,
        framework=framework,
        note=note,
    )


def placed(name: str) -> tuple[str, Role | None]:
    """The layer that a parameter's name says it belongs to, and its role where a word of the name says it."""
    mark = "." if "." in name else "/"
    *path, leaf = name.split(mark)
    role = _role(leaf)
    if role is not None:
        return mark.join(path) or "network", role
    if leaf.isdigit() and path and (role := _role(path[-1])) is not None:
        return mark.join([*path[:-1], leaf]), role
    numbered = _NUMBERED.fullmatch(leaf.lower())
    if numbered and (role := _role(numbered[1])) is not None:
        return mark.join([*path, numbered[2]]), role
    return mark.join(path) or leaf, None


def _role(word: str) -> Role | None:
    word = word.lower()
    if word in _BUFFERS:
        return "buffer"
    if word in _BIASES or "bias" in word:
        return "bias"
    if word in _WEIGHTS or "weight" in word or "kernel" in word:
        return "weight"
    return None


def _told(names: list[tuple[str, Role | None]], arrays: Facts) -> list[Parameter]:
    """The parameters of one layer; what no word tells is told by the number of axes."""
    known = {role for _, role in names}
    found = []
    for name, told in names:
        shape, dtype = arrays[name]
        role = told
        trainable = "float" in dtype or "complex" in dtype
        if not trainable:
            role = "buffer"
        elif role is None:
            role = "weight" if len(shape) > 1 or len(names) == 1 else "bias"
            # A layer shows one weight and one bias; what else it has stands beside them.
            role = "other" if role in known else role
            known.add(role)
        found.append(
            Parameter(name=name, shape=shape, dtype=dtype, role=role, trainable=trainable and role != "buffer")
        )
    return found


def _laid_out(layers: list[Layer]) -> list[Layer]:
    """With the order in which the axes of weights are looked at, outputs first.

    Kernels of Flax keep inputs first. Of other weights a bias tells, one number for each output; a weight that is
    square or has no bias follows the others.
    """
    told = [_inputs_first(layer) for layer in layers]
    common = {one for one in told if one is not None} == {True}
    found = []
    for layer, one in zip(layers, told, strict=True):
        first = common if one is None else one
        parameters = tuple(replace(p, layout=_layout(p, layer, inputs_first=first)) for p in layer.parameters)
        found.append(replace(layer, parameters=parameters))
    return found


def _inputs_first(layer: Layer) -> bool | None:
    """Whether the bias says that a matrix is [inputs, outputs]; None where it says nothing."""
    weight = next((p for p in layer.parameters if p.role == "weight" and len(p.shape) == 2), None)
    bias = next((p for p in layer.parameters if p.role == "bias"), None)
    if weight is None or bias is None or weight.shape[0] == weight.shape[1] or bias.size not in weight.shape:
        return None
    return bias.size == weight.shape[1]


def _layout(parameter: Parameter, layer: Layer, *, inputs_first: bool) -> tuple[int, ...]:
    axes, leaf = len(parameter.shape), parameter.name.rpartition(".")[2].lower()
    if parameter.role != "weight" or axes < 2 or "embedding" in leaf:
        return ()
    if axes == 2:
        return (1, 0) if inputs_first or "kernel" in leaf else ()
    bias = next((p.shape for p in layer.parameters if p.role == "bias"), (parameter.shape[-1],))
    # Attention keeps its heads on axes of their own; there is no one order of looking at those.
    if "kernel" in leaf and bias == (parameter.shape[-1],) and "General" not in layer.kind:
        return (axes - 1, axes - 2, *range(axes - 2))
    return ()


def _kind(layer: str) -> str:
    """The class of a layer that Flax named after it (`Dense_0`), else a word that says nothing."""
    found = _LINEN.fullmatch(layer.rpartition(".")[2])
    return found[1] if found else "Arrays"
