"""Films as scenes: which picture suits which shape."""

from __future__ import annotations

from math import isqrt
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import PictureError, UsageError
from epochal.film.film import Film
from epochal.film.words import captions
from epochal.picture import (
    DIVERGING,
    INTENSITY,
    ColourScale,
    Curve,
    CurveChart,
    GridScene,
    MatricesScene,
    Matrix,
    PixelsScene,
    Scene,
    SpreadChart,
    Theme,
    UnitChart,
    VoxelsScene,
    limit_of,
    table,
    tiles,
)
from epochal.picture.axes import value_range
from epochal.picture.spread import density_scale
from epochal.picture.voxels import SHARE

SMALLEST, LARGEST = 120, 8192
VOXELS = ("slice", "row", "column")
"""The axes of a film that is drawn as cubes."""


def parse_size(size: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """Width and height of `800x600` or (800, 600); None stands for as large as needed."""
    if size is None:
        return None
    if isinstance(size, str):
        wide, cross, high = size.lower().replace("×", "x").partition("x")
        if not (cross and wide.strip().isascii() and wide.strip().isdigit() and high.strip().isdigit()):
            raise UsageError(f"The size {size!r} cannot be read.", hint="Write width x height in pixels: 800x600.")
        size = (int(wide), int(high))
    elif not (isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, Integral) for side in size)):
        raise UsageError(f"The size {size!r} cannot be read.", hint="Give (width, height) or '800x600'.")
    width, height = size
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise UsageError(
            f"The size {width}x{height} is out of range.", hint=f"Each side: {SMALLEST} to {LARGEST} pixels."
        )
    return int(width), int(height)


def scene(
    film: Film,
    *,
    theme: Theme,
    size: tuple[int, int] | None,
    cmap: str | None,
    moving: bool,
    threshold: float | None = None,
) -> Scene:
    """The scene of a film; `moving` says whether it will be played, and of voxels `threshold` which are drawn."""
    if not len(film):
        raise PictureError(f"The film {film.name!r} is empty: there is nothing to draw.")
    shape = film.frames.shape[1:]
    if film.kind == "histogram":
        return _spread(film, theme, size, cmap)
    if 0 in shape:
        raise PictureError(f"The frames of the film {film.name!r} have shape {shape}: there is nothing to draw.")
    if film.kind == "image" and cmap is None:
        said = captions(film.steps, film.epochs)
        return PixelsScene(pixels=film.frames, theme=theme, title=film.name, captions=said, wanted=size)
    if len(shape) == 0:
        return _curve(film, theme, size, moving=moving)
    if len(shape) == 1:
        return _units(film, theme, size)
    if film.axes in (VOXELS, (*VOXELS, "channel")):
        return _voxels(film, theme, size, cmap, moving=moving, threshold=threshold)
    if len(shape) > 5:
        raise PictureError(f"Frames of {len(shape)} dimensions cannot be drawn.", hint="Save as .npz instead.")
    return _matrix(film, theme, size, cmap)


def scale_for(values: list[npt.NDArray[Any]], *, cmap: str | None, theme: Theme, label: str) -> ColourScale:
    """One scale for all values: symmetric for the diverging map, from smallest to largest for the others."""
    chosen = cmap or DIVERGING
    if chosen == DIVERGING:
        limit = max((limit_of(v) for v in values), default=0.0)
        return ColourScale.symmetric(limit, cmap=chosen, theme=theme, label=label)
    lows = [float(v[np.isfinite(v)].min()) for v in values if np.isfinite(v).any()]
    highs = [float(v[np.isfinite(v)].max()) for v in values if np.isfinite(v).any()]
    lo, hi = min(lows, default=0.0), max(highs, default=1.0)
    return ColourScale(lo=lo, hi=hi, colours=table(chosen, theme.name), signed=False, label=label)


def not_finite(*arrays: npt.NDArray[Any]) -> str:
    """`3 values not finite`, empty when all are."""
    count = sum(int((~np.isfinite(a)).sum()) for a in arrays)
    return f"{count:,} value{'s' if count > 1 else ''} not finite" if count else ""


def _curve(film: Film, theme: Theme, size: tuple[int, int] | None, *, moving: bool) -> Scene:
    chart = CurveChart(
        title=film.name,
        curves=[Curve(name=film.name, x=film.steps, y=film.frames.astype(np.float64))],
        cuts=film.steps if moving else None,
    )
    said = captions(film.steps, film.epochs)
    shown = said if moving else [""]
    return GridScene(charts=[chart], theme=theme, title=film.name, captions=shown, wanted=size, card=(560, 300))


def _units(film: Film, theme: Theme, size: tuple[int, int] | None) -> Scene:
    values = film.frames.astype(np.float64)
    chart = UnitChart(
        title=film.axes[0] if film.axes else "values",
        subtitle=f"{values.shape[1]:,} values; grey: where they have been",
        values=values,
        y_range=value_range(values),
        x_label=film.axes[0] if film.axes else "unit",
    )
    return GridScene(
        charts=[chart],
        theme=theme,
        title=film.name,
        captions=captions(film.steps, film.epochs),
        wanted=size,
        card=(640, 320),
        note=not_finite(values),
    )


_DOWN = ("unit", "output", "input", "tap", "slice", "row", "column")
"""Axes in the order in which they are drawn: one row for each unit."""


def _matrix(film: Film, theme: Theme, size: tuple[int, int] | None, cmap: str | None) -> Scene:
    frames = film.frames
    words = film.axes or (("unit", "input") if frames.ndim == 3 else ())
    if words and set(words) <= set(_DOWN):
        order = sorted(range(len(words)), key=lambda axis: _DOWN.index(words[axis]))
        frames = frames.transpose(0, *(axis + 1 for axis in order))
        words = tuple(words[axis] for axis in order)
    values, holes = (frames, None) if frames.ndim == 3 else tiles(_pictures(frames, words))
    shape = "×".join(map(str, frames.shape[1:]))
    matrix = Matrix(
        title=" × ".join(words) if words else "tiles", subtitle=shape.replace("×", " × "), values=values, holes=holes
    )
    label = film.units or ("change" if film.kind == "change" else "value")
    return MatricesScene(
        matrices=[matrix],
        scale=scale_for([film.frames], cmap=cmap, theme=theme, label=label),
        theme=theme,
        title=film.name,
        captions=captions(film.steps, film.epochs),
        wanted=size,
        note=not_finite(film.frames),
    )


def _pictures(frames: npt.NDArray[Any], words: tuple[str, ...]) -> npt.NDArray[Any]:
    """One picture for each output in a grid [T, down, across, h, w], where that is what the axes say."""
    if words == ("output", "input", "row", "column") and frames.shape[2] == 1:
        frames = frames[:, :, 0]
    elif words != ("output", "row", "column"):
        return frames
    count = frames.shape[1]
    down = max(d for d in range(1, isqrt(count) + 1) if count % d == 0)
    return frames.reshape(len(frames), down, count // down, *frames.shape[2:])


def _voxels(
    film: Film, theme: Theme, size: tuple[int, int] | None, cmap: str | None, *, moving: bool, threshold: float | None
) -> Scene:
    values = film.frames
    if values.ndim == 5 and values.shape[-1] == 1:
        values = values[..., 0]
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    signed = values.ndim == 4 and finite.size > 0 and bool(finite.min() < 0)
    top = float(finite.max()) if finite.size else 0.0
    if signed:
        scale = scale_for([values], cmap=cmap, theme=theme, label=film.units or "value")
    else:
        chosen = table(cmap or "viridis", theme.name)
        scale = ColourScale(
            lo=0.0, hi=top if top > 0 else 1.0, colours=chosen, signed=False, label=film.units or "value"
        )
    usual = 0.0 if values.dtype == np.bool_ else SHARE * scale.hi
    return VoxelsScene(
        values=values,
        scale=scale,
        theme=theme,
        title=film.name,
        captions=captions(film.steps, film.epochs),
        threshold=usual if threshold is None else threshold,
        turning=moving,
        wanted=size,
        note=not_finite(values) if values.ndim == 4 else "",
    )


def _spread(film: Film, theme: Theme, size: tuple[int, int] | None, cmap: str | None) -> Scene:
    if film.edges is None:
        raise PictureError(f"The film {film.name!r} is a histogram without edges.")
    scale = density_scale(cmap or INTENSITY, theme)
    chart = SpreadChart(film.name, film.steps, film.frames, film.edges, np.arange(len(film)), scale)
    return GridScene(
        charts=[chart],
        theme=theme,
        title=film.name,
        captions=captions(film.steps, film.epochs),
        wanted=size,
        card=(640, 320),
        scale=scale,
    )
