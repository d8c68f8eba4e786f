"""How networks of plain arrays are watched: a mapping of names to arrays that training changes in place.

An object with `parameters` (such a mapping) may have more: `gradients` and `activations` (mappings of the same kind,
read at each look; missing or None means none), and `graph()`, which returns an `epochal.facts.Graph`.

`run.log_parameters` hands over such an object anew at each call; its arrays may be numpy's, JAX's or PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import StoreError
from epochal.facts import Graph
from epochal.frameworks.array_layers import plain_graph
from epochal.record.probe import Activation, Bytes, Figures, Late, RecordedNetwork, TensorFact
from epochal.record.pushed import Pushed

_CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip
# How their bytes are handled; numpy alone knows neither bfloat16 nor 8-bit floats.
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip
_BITS = ("BF16", "F8_E4M3", "F8_E5M2")
_FLOATS = ("F64", "F32", "F16", *_BITS)
SAMPLE = 16_384
"""Of a larger output so many values, evenly spread, are kept for the histogram; all other figures are of all values."""

Array = npt.NDArray[Any]
Source = Array | Callable[[], Array]
"""An array's values, or how to get them later on another thread, when a device has computed them."""


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> ArrayProbe | None:
    """Return a probe when `model` is a mapping of names to numpy arrays, or has one as `parameters`."""
    if not isinstance(model, Pushed):
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
    """One watched set of arrays."""

    gone = False
    redraws = True
    """Whether drawing needs no inputs and costs nothing, so that it is done again when the arrays become others."""

    def __init__(self, model: object, *, activations: bool, gradients: bool) -> None:
        self.hook_seconds = 0.0
        self.framework: str = getattr(model, "framework", "numpy")
        self._model: object = model
        self._want_activations, self._want_gradients = activations, gradients
        self.left_out: list[str] = []
        self._inputs: object = None
        self._names: list[str] = []
        self._all: frozenset[str] = frozenset()
        self._tied: list[tuple[str, str]] = []
        self._trainable: list[str] = []
        self._codes: dict[str, str] = {}
        self._like: list[tuple[tuple[int, ...], Any]] = []
        self._no_gradients = False
        self._later: list[tuple[int, bool, str, Callable[[], Array]]] = []
        self._troubles: list[str] = []

    def parameters(self) -> Sequence[TensorFact]:
        """The arrays in the order of the mapping; an array under several names once."""
        first: dict[int, str] = {}
        aliases: dict[str, list[str]] = {}
        arrays: Mapping[str, Any] = _parameters(self._model)
        self.left_out, self._codes = [], {}
        for name, array in arrays.items():
            code = _CODES.get(type_name(array))
            if code is None or not _readable(array):
                reason = (
                    str(array.dtype).removeprefix("torch.") if code is None else "parts of it are on other machines"
                )
                self.left_out.append(f"{name} ({reason})")
                continue
            known = first.setdefault(id(array), name)
            if known == name:
                aliases[name], self._codes[name] = [], code
            else:
                aliases[known].append(name)
        self._names, self._all = list(aliases), frozenset(arrays)
        self._tied = [(alias, name) for name, others in aliases.items() for alias in others]
        self._like = [(arrays[n].shape, arrays[n].dtype) for n in self._names]
        self._no_gradients = self._want_gradients and self._gradients() is None
        facts = [
            TensorFact(
                name=name,
                shape=tuple(arrays[name].shape),
                code=self._codes[name],
                itemsize=np.dtype(_TYPES[self._codes[name]]).itemsize,
                trainable=self._want_gradients and not self._no_gradients and self._codes[name] in _FLOATS,
                aliases=tuple(aliases[name]),
            )
            for name in self._names
        ]
        self._trainable = [f.name for f in facts if f.trainable]
        return facts

    def _gradients(self) -> Mapping[str, Any] | None:
        found = getattr(self._model, "gradients", None)
        return found if isinstance(found, Mapping) else None

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[Array]:
        """Arrays over the given memory."""
        return [p.view(_TYPES[f.code]).reshape(f.shape) for p, f in zip(places, facts, strict=True)]

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all arrays, and the gradients that the model shows; None when names, shapes or types changed."""
        targets: list[Array] = into  # type: ignore[assignment]
        arrays: Mapping[str, Any] = _parameters(self._model)
        self._later = []
        try:
            sources = [arrays[name] for name in self._names]
        except KeyError:
            return None
        if [(a.shape, a.dtype) for a in sources] != self._like:
            return None
        if arrays.keys() != self._all or any(arrays[a] is not arrays[b] for a, b in self._tied):
            return None  # there are new ones, or what was one array is two by now
        if gradients_into is not None and self._no_gradients and self._gradients() is not None:
            return None
        for k, (name, target, source) in enumerate(zip(self._names, targets, sources, strict=True)):
            self._copy(k, target, source, self._codes[name])
        return [] if gradients_into is None else self._stage_gradients(gradients_into)

    def _stage_gradients(self, into: object) -> Sequence[int]:
        """Copy the gradients that the model shows, those of the right shape."""
        targets: list[Array] = into  # type: ignore[assignment]
        gradients = self._gradients() if self._want_gradients else None
        if gradients is None:
            return []
        there = []
        for k, name in enumerate(self._trainable):
            gradient = gradients.get(name)
            if gradient is None:
                continue
            if not hasattr(gradient, "dtype"):
                gradient = np.asarray(gradient)
            if tuple(gradient.shape) == targets[k].shape and type_name(gradient) in _CODES:
                self._copy(k, targets[k], gradient, self._codes[name], gradient=True)
                there.append(k)
        if len(there) < len(gradients):
            self._say_refused(gradients, there)
        return there

    def _say_refused(self, gradients: Mapping[str, Any], there: Sequence[int]) -> None:
        quiet = {self._trainable[k] for k in there} | self._all.difference(self._trainable)  # of what has none
        refused = [str(name) for name, given in gradients.items() if given is not None and name not in quiet]
        if refused:
            names = ", ".join(refused[:8]) + (", ..." if len(refused) > 8 else "")
            self._troubles.append(f"{len(refused)} gradients have no parameter of their name and shape: {names}")

    def troubles(self) -> list[str]:
        """What of gradients and activations could not be recorded, since this was asked last."""
        found, self._troubles = self._troubles, []
        return found

    def _copy(self, k: int, target: Array, array: Any, code: str, *, gradient: bool = False) -> None:
        source = array if type(array) is np.ndarray else values_of(array)
        if callable(source):
            self._later.append((k, gradient, code, source))
        else:
            _write(target, source, code)

    def late(self) -> Late | None:
        """What is still being computed: it is copied on the writer's thread, which waits for it there."""
        later, self._later = self._later, []
        if not later:
            return None

        def copy(into: object, gradients_into: object) -> None:
            for k, gradient, code, source in later:
                targets: list[Array] = gradients_into if gradient else into  # type: ignore[assignment]
                _write(targets[k], source(), code)

        return copy

    @property
    def answers(self) -> Callable[[Any, int], tuple[Array, float]] | None:
        """Asks an object that can be called about examples; None for mere arrays."""
        model = self._model
        if isinstance(model, Mapping) or not callable(model):
            return None

        def ask(inputs: Any, rows: int) -> tuple[Array, float]:
            start = thread_time()
            return np.array(model(inputs)), thread_time() - start

        return ask

    def arm(self) -> None:
        """Nothing to do: what the model shows at the next look is taken."""

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """The outputs that the model shows."""
        shown = getattr(self._model, "activations", None) if self._want_activations else None
        found: list[Activation | tuple[str, Callable[[], Array]]] = []
        if isinstance(shown, Mapping):
            for name, values in shown.items():
                if values is not None and "complex" in type_name(values):
                    self._troubles.append(f"activations of {name!r} are complex and are not recorded")
                elif values is not None:
                    # PyTorch's own floats come as bits; their values are wanted here.
                    values = (
                        values.float()
                        if _CODES.get(type_name(values)) in _BITS and hasattr(values, "float")
                        else values
                    )
                    source = values_of(values)
                    found.append((str(name), source) if callable(source) else _activation(str(name), source))
        return lambda: [_read_late(*one) if isinstance(one, tuple) else one for one in found]

    def network(self, inputs: object) -> RecordedNetwork:
        """What the model's own `graph()` says, else one layer for each prefix of the names."""
        if inputs is not None and not (isinstance(inputs, tuple) and not inputs):
            self._inputs = inputs
        by_inputs = getattr(self._model, "graph_from", None) if self._inputs is not None else None
        graph = getattr(self._model, "graph", None)
        drawn = by_inputs(self._inputs) if by_inputs is not None else graph() if callable(graph) else None
        if isinstance(drawn, Graph):
            return RecordedNetwork(graph=drawn)
        arrays: Mapping[str, Any] = _parameters(self._model)
        pushed = isinstance(self._model, Pushed)
        shown = {name: (tuple(a.shape), type_name(a)) for name, a in arrays.items()}
        plain = plain_graph(
            shown,
            model=self._model.model if isinstance(self._model, Pushed) else type(self._model).__name__,
            framework=self.framework,
            kinds=getattr(self._model, "kinds", None),
            note="Only the parameters are known: "
            + ("hand over a graph= to draw more." if pushed else "give an object with graph() to draw more."),
        )
        return RecordedNetwork(graph=plain)

    def await_inputs(self) -> None:
        """Nothing to do: a graph of arrays needs no inputs."""

    def caught_inputs(self) -> object:
        """No inputs at all, as soon as there are arrays to draw; None before."""
        return () if _parameters(self._model) else None

    def prefer_hooks(self) -> None:
        """Nothing to do: there are no hooks."""

    def close(self) -> None:
        """Let go of the model."""
        self._model = {}


def type_name(array: Any) -> str:
    """The element type in numpy's words, whichever library the array is from: `float32`, `bfloat16`."""
    dtype = array.dtype
    return getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")


def values_of(array: Any) -> Source:
    """The values of an array of any library, without a copy where they lie in this machine's memory.

    Types that numpy does not know come as their bits, or as the type that `ml_dtypes` gives them.
    """
    home = type(array).__module__.partition(".")[0]
    if home in ("jax", "jaxlib"):
        from epochal.frameworks.jax import source

        return source(array)
    if home == "torch" or hasattr(array, "requires_grad"):
        from epochal.frameworks.torch_arrays import source as torch_source

        return torch_source(array)
    return np.asarray(array)


def _readable(array: Any) -> bool:
    """Whether all of an array can be read here: one that is spread over several machines may not."""
    return bool(getattr(array, "is_fully_addressable", True) or getattr(array, "is_fully_replicated", False))


def _write(target: Array, values: Array, code: str) -> None:
    """Copy values into memory of a tensor of type `code`; a gradient of another type is turned into it."""
    if values.dtype == target.dtype:
        target[...] = values
    elif _CODES.get(values.dtype.name) == code:
        target[...] = values.view(target.dtype) if code in _BITS else values  # the other byte order, where no bits
    elif code in _BITS:
        own = next(np.dtype(name) for name, known in _CODES.items() if known == code)  # its package is imported
        target[...] = values.astype(own).view(target.dtype)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            target[...] = values


def _read_late(layer: str, source: Callable[[], Array]) -> Activation:
    try:
        return _activation(layer, source())
    except StoreError:  # given away to another computation since
        return Activation(layer=layer, values=np.empty(0, "<f4"), size=0)


def _activation(layer: str, values: Array) -> Activation:
    kind = "<f8" if values.dtype.itemsize > 4 else "<f4"
    flat = values.reshape(-1)
    figures = None
    if flat.size > SAMPLE:
        figures = _figures(flat.astype(kind, copy=False))
        stride = -(-flat.size // SAMPLE)
        # A stride that shares a factor with a dimension would look at the same units again and again.
        while any(np.gcd(stride, n) > 1 for n in values.shape):
            stride += 1
        flat = flat[::stride]
    return Activation(layer=layer, values=flat.astype(kind), size=values.size, dead=_dead(values), figures=figures)


def _figures(values: Array) -> Figures:
    finite = np.isfinite(values)
    nan = int(np.count_nonzero(np.isnan(values)))
    zeros = int(values.size - np.count_nonzero(values))
    there = values if finite.all() else values[finite]
    if not there.size:
        nothing = float("nan")
        return Figures(
            mean=nothing, std=nothing, min=nothing, max=nothing, norm=nothing,
            zeros=zeros, nan=nan, inf=values.size - nan,
        )  # fmt: skip
    wide = there.astype(np.float64, copy=False)
    return Figures(
        mean=float(wide.mean()),
        std=float(wide.std()),
        min=float(wide.min()),
        max=float(wide.max()),
        norm=float(np.linalg.norm(wide)),
        zeros=zeros,
        nan=nan,
        inf=values.size - nan - there.size,
    )


def _dead(values: Array) -> float:
    """The share of the last axis's units that are 0 for every example; NaN where there is one axis only."""
    if values.ndim < 2 or not values.size:
        return float("nan")
    alive = (values != 0).reshape(-1, values.shape[-1]).any(axis=0)
    return float(1.0 - np.count_nonzero(alive) / len(alive))
