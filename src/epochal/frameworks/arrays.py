"""How networks of plain numpy arrays are watched: a mapping of names to arrays that training changes in place.

An object with `parameters` (such a mapping) may have more: `gradients` and `activations` (mappings of the same kind,
read at each look; missing or None means none), and `graph()`, which returns an `epochal.facts.Graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import Graph, Layer, Parameter
from epochal.record.probe import Activation, Bytes, RecordedNetwork, TensorFact

_CODES = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
    "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL", "c8": "C64",
}  # fmt: skip
_TYPES = {code: f"<{kind}" for kind, code in _CODES.items()}
SAMPLE = 16_384
"""Of a larger output so many values, evenly spread, are kept."""

Arrays = Mapping[str, npt.NDArray[Any]]


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> ArrayProbe | None:
    """Return a probe when `model` is a mapping of names to numpy arrays, or has one as `parameters`."""
    if not isinstance(_parameters(model), Mapping):
        return None
    if not all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in _parameters(model).items()):
        return None
    return ArrayProbe(model, activations=activations, gradients=gradients)


def _parameters(model: object) -> Any:
    if isinstance(model, Mapping):
        return model
    found = getattr(model, "parameters", None)
    return None if callable(found) else found


class ArrayProbe:
    """One watched set of numpy arrays."""

    framework = "numpy"
    gone = False

    def __init__(self, model: object, *, activations: bool, gradients: bool) -> None:
        self.hook_seconds = 0.0
        self._model: object = model
        self._want_activations, self._want_gradients = activations, gradients
        self.left_out: list[str] = []
        self._names: list[str] = []
        self._trainable: list[str] = []
        self._like: list[tuple[tuple[int, ...], np.dtype[Any]]] = []

    def parameters(self) -> Sequence[TensorFact]:
        """The arrays in the order of the mapping; an array under several names once."""
        first: dict[int, str] = {}
        aliases: dict[str, list[str]] = {}
        arrays: Arrays = _parameters(self._model)
        self.left_out = [f"{n} ({a.dtype})" for n, a in arrays.items() if a.dtype.str[1:] not in _CODES]
        for name, array in arrays.items():
            if array.dtype.str[1:] in _CODES:
                known = first.setdefault(id(array), name)
                if known == name:
                    aliases[name] = []
                else:
                    aliases[known].append(name)
        self._names = list(aliases)
        self._like = [(arrays[n].shape, arrays[n].dtype) for n in self._names]
        shown = self._want_gradients and hasattr(self._model, "gradients")
        facts = [
            TensorFact(
                name=name,
                shape=arrays[name].shape,
                code=_CODES[arrays[name].dtype.str[1:]],
                itemsize=arrays[name].itemsize,
                trainable=shown and arrays[name].dtype.kind == "f",
                aliases=tuple(aliases[name]),
            )
            for name in self._names
        ]
        self._trainable = [f.name for f in facts if f.trainable]
        return facts

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[npt.NDArray[Any]]:
        """Arrays over the given memory."""
        return [p.view(_TYPES[f.code]).reshape(f.shape) for p, f in zip(places, facts, strict=True)]

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all arrays, and the gradients that the model shows; None when names, shapes or types changed."""
        targets: list[npt.NDArray[Any]] = into  # type: ignore[assignment]
        arrays: Arrays = _parameters(self._model)
        try:
            sources = [arrays[name] for name in self._names]
        except KeyError:
            return None
        if [(a.shape, a.dtype) for a in sources] != self._like:
            return None
        for target, source in zip(targets, sources, strict=True):
            target[...] = source
        return [] if gradients_into is None else self._stage_gradients(gradients_into)

    def _stage_gradients(self, into: object) -> Sequence[int]:
        """Copy the gradients that the model shows, those of the right shape."""
        targets: list[npt.NDArray[Any]] = into  # type: ignore[assignment]
        gradients = getattr(self._model, "gradients", None) if self._want_gradients else None
        if not isinstance(gradients, Mapping):
            return []
        there = []
        for k, name in enumerate(self._trainable):
            gradient = gradients.get(name)
            if gradient is not None and np.shape(gradient) == targets[k].shape:
                targets[k][...] = gradient
                there.append(k)
        return there

    def arm(self) -> None:
        """Nothing to do: what the model shows at the next look is taken."""

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """The outputs that the model shows."""
        shown = getattr(self._model, "activations", None) if self._want_activations else None
        found: list[Activation] = []
        if isinstance(shown, Mapping):
            found += [_activation(str(name), np.asarray(v)) for name, v in shown.items() if v is not None]
        return lambda: found

    def network(self, inputs: object) -> RecordedNetwork:
        """What the model's own `graph()` says, else one layer for each prefix of the names."""
        graph = getattr(self._model, "graph", None)
        drawn = graph() if callable(graph) else None
        if isinstance(drawn, Graph):
            return RecordedNetwork(graph=drawn)
        return RecordedNetwork(graph=_plain_graph(_parameters(self._model), type(self._model).__name__))

    def await_inputs(self) -> None:
        """Nothing to do: a graph of arrays needs no inputs."""

    def caught_inputs(self) -> object:
        """Always None."""
        return None

    def prefer_hooks(self) -> None:
        """Nothing to do: there are no hooks."""

    def close(self) -> None:
        """Let go of the model."""
        self._model = {}


def _activation(layer: str, values: npt.NDArray[Any]) -> Activation:
    flat = values.reshape(-1)
    if flat.size > SAMPLE:
        stride = -(-flat.size // SAMPLE)
        # A stride that shares a factor with a dimension would look at the same units again and again.
        while any(np.gcd(stride, n) > 1 for n in values.shape):
            stride += 1
        flat = flat[::stride]
    kind = "<f8" if flat.dtype.itemsize > 4 else "<f4"
    return Activation(layer=layer, values=flat.astype(kind), size=values.size)


def _plain_graph(arrays: Arrays, model: str) -> Graph:
    layers: dict[str, list[Parameter]] = {}
    for name, array in arrays.items():
        layer, _, leaf = name.rpartition(".")
        role = "bias" if "bias" in leaf or (array.ndim == 1 and leaf in ("b", "beta")) else "weight"
        fact = Parameter(name=name, shape=array.shape, dtype=str(array.dtype), role=role)  # type: ignore[arg-type]
        layers.setdefault(layer or leaf, []).append(fact)
    return Graph(
        source="parameters",
        layers=tuple(Layer(layer_id=k, kind="Arrays", module=k, parameters=tuple(v)) for k, v in layers.items()),
        model=model,
        framework="numpy",
        note="Only the parameters are known: give an object with graph() to draw more.",
    )
