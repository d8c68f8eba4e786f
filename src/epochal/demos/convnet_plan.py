"""What a convolutional network of given parameters will be: all sizes, worked out before anything is built."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from epochal.demos.volumes import whole
from epochal.errors import UsageError

__all__ = ["ACTIVATIONS", "INITIALISERS", "POOLINGS", "Dense", "Plan", "Stage", "plan_network"]

ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid", "none",
)  # fmt: skip
INITIALISERS = (
    "default", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "normal", "zeros",
)  # fmt: skip
POOLINGS = ("max", "average", "none")
_OTHER_WORDS = {
    "glorot_uniform": "xavier_uniform", "glorot_normal": "xavier_normal", "he_uniform": "kaiming_uniform",
    "he_normal": "kaiming_normal", "avg": "average", "mean": "average", "swish": "silu", "linear": "none",
}  # fmt: skip

MOST_WEIGHTS = 200_000_000
MOST_STAGES = 64
LARGEST = 65_536

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Convolution, activation, batch norm, pooling; `entering`, `convolved` and `leaving` are sizes without channels.

    `pads` are, for each axis, zeros before and after.
    """

    channels: int
    filters: int
    kernel: Sizes
    stride: Sizes
    pads: tuple[tuple[int, int], ...]
    pool: Sizes
    pooling: str
    activation: str
    batch_norm: bool
    initialiser: str
    entering: Sizes
    convolved: Sizes
    leaving: Sizes

    @property
    def weights(self) -> int:
        """Numbers that are learnt: kernels, biases, scale and shift of the batch norm."""
        return self.filters * (self.channels * math.prod(self.kernel) + 1 + 2 * self.batch_norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """A dense layer with its activation and the share that is dropped after it."""

    inputs: int
    outputs: int
    activation: str
    dropout: float
    initialiser: str

    @property
    def weights(self) -> int:
        """Numbers that are learnt."""
        return (self.inputs + 1) * self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole network; `shape` is that of one example with its channels first."""

    shape: Sizes
    stages: tuple[Stage, ...]
    dense: tuple[Dense, ...]
    flat_dropout: float
    output: Dense

    @property
    def weights(self) -> int:
        """Numbers that are learnt."""
        return sum(stage.weights for stage in self.stages) + sum(layer.weights for layer in (*self.dense, self.output))


def plan_network(
    dimensions: int,
    *,
    input_shape: Sequence[int],
    classes: int,
    filters: Any,
    kernel_sizes: Any,
    pool_sizes: Any,
    dense: Any,
    dropout: Any,
    activation: Any,
    batch_norm: Any,
    padding: Any,
    stride: Any,
    pooling: Any,
    initialiser: Any,
) -> Plan:
    """Work out a network of so many `dimensions`; what the parameters mean is told at `convnet3d`.

    Raises UsageError naming the parameter, or the stage and the sizes, that cannot be.
    """
    shape = _input(dimensions, input_shape)
    whole("classes", classes, 1, LARGEST)
    per_stage = {
        "filters": filters, "kernel_sizes": kernel_sizes, "pool_sizes": pool_sizes, "batch_norm": batch_norm,
        "padding": padding, "stride": stride, "pooling": pooling,
    }  # fmt: skip
    count = _stages(per_stage)
    widths = _widths(dense)
    named = {
        "activation": _named("activation", activation, ACTIVATIONS, count, len(widths)),
        "initialiser": _named("initialiser", initialiser, INITIALISERS, count, len(widths)),
    }
    rows = {
        name: list(value) if isinstance(value, list | tuple) else [value] * count for name, value in per_stage.items()
    }
    stages: list[Stage] = []
    channels, sizes = shape[0], shape[1:]
    for at in range(count):
        settings = {name: row[at] for name, row in rows.items()}
        here = {name: row[at] for name, row in named.items()}
        stages.append(_stage(dimensions, at + 1, channels, sizes, settings, here))
        channels, sizes = stages[-1].filters, stages[-1].leaving
    drops = _dropouts(dropout, max(len(widths), 1))
    inputs, layers = channels * math.prod(sizes), []
    for at, width in enumerate(widths):
        layers.append(
            Dense(
                inputs=inputs,
                outputs=width,
                activation=named["activation"][count + at],
                dropout=drops[at],
                initialiser=named["initialiser"][count + at],
            )
        )
        inputs = width
    last = named["initialiser"][-1]
    plan = Plan(
        shape=shape,
        stages=tuple(stages),
        dense=tuple(layers),
        flat_dropout=0.0 if widths else drops[0],
        output=Dense(inputs=inputs, outputs=classes, activation="none", dropout=0.0, initialiser=last),
    )
    if plan.weights > MOST_WEIGHTS:
        largest = max((*plan.dense, plan.output), key=lambda part: part.weights)
        raise UsageError(
            f"The network would have {plan.weights:,} weights, {largest.weights:,} of them from {largest.inputs:,} to "
            f"{largest.outputs:,} in one dense layer; {MOST_WEIGHTS:,} is the most.",
            hint="Pool more, or choose fewer filters or smaller dense layers.",
        )
    return plan


def sizes_text(sizes: Sequence[int]) -> str:
    """16 x 16 x 16."""
    return " × ".join(map(str, sizes))


def known_word(what: str, value: object, known: Sequence[str]) -> str:
    """The value, if it is one of the known words, or means one of them; UsageError with the nearest one else."""
    word = "none" if value is None and "none" in known else value
    if isinstance(word, str):
        word = word.lower()
        word = word if word in known else _OTHER_WORDS.get(word, word)
        if word in known:
            return word
    near = difflib.get_close_matches(str(value).lower(), known, 1)
    raise UsageError(
        f"{what} is {value!r}, which is not known.",
        hint=(f"Did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(known)}.",
    )


def _input(dimensions: int, shape: Sequence[int]) -> Sizes:
    if not isinstance(shape, list | tuple) or len(shape) not in (dimensions, dimensions + 1):
        raise UsageError(
            f"A network of {dimensions} dimension{'s' * (dimensions > 1)} takes examples of {dimensions} sizes, or of "
            f"channels and {dimensions} sizes; one example is {list(shape)}.",
            hint="Use the network of the right number of dimensions, or bring the data to another shape.",
        )
    sizes = tuple(whole("A size of the input", size, 1, 1 << 30) for size in shape)
    return sizes if len(sizes) == dimensions + 1 else (1, *sizes)


def _stages(per_stage: dict[str, Any]) -> int:
    """How many stages there are: as many as the lists have entries, all of them."""
    lengths = {name: len(value) for name, value in per_stage.items() if isinstance(value, list | tuple)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise UsageError(
            f"The stages' lists are of unequal length: {said}.",
            hint="Give each list one entry for each stage, or one number for all stages.",
        )
    count = next(iter(lengths.values()), 1)
    if count > MOST_STAGES:
        raise UsageError(f"{count} stages are too many; {MOST_STAGES} is the most.")
    return count


def _stage(
    dimensions: int, at: int, channels: int, sizes: Sizes, settings: dict[str, Any], named: dict[str, str]
) -> Stage:
    where = f"stage {at}"
    filters = whole(f"filters of {where}", settings["filters"], 1, LARGEST)
    kernel = _each("kernel_sizes", where, settings["kernel_sizes"], dimensions)
    stride = _each("stride", where, settings["stride"], dimensions)
    pool = _each("pool_sizes", where, settings["pool_sizes"] or 1, dimensions)
    pooling = known_word(f"pooling of {where}", settings["pooling"], POOLINGS)
    if not isinstance(settings["batch_norm"], bool):
        raise UsageError(f"batch_norm of {where} must be true or false; it is {settings['batch_norm']!r}.")
    pads = _pads(where, settings["padding"], kernel)
    if pooling == "none":
        pool = (1,) * dimensions
    convolved = tuple(
        (size + sum(pad) - k) // s + 1 if size + sum(pad) >= k else 0
        for size, pad, k, s in zip(sizes, pads, kernel, stride, strict=True)
    )
    if 0 in convolved:
        raise UsageError(
            f"Stage {at}: a kernel of {sizes_text(kernel)} does not fit into {sizes_text(sizes)}.",
            hint="Choose smaller kernels, padding='same', or fewer stages.",
        )
    leaving = tuple(size // p for size, p in zip(convolved, pool, strict=True))
    if 0 in leaving:
        raise UsageError(
            f"Stage {at} pools to nothing: {sizes_text(convolved)} by {sizes_text(pool)}.",
            hint="Pool less, or leave stages out: each pooling divides the sizes.",
        )
    return Stage(
        channels=channels,
        filters=filters,
        kernel=kernel,
        stride=stride,
        pads=pads,
        pool=pool,
        pooling=pooling,
        activation=named["activation"],
        batch_norm=settings["batch_norm"],
        initialiser=named["initialiser"],
        entering=sizes,
        convolved=convolved,
        leaving=leaving,
    )


def _each(what: str, where: str, value: Any, dimensions: int) -> Sizes:
    """One number for all axes, or one for each."""
    if isinstance(value, list | tuple):
        if len(value) != dimensions:
            raise UsageError(f"{what} of {where} has {len(value)} numbers for {dimensions} axes: {list(value)}.")
        return tuple(whole(f"{what} of {where}", one, 1, LARGEST) for one in value)
    return (whole(f"{what} of {where}", value, 1, LARGEST),) * dimensions


def _pads(where: str, padding: Any, kernel: Sizes) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        word = known_word(f"padding of {where}", padding, ("same", "valid"))
        # So that a stride of 1 keeps the size, and one of s leaves the s-th part, rounded up.
        return tuple(((k - 1) // 2, k - 1 - (k - 1) // 2) if word == "same" else (0, 0) for k in kernel)
    zeros = [padding] * len(kernel) if not isinstance(padding, list | tuple) else list(padding)
    if len(zeros) != len(kernel):
        raise UsageError(f"padding of {where} has {len(zeros)} numbers for {len(kernel)} axes: {zeros}.")
    return tuple((whole(f"padding of {where}", one, 0, LARGEST), one) for one in zeros)


def _widths(dense: Any) -> Sizes:
    layers = dense if isinstance(dense, list | tuple) else [] if dense in (None, 0) else [dense]
    return tuple(whole("A dense layer's size", width, 1, LARGEST) for width in layers)


def _dropouts(dropout: Any, count: int) -> tuple[float, ...]:
    shares = list(dropout) if isinstance(dropout, list | tuple) else [dropout or 0.0] * count
    if len(shares) != count:
        raise UsageError(
            f"dropout has {len(shares)} entries for {count} dense layer{'s' * (count > 1)}.",
            hint="Give one for each, or one number for all.",
        )
    for share in shares:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise UsageError(f"dropout must be a share from 0 to below 1; it is {share!r}.")
    return tuple(map(float, shares))


def _named(what: str, value: Any, known: Sequence[str], stages: int, dense: int) -> list[str]:
    """A word for each stage, and then for each dense layer: one for all, one for each stage, or one for each layer."""
    if not isinstance(value, list | tuple):
        return [known_word(what, value, known)] * (stages + max(dense, 1))
    if len(value) not in (stages, stages + dense) or not value:
        raise UsageError(
            f"{what} has {len(value)} entries for {stages} stages and {dense} dense layers.",
            hint=f"Give {stages}, or {stages + dense} with those of the dense layers, or one for all.",
        )
    words = [known_word(f"{what} of layer {at}", one, known) for at, one in enumerate(value, start=1)]
    return words + [words[-1]] * (stages + max(dense, 1) - len(words))
