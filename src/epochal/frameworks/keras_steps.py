"""Standing beside a Keras model's training steps: which layers are listened to, and when.

`fit` calls `model.train_function` for each step. While a model is watched, a `Steps` stands there: it hands every call
on as it is, but one that comes after `arm` goes through the backend's `catch`, which sees what happens inside. In a
training loop of the user's own there is no such function; there the model's `call` is overheard once.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

import keras

from epochal.frameworks.keras_names import named_layers, see_inside

__all__ = [
    "Backend",
    "Listened",
    "RootCall",
    "Steps",
    "batch_of",
    "described",
    "listened_layers",
    "optimizers_of",
    "said",
    "timed",
]

MOST_LAYERS = 512
# Layers whose output says nothing that the layers beside them do not say.
_SILENT = (
    "Cropping1D", "Cropping2D", "Cropping3D", "Flatten", "Identity", "InputLayer", "Permute", "RepeatVector", "Reshape",
    "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
)  # fmt: skip

Listened = Sequence[tuple[str, Any]]


class Backend(Protocol):
    """What is different from backend to backend."""

    hook_seconds: float
    trouble: str
    """What the user should be told of, "" for nothing."""
    inputs: Any
    """What a training batch looks like (see `described`), None before one was seen."""
    steps: Steps
    late: Any
    """What the last `stage` left to the writer's thread."""

    def bind(self, places: Sequence[Any], facts: Sequence[Any]) -> Any:
        """What values are copied into: something over each of the given byte arrays."""

    def prepare(self, model: Any) -> None:
        """Make the model's variables hold the values of this step."""

    def stage(self, targets: Any, variables: Sequence[Any], slopes_into: Any, trained: Sequence[Any]) -> list[int]:
        """Copy the variables, and, unless `slopes_into` is None, gradients; return which of `trained` have one."""

    def arm(self, model: Any, layers: Listened) -> None:
        """See inside the next training step."""

    def activations(self) -> Callable[[], Sequence[Any]]:
        """What the layers put out in the last step that was seen inside."""

    def prefer_hooks(self) -> None:
        """Gradients have been zeroed when the training logs."""

    def close(self) -> None:
        """Leave no trace in the model."""


class Steps:
    """Stands in for `model.train_function`. `calls` counts steps; `inputs` describes the first batch."""

    def __init__(self, catch: Callable[[Callable[..., Any], tuple[Any, ...]], Any]) -> None:
        self._catch = catch
        self._model: weakref.ref[Any] | None = None
        self.plain: Callable[..., Any] | None = None
        self.armed = False
        self.calls = 0
        self.before: Callable[[tuple[Any, ...]], None] | None = None
        """Called once, with the arguments of the next step."""
        self.failed: Callable[[BaseException], None] | None = None
        """Called with what a step raised, before it goes on."""

    def install(self, model: Any) -> bool:
        """Stand there, if `fit` has made the function; say whether."""
        there = getattr(model, "train_function", None)
        if there is self:
            return True
        if there is None:
            return False
        self._model, self.plain = weakref.ref(model), there
        model.train_function = self
        return True

    def remove(self) -> None:
        """Put back what was there."""
        model = self._model() if self._model is not None else None
        if model is not None and getattr(model, "train_function", None) is self:
            model.train_function = self.plain
        self._model = None
        self.armed = False

    def __call__(self, *args: Any) -> Any:
        """One step."""
        plain = self.plain
        if plain is None:
            raise RuntimeError("a training step was asked of a model that is no longer watched")
        self.calls += 1
        try:
            if self.before is not None:
                before, self.before = self.before, None
                before(args)
            if not self.armed:
                return plain(*args)
            self.armed = False
            return self._catch(plain, args)
        except BaseException as error:
            if self.failed is not None and not is_end_of_data(error):
                self.failed(error)
            raise


class RootCall:
    """Overhears the model's own `call` once, in a training loop that has no train function."""

    def __init__(self, hear: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self._hear = hear
        self._layer: weakref.ref[Any] | None = None

    def arm(self, model: Any) -> None:
        """Stand in for the model's `call`."""
        self._layer = weakref.ref(model)
        model.__dict__["call"] = self

    def disarm(self) -> None:
        """Put it back."""
        model = self._layer() if self._layer is not None else None
        if model is not None and model.__dict__.get("call") is self:
            del model.__dict__["call"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own `call`, heard where it is one of training."""
        model: Any = self._layer() if self._layer is not None else None
        original = type(model).call.__get__(model)
        symbols = any(isinstance(v, keras.KerasTensor) for v in keras.tree.flatten((args, kwargs)))
        if kwargs.get("training") is False or symbols:
            return original(*args, **kwargs)
        self.disarm()
        return self._hear(original, args, kwargs)


def is_end_of_data(error: BaseException) -> bool:
    """Whether an error only says that an epoch is over."""
    return isinstance(error, StopIteration) or type(error).__name__ == "OutOfRangeError"


def said(error: BaseException) -> str:
    """An error in one line, without the bold letters that Keras puts into its messages."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return f"{type(error).__name__}: {text if len(text) <= 400 else text[:399] + '…'}".removesuffix(": ")


def listened_layers(model: Any) -> list[tuple[str, Any]]:
    """Layers whose outputs are kept, by name: those without shown layers inside, and those with variables of their own.

    Names are those of the graph. Dropouts are left out: they put out what goes in.
    """
    layers = named_layers(model)
    closed = [layer for name, layer in layers if name and not see_inside(layer)]
    hidden = {id(x) for layer in closed for _, x in named_layers(layer)[1:]}
    found = []
    for name, layer in layers:
        kind = type(layer).__name__
        if not name or id(layer) in hidden or kind in _SILENT or "Dropout" in kind:
            continue
        if see_inside(layer):
            inner = {id(v) for _, x in named_layers(layer)[1:] for v in x.weights}
            if all(id(v) in inner for v in layer.weights):
                continue
        found.append((name, layer))
    if len(found) > MOST_LAYERS:
        found = [(name, layer) for name, layer in found if layer.weights][:MOST_LAYERS]
    return found


def optimizers_of(model: Any) -> list[Any]:
    """The optimizers that a model holds: the compiled one, and those that a training step of its own uses."""
    found: dict[int, Any] = {}
    for value in (getattr(model, "optimizer", None), *vars(model).values()):
        if isinstance(value, keras.optimizers.Optimizer):
            found.setdefault(id(value), value)
    return list(found.values())


def batch_of(data: Any) -> Any:
    """What of a step's data goes into the model."""
    return keras.utils.unpack_x_y_sample_weight(data)[0]


def described(inputs: Any) -> Any:
    """Shapes and element types of a batch, nested as it is, without its values."""

    def spec(value: Any) -> Any:
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            return None
        shape = (None, *(None if s is None else int(s) for s in tuple(value.shape)[1:])) if len(value.shape) else ()
        return keras.KerasTensor(shape, keras.backend.standardize_dtype(value.dtype))

    return keras.tree.map_structure(spec, inputs)


@contextmanager
def timed(backend: Any) -> Iterator[None]:
    """Book the time inside as that of hooks."""
    start = perf_counter()
    try:
        yield
    finally:
        backend.hook_seconds += perf_counter() - start
