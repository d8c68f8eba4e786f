"""What is kept of a layer's outputs on the TensorFlow and JAX backends, computed with Keras' own operations.

The same as `torch_outputs` keeps: all values of small outputs, of large ones a sample and exact figures, and which
units were alive. Everything here works on values and on the symbols of a compiled function alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from epochal.record.probe import Activation, Figures

__all__ = ["Kept", "activation", "first_tensor", "is_small", "keep", "small_activation", "unit_axis"]

SAMPLE = 16_384
"""Of larger outputs so many values, evenly spread, are kept."""

Kept = dict[str, Any]
"""`values`, flat arrays; of a sample also `counts` and `figures`, a row for each call; `alive` where that is known."""


def keep(outputs: Sequence[tuple[Any, int | None]]) -> tuple[tuple[int, ...], Kept]:
    """How many values the output of each call of one layer has, and what is kept of them all.

    `outputs` holds (tensor, axis of its units) for each call; shapes must be known.
    """
    shapes = [tuple(int(s) for s in tensor.shape) for tensor, _ in outputs]
    sizes = tuple(math.prod(shape) for shape in shapes)
    distance = _distance(shapes, sum(sizes))
    kept: Kept = {"values": [ops.reshape(tensor, (-1,))[::distance] for tensor, _ in outputs]}
    if distance > 1:
        rows = [_figures(tensor) for tensor, _ in outputs]
        kept["counts"], kept["figures"] = [c for c, _ in rows], [f for _, f in rows]
    alive = _alive(outputs, shapes)
    if alive is not None:
        kept["alive"] = alive
    return sizes, kept


def is_small(outputs: Sequence[tuple[Any, int | None]]) -> bool:
    """Whether all values of all calls are kept."""
    return sum(math.prod(int(s) for s in tensor.shape) for tensor, _ in outputs) <= SAMPLE


def small_activation(layer: str, outputs: Sequence[tuple[npt.NDArray[Any], int | None]]) -> Activation:
    """The facts of a layer whose outputs are small: those that `activation` has of what `keep` keeps."""
    alive: list[npt.NDArray[np.bool_]] = []
    for array, axis in outputs:
        if axis is not None and array.size and array.dtype.kind not in "iub":
            alive.append((array != 0).any(axis=tuple(d for d in range(array.ndim) if d != axis)))
    told = len(alive) == len(outputs) and len({units.shape for units in alive}) == 1
    dead = 1 - float(np.logical_or.reduce(alive).mean()) if told else math.nan
    values = np.concatenate([_floats(array.reshape(-1)) for array, _ in outputs])
    return Activation(layer=layer, values=values, size=values.size, dead=dead)


def activation(layer: str, sizes: tuple[int, ...], kept: Kept) -> Activation:
    """The facts of a layer, from what was kept, as arrays."""
    values = np.concatenate([_floats(part) for part in kept["values"]])
    dead = math.nan
    if "alive" in kept:
        alive = np.asarray(kept["alive"])
        dead = 1 - int(alive.sum()) / alive.size
    figures = _together(kept, sizes) if "figures" in kept else None
    return Activation(layer=layer, values=values, size=sum(sizes), dead=dead, figures=figures)


def unit_axis(layer: Any, shape: tuple[int, ...], before: tuple[tuple[int, ...], int] | None) -> int | None:
    """Along which dimension a layer's units lie; None where it has none.

    `before` is the shape of the output before this one, and that output's axis: what works on each value alone keeps
    its layout.
    """
    if len(shape) < 2:
        return None
    form = getattr(layer, "data_format", None)
    if form in ("channels_first", "channels_last"):
        return 1 if form == "channels_first" and len(shape) > 2 else len(shape) - 1
    axis = getattr(layer, "axis", None)
    if isinstance(axis, int) and type(layer).__name__ == "BatchNormalization":
        return axis % len(shape)
    if before is not None and before[0] == shape and not layer.weights:
        return before[1]
    return len(shape) - 1


def first_tensor(result: Any) -> Any:
    """The first tensor in what a layer returned."""
    return next((v for v in keras.tree.flatten(result) if hasattr(v, "shape") and hasattr(v, "dtype")), None)


def _distance(shapes: Sequence[tuple[int, ...]], size: int) -> int:
    """From one kept value to the next.

    It shares no factor with a dimension: one that did would look at the same channel or column again and again.
    """
    if size <= SAMPLE:
        return 1
    distance = -(-size // SAMPLE)
    while any(math.gcd(distance, n) > 1 for shape in shapes for n in shape):
        distance += 1
    return distance


def _figures(tensor: Any) -> tuple[Any, Any]:
    """Of all values: [NaN, infinities, zeros], and [mean, std, min, max, norm] of the finite ones (0 for none)."""
    x = ops.cast(tensor, "float32")
    finite = ops.isfinite(x)
    count = ops.maximum(ops.sum(ops.cast(finite, "float32")), 1.0)
    safe = ops.where(finite, x, 0.0)
    mean = ops.sum(safe) / count
    spread = ops.where(finite, x - mean, 0.0)
    counts = ops.stack([ops.sum(ops.cast(w, "int32")) for w in (ops.isnan(x), ops.isinf(x), ops.equal(x, 0.0))])
    # The norm is taken of values no larger than 1, whose squares stay within float32.
    largest = ops.maximum(ops.max(ops.abs(safe)), 1e-30)
    figures = [
        mean,
        ops.sqrt(ops.sum(spread * spread) / count),
        ops.min(ops.where(finite, x, np.float32(np.inf))),
        ops.max(ops.where(finite, x, np.float32(-np.inf))),
        ops.sqrt(ops.sum(ops.square(safe / largest))) * largest,
    ]
    return counts, ops.stack(figures)


def _together(kept: Kept, sizes: tuple[int, ...]) -> Figures:
    """The figures of all calls of a layer."""
    nan, inf, zeros = np.sum([np.asarray(c, np.int64) for c in kept["counts"]], axis=0).tolist()
    rows = np.array([np.asarray(f, np.float64) for f in kept["figures"]])
    finite = np.array(sizes, np.float64) - [int(np.asarray(c)[:2].sum()) for c in kept["counts"]]
    rows, finite = rows[finite > 0], finite[finite > 0]
    if not len(rows):
        return Figures(
            mean=math.nan, std=math.nan, min=math.nan, max=math.nan, norm=math.nan, zeros=zeros, nan=nan, inf=inf
        )
    share = finite / finite.sum()
    mean = float(share @ rows[:, 0])
    variance = float(share @ (rows[:, 1] ** 2 + (rows[:, 0] - mean) ** 2))
    return Figures(
        mean=mean,
        std=math.sqrt(variance),
        min=float(rows[:, 2].min()),
        max=float(rows[:, 3].max()),
        norm=math.sqrt(float(np.square(rows[:, 4]).sum())),
        zeros=zeros,
        nan=nan,
        inf=inf,
    )


def _alive(outputs: Sequence[tuple[Any, int | None]], shapes: Sequence[tuple[int, ...]]) -> Any:
    """Which units put out anything but 0 in any call; None where units cannot be told."""
    alive: Any = None
    for (tensor, axis), shape in zip(outputs, shapes, strict=True):
        if axis is None or 0 in shape or "float" not in keras.backend.standardize_dtype(tensor.dtype):
            return None
        others = [d for d in range(len(shape)) if d != axis]
        mine = ops.any(ops.not_equal(tensor, 0), axis=others)
        if alive is not None and tuple(alive.shape) != tuple(mine.shape):
            return None
        alive = mine if alive is None else ops.logical_or(alive, mine)
    return alive


def _floats(part: Any) -> npt.NDArray[Any]:
    array = np.asarray(part)
    if array.dtype in (np.float32, np.float64):
        return array
    wide = array.dtype.kind in "iu" and array.dtype.itemsize > 2
    return array.astype(np.float64 if wide else np.float32)
