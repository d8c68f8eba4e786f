"""What was found of a loss landscape: losses over places, and the path of a training over them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.film import Film
from epochal.picture import ColourScale, Curve, CurveChart, GridScene, Surface, table, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "PATH_CITATION", "Landscape"]

Array = npt.NDArray[Any]

CITATION = "Loss along random directions, normalised filter by filter (Li et al. 2018)"
PATH_CITATION = "Loss on the plane of the training's principal components (Li et al. 2018)"
_SHOWN = 0.95
_MOVIES = (".gif", ".mp4")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landscape:
    """The mean loss over places around a network's parameters: `array` [y, x], or [x] along one direction.

    The network itself lies at (0, 0); `centre` is its loss. `accuracy` is the share of right answers at the same
    places, None where examples have no classes. NaN stands where nothing was found yet. With a training's path,
    `path` [P, 2] holds where the snapshots `path_steps` lie in the plane, `path_losses` [P] the loss of each with all
    of its own parameters, and `variance` [2] the share of the snapshots' variance that lies along each direction.
    """

    array: Array
    x: Array
    y: Array | None
    centre: float
    loss: str
    accuracy: Array | None = None
    path: Array | None = None
    path_steps: tuple[int, ...] = ()
    path_losses: Array | None = None
    variance: Array | None = None
    caption: str = CITATION
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None

    def sealed(self) -> Landscape:
        """The same, closed to writing."""
        for array in (self.array, self.x, self.y, self.accuracy, self.path, self.path_losses, self.variance):
            if array is not None:
                array.flags.writeable = False
        return self

    @property
    def filled(self) -> Array:
        """The losses with the nearest known one where nothing was found yet."""
        known = np.isfinite(self.array)
        if known.all() or not known.any():
            return np.array(self.array)
        # Rows without any are those of the nearest row that has some.
        if self.array.ndim == 1:
            return np.array(_nearest(self.array[None])[0])
        rows = np.flatnonzero(known.any(axis=1))
        nearest = rows[np.abs(np.arange(len(known))[:, None] - rows).argmin(axis=1)]
        return np.array(_nearest(self.array)[nearest])

    def film(self) -> Film:
        """The losses as a film of one frame."""
        axes = ("place",) if self.array.ndim == 1 else ("row", "column")
        return Film("loss landscape", [self.step or 0], self.array[None], axes=axes, units=self.loss)

    def scene(
        self, *, mode: str = "light", size: tuple[int, int] | None = None, title: str = "", beside: Any = None,
        moving: bool = False,
    ) -> GridScene:  # fmt: skip
        """The losses as colours with contours, the path over them; along one direction as a curve.

        With `moving` there is a frame for each snapshot of the path; `beside` are several landscapes with captions.
        """
        results, captions = beside or ([self], ["" if self.step is None else f"step {self.step:,}"])
        heads = None
        if moving and self.path is not None:
            results, captions = [self] * len(self.path), [f"step {step:,}" for step in self.path_steps]
            heads = np.arange(len(self.path))
        share = "" if self.variance is None else f", {self.variance.sum():.1%} of variance"
        name = title or f"Loss landscape{share}"
        if self.y is None:
            curves = [Curve(name=self.loss, x=self.x, y=self.array)]
            if self.accuracy is not None:
                curves.append(Curve(name="accuracy", x=self.x, y=self.accuracy))
            chart: Any = CurveChart(title=self.loss, curves=curves, x_label="along the direction")
            return GridScene(
                charts=[chart], theme=theme(mode), title=name, captions=captions[-1:], wanted=size, card=(640, 360),
                note=self.caption, columns=1,
            )  # fmt: skip
        scale = self._scale(results, mode)
        words = ("first direction", "second direction")
        if self.variance is not None:
            words = (f"first component, {self.variance[0]:.1%}", f"second component, {self.variance[1]:.1%}")
        heights = np.stack([one.filled for one in results]) if heads is None else _repeated(self.filled, len(results))
        chart = Surface(
            title=f"{self.loss}, {self.centre:.4g} at the middle" if self.path is None else self.loss,
            values=heights,
            x=self.x, y=self.y, scale=scale, path=self.path, heads=heads, x_label=words[0], y_label=words[1],
        )  # fmt: skip
        return GridScene(
            charts=[chart], theme=theme(mode), title=name, captions=captions, wanted=size, card=(640, 560), scale=scale,
            note=self.caption, columns=1,
        )  # fmt: skip

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        theme: str = "light",
        size: tuple[int, int] | None = None,
        fps: float = 6.0,
    ) -> Path:
        """Write it as a .png or .svg picture, the path as it grows as .gif or .mp4; .npz and .csv hold the losses."""
        suffix = Path(path).suffix.lower()
        if suffix in (".npz", ".csv"):
            return self.film().save(path)
        return save_scene(self.scene(mode=theme, size=size, moving=suffix in _MOVIES), path, fps=fps)

    def _scale(self, results: Sequence[Landscape], mode: str) -> ColourScale:
        known = np.concatenate([one.array[np.isfinite(one.array)] for one in results])
        low = float(known.min()) if known.size else 0.0
        most = float(known.max()) if known.size else 1.0
        high = float(np.quantile(known, _SHOWN)) if known.size else 1.0
        if self.path_losses is not None:
            high = max(high, min(most, float(np.nanmax(self.path_losses))))
        high = high if high > low else low + 1
        return ColourScale(lo=low, hi=high, colours=table("viridis", mode), signed=False, clipped=high < most)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.array.shape))
        share = "" if self.variance is None else f", {self.variance.sum():.1%} of variance"
        return f"<Landscape of the {self.loss}, {shape}, {self.centre:.4g} at the middle{share}>"


def _repeated(values: Array, count: int) -> Array:
    """The same for all frames, held once."""
    return np.broadcast_to(values, (count, *values.shape))


def _nearest(values: Array) -> Array:
    """Rows with the nearest known value of the row where one is not known."""
    found = np.array(values)
    for row in found:
        known = np.flatnonzero(np.isfinite(row))
        if known.size:
            row[:] = row[known[np.abs(np.arange(len(row))[:, None] - known).argmin(axis=1)]]
    return found
