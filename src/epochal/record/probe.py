"""The port between recording and training frameworks: what a probe tells about a model, and how one is found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts import Graph

GROUP = "epochal.frameworks"
# Known without asking the installed packages' entry points, which costs tens of milliseconds. The order is that of
# asking: a model is seldom of two kinds, but a mapping of tensors is a mapping.
_BUILT_IN = {
    "keras": "epochal.frameworks.keras:probe",
    "torch": "epochal.frameworks.torch:probe",
    "jax": "epochal.frameworks.jax:probe",
    "sklearn": "epochal.frameworks.sklearn:probe",
    "numpy": "epochal.frameworks.arrays:probe",
}

Bytes = npt.NDArray[np.uint8]
Late = Callable[[object, object], None]
"""Copies, on the writer's thread, what `stage` left out into the places it was given (`into`, `gradients_into`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFact:
    """One tensor of a model as it is stored: `code` is its element type as safetensors spells it (`F32`, `BF16`).

    `aliases` are further names of the same tensor (tied weights); it is stored once, under `name`.
    """

    name: str
    shape: tuple[int, ...]
    code: str
    itemsize: int
    trainable: bool
    aliases: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many values it holds."""
        n = 1
        for s in self.shape:
            n *= s
        return n


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Exact figures of all values of an output, whatever sample of them is kept.

    Each is what facts.StatisticsRow calls so: `mean`, `std` (population), `min`, `max` and the 2-norm are over finite
    values, NaN where there is none; `zeros`, `nan` and `inf` count values.
    """

    mean: float
    std: float
    min: float
    max: float
    norm: float
    zeros: int
    nan: int
    inf: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What a layer put out: its values (1-d, float32 or float64), or a sample of them, and how many there were.

    `dead` is the share of its units (channels, or last-axis features) that put out exactly 0 for every example of the
    batch; NaN where units cannot be told. Where `values` is a sample, an adapter gives the `figures` of all values, so
    that only the histogram is the sample's; None takes them from `values`.
    """

    layer: str
    values: npt.NDArray[Any]
    size: int
    dead: float = nan
    figures: Figures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNetwork:
    """A model's graph and, where it could be exported, its program; `trouble` says why not.

    `files` are what else its framework can build it again from, by name.
    """

    graph: Graph
    program: bytes | None = None
    trouble: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


class Probe(Protocol):
    """One watched model. All methods are called on the thread that logs, and none may block on another thread.

    `stage` copies values into memory that `bind` prepared: nearly all that a look costs the caller's thread.
    """

    framework: str
    hook_seconds: float
    """Processor time of the training's thread spent inside hooks since it was last set to 0.

    Not time by the clock: on a busy machine what others do is not what looking costs.
    """

    @property
    def left_out(self) -> Sequence[str]:
        """Names and types of tensors that cannot be stored, as of the last call of `parameters`."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the user let go of the model: nothing can be read any more."""
        ...

    def parameters(self) -> Sequence[TensorFact]:
        """The tensors of the model as it is now, in its own order."""
        ...

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> object:
        """Make of one byte array for each tensor what `stage` copies into."""
        ...

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all tensors and, where asked, the gradients that there are.

        Returns the indices, among the trainable tensors, of gradients that were copied; None, and then nothing can be
        relied on, when the model no longer has the tensors that `parameters` told of.
        """
        ...

    def arm(self) -> None:
        """Catch each layer's output in the next training forward pass, forgetting what was caught before."""
        ...

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What was caught since `arm`: the answer, called on the writer's thread, makes arrays of it."""
        ...

    def prefer_hooks(self) -> None:
        """From now on catch gradients when they are made: at log time they have been zeroed already."""
        ...

    def network(self, inputs: object) -> RecordedNetwork:
        """Draw and export the model with one example batch; None where there is none."""
        ...

    def await_inputs(self) -> None:
        """Keep (a few rows of) the inputs of the next training forward pass."""
        ...

    def caught_inputs(self) -> object:
        """The inputs kept since `await_inputs`, None while there are none."""
        ...

    def close(self) -> None:
        """Remove every hook and let go of the model."""
        ...


class LateProbe(Probe, Protocol):
    """A probe of values that cannot change, so that they may be copied later, when a device is done computing them."""

    def late(self) -> Late | None:
        """What the last call of `stage` left to the writer's thread, None where it copied all.

        It raises StoreError where a value is no longer there; the look is counted as lost then.
        """
        ...


class TroubledProbe(Probe, Protocol):
    """A probe that now and then cannot do all of its work."""

    def troubles(self) -> Sequence[str]:
        """What the user should be told of, a sentence each, since the last call."""
        ...


class AskedProbe(Probe, Protocol):
    """A probe of a network that can be asked about examples while it trains."""

    def answers(self, inputs: object, rows: int) -> tuple[npt.NDArray[Any], float] | None:
        """What the network says of `rows` examples in evaluation mode, [rows, ...], and what that cost in seconds.

        The training is left as it was: modes, buffers, gradients, random generators. None while the network has
        parameters without values.
        """
        ...


def find_probe(model: object, **options: Any) -> Probe:
    """Return a probe for `model` from the adapter whose framework it belongs to.

    Only adapters of modules that are already imported are asked: a model of a framework that was never imported
    cannot be here. Adapters of trainers hand over an object whose method `epochal_probe` makes the probe. Raises
    UsageError when none knows the model.
    """
    if callable(own := getattr(type(model), "epochal_probe", None)):
        return own(model, **options)  # type: ignore[no-any-return]
    asked = []
    for module, target in _BUILT_IN.items():
        if module in sys.modules:
            asked.append(module)
            if (found := _load(target)(model, **options)) is not None:
                return found  # type: ignore[no-any-return]
    from importlib.metadata import entry_points  # 20 ms to import, and seldom needed

    for entry in entry_points(group=GROUP):
        if entry.name not in _BUILT_IN and entry.name in sys.modules:
            asked.append(entry.name)
            if (found := entry.load()(model, **options)) is not None:
                return found  # type: ignore[no-any-return]
    raise UsageError(
        f"watch() got a {type(model).__module__}.{type(model).__qualname__}, which no adapter knows "
        f"(asked: {', '.join(asked)})",
        hint="give a torch.nn.Module, a keras.Model, or a mapping of names to numpy arrays",
    )


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
