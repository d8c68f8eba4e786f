"""Maps in colours, over photos, and as panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from epochal.errors import UsageError
from epochal.picture import DIVERGING, ColourScale, Panel, limit_of, table, theme
from epochal.picture.voxels import YAW, turning_cubes

__all__ = ["as_map", "cubes", "enlarged", "heat", "heat_scale", "laid_over", "panels_of", "sections"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

SEQUENTIAL = "viridis"


def heat_scale(values: Array, *, signed: bool, mode: str = "light", label: str = "", share: float = 1.0) -> ColourScale:
    """One scale for all values: symmetric around zero where they are signed, otherwise from zero to the largest.

    With a `share` below 1, that many of the values lie within the scale, and the rest has the colour of its end.
    """
    limit = most = limit_of(values)
    if share < 1:
        sizes = np.abs(values[np.isfinite(values)])
        limit = float(np.quantile(sizes, share)) if sizes.size else 0.0
        limit = limit if limit > 0 else most
    colours = table(DIVERGING if signed else SEQUENTIAL, mode)
    low = -limit if signed else 0.0
    return ColourScale(lo=low, hi=limit, colours=colours, signed=signed, label=label, clipped=limit < most)


def heat(values: Array, *, signed: bool, mode: str = "light") -> Pixels:
    """Colours [..., 3] of a map on a scale of its own."""
    return heat_scale(values, signed=signed, mode=mode).paint(values, theme(mode))


def enlarged(values: Array, shape: Sequence[int]) -> Array:
    """A map [h, w] as large as `shape` (height, width), between its places by straight lines.

    The same as `interpolate(mode="bilinear", align_corners=False)` of PyTorch.
    """
    found = np.asarray(values, np.float32)
    for axis, size in enumerate(shape):
        count = found.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, count - 1)
        part = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(found.ndim)])
        found = found.take(low, axis) * (1 - part) + found.take(high, axis) * part
    return found


def laid_over(photo: Pixels, colours: Pixels, opacity: float) -> Pixels:
    """Colours over a photo of the same size: `opacity` 0 shows the photo alone, 1 the colours alone."""
    if not 0 <= opacity <= 1:
        raise UsageError(f"opacity must lie between 0 and 1, not {opacity:g}.")
    if photo.shape != colours.shape:
        raise UsageError(f"A photo {list(photo.shape)} and colours {list(colours.shape)} do not lie over one another.")
    mixed = photo.astype(np.float32) * (1 - opacity) + colours.astype(np.float32) * opacity
    whole: Pixels = np.floor(mixed + 0.5).astype(np.uint8)
    return whole


def as_map(values: Array) -> Array:
    """Any array as a picture [h, w]: a number as one pixel, a line as a row, a volume by its middle slice."""
    found = np.asarray(values)
    while found.ndim > 2:
        found = found[len(found) // 2]
    return found.reshape(1, -1) if found.ndim < 2 else found


def sections(values: Array) -> Array:
    """Volumes [..., D, H, W] as pictures [..., rows, columns]: the slices through the middle of each axis in a row.

    What stands between and below them is one half, or zero where there are values below it.
    """
    *before, depth, high, wide = values.shape
    parts = (values[..., depth // 2, :, :], values[..., :, high // 2, :], values[..., :, :, wide // 2].swapaxes(-1, -2))
    rows = max(high, depth)
    ground = 0.0 if values.size and np.nanmin(values) < 0 else 0.5
    whole = np.full((*before, rows, 2 * wide + depth + 2), ground, values.dtype)
    left = 0
    for part in parts:
        whole[..., : part.shape[-2], left : left + part.shape[-1]] = part
        left += part.shape[-1] + 1
    return whole


def cubes(
    values: Array, scale: ColourScale, *, mode: str = "light", side: int = 168, turns: int = 1, share: float = 0.25
) -> Pixels:
    """Pictures [turns, side, side, 3] of what in a volume [D, H, W] lies above a share of its scale.

    Several go once around it.
    """
    known = np.asarray(values, np.float64)
    finite = np.isfinite(known)
    size = np.where(finite, np.abs(known) if scale.signed else known, 0)
    solid = ~finite | (size > share * scale.hi)
    look = theme(mode)
    return turning_cubes(
        scale.paint(known, look), solid, side, yaws=[YAW + 2 * np.pi * i / turns for i in range(turns)],
        ground=look.ground, box=look.rule,
    )  # fmt: skip


def as_pixels(values: Array) -> Pixels:
    """Colours [H, W, 3] from 0 to 1 as bytes; what lies outside is clipped."""
    whole: Pixels = np.clip(np.round(np.nan_to_num(values) * 255), 0, 255).astype(np.uint8)
    return whole


def thumbnail(pixels: Pixels, side: int) -> Pixels:
    """A picture whose longer side is at most `side`."""
    most = max(pixels.shape[:2])
    if most <= side:
        return pixels
    size = (max(1, pixels.shape[1] * side // most), max(1, pixels.shape[0] * side // most))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def panels_of(tiles: Sequence[tuple[str, Pixels]]) -> list[Panel]:
    """Named pictures as panels."""
    return [Panel(pixels=pixels, title=name) for name, pixels in tiles]
