"""How a tensor's values spread through time: a heat map over steps, and the histogram at one step beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture.axes import Axes, Box
from epochal.picture.canvas import Canvas
from epochal.picture.colours import table
from epochal.picture.frame import Look
from epochal.picture.numbers import compact
from epochal.picture.scale import ColourScale
from epochal.picture.text import shorten
from epochal.picture.theme import Theme

Numbers = npt.NDArray[Any]
_ROWS = 160


@dataclass(frozen=True)
class SpreadChart:
    """Histograms `counts` [T, bins] between `edges` [T, 2] at `steps` [T]; `shown` says which row each frame shows.

    Rows of the heat map are equal stretches of value; its colours say how densely the tensor's values lie there, from
    0 to 1, where 1 is what only the densest tenth of all its places exceeds: so a tensor of three values and one
    of a million both show where theirs are. A step without finite values stays empty.
    """

    title: str
    steps: Numbers
    counts: Numbers
    edges: Numbers
    shown: Numbers
    scale: ColourScale
    subtitle: str = ""

    @cached_property
    def _limits(self) -> tuple[float, float]:
        return value_limits(self.edges)

    @cached_property
    def _peak(self) -> float:
        return dense_share(self.counts, self.edges)

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Title, axes and heat map."""
        u, theme = look.unit, look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        canvas.text(box.x + 12 * u, box.y + 38 * u, self.subtitle, size=12 * u, colour=theme.soft)
        axes = self._axes(box, look)
        columns, rows = int(axes.inside.width), int(axes.inside.height)
        painted = self.scale.paint(self.heat(columns, rows) * (rows / _ROWS / self._peak), theme)
        axes.draw(canvas, look, x_label="step")
        canvas.cells(round(axes.inside.x), round(axes.inside.y), painted, cell=(1, 1), gap=0, ground=theme.panel)

    def heat(self, columns: int, rows: int) -> Numbers:
        """Density [rows, columns]: the share of the values in each row of the picture, large values above."""
        lo, hi = self._limits
        at = (
            np.linspace(self.steps[0], self.steps[-1], columns)
            if len(self.steps) > 1
            else np.full(columns, self.steps[0])
        )
        middles = (self.steps[1:] + self.steps[:-1]) / 2
        return shares(self.counts, self.edges, np.linspace(hi, lo, rows), (hi - lo) / rows)[
            :, np.searchsorted(middles, at)
        ]

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """A mark at the step, and the histogram there."""
        u, theme, row = look.unit, look.theme, int(self.shown[index])
        axes = self._axes(box, look)
        x = round(float(axes.x(self.steps[row])))
        canvas.rectangle(x, axes.inside.y, max(1, round(u)), axes.inside.height, fill=theme.head)
        left = axes.inside.right + 14 * u
        room = box.right - 12 * u - left
        counts, (lo, hi) = self.counts[row].astype(np.float64), self.edges[row]
        if counts.sum() == 0 or not hi > lo:
            canvas.text(left, axes.inside.y + 14 * u, "no finite value", size=11 * u, colour=theme.faint)
            return
        # Bars are as long as their density, so that the area says how many values there are.
        bins = np.linspace(lo, hi, len(counts) + 1)
        y = axes.y(bins)
        longest = counts.max()
        for i in np.flatnonzero(counts):
            high = max(1.0, y[i] - y[i + 1])
            canvas.rectangle(left, y[i + 1], max(1.0, counts[i] / longest * room), high, fill=theme.lines[0])
        words = f"{int(counts.sum()):,} values, {compact(float(lo))} to {compact(float(hi))}"
        words = shorten(words, 11 * u, box.width * 0.5)
        canvas.text(box.right - 12 * u, box.y + 38 * u, words, size=11 * u, colour=theme.soft, anchor="right")

    def _axes(self, box: Box, look: Look) -> Axes:
        u = look.unit
        top, side = round(46 * u), round(min(110 * u, box.width * 0.26))
        room = Box(box.x + 4 * u, box.y + top, box.width - side - 12 * u, box.height - top - 6 * u)
        first, last = float(self.steps[0]), float(self.steps[-1])
        return Axes.within(
            room, look, x_range=(first, last if last > first else first + 1), y_range=self._limits, x_label=True
        )


def value_limits(edges: Numbers) -> tuple[float, float]:
    """The smallest lower and the largest upper edge of rows that have any."""
    good = np.isfinite(edges).all(axis=1)
    if not good.any():
        return 0.0, 1.0
    lo, hi = float(edges[good, 0].min()), float(edges[good, 1].max())
    return (lo, hi) if hi > lo else (lo - 0.5, hi + 0.5)


def shares(counts: Numbers, edges: Numbers, values: Numbers, height: float) -> Numbers:
    """Share of a row's values in a stretch of length `height` around each of `values`: [values, T].

    Inside a bin the values are taken to lie evenly, so that nothing is lost where bins are finer than pixels.
    """
    bins = counts.shape[1]
    total = np.maximum(counts.sum(axis=1), 1)
    below = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1) / total[:, None]
    column = np.arange(len(counts))[None]

    def up_to(limits: Numbers) -> Numbers:
        with np.errstate(invalid="ignore", divide="ignore"):
            place = (limits[:, None] - edges[None, :, 0]) / (edges[:, 1] - edges[:, 0])[None] * bins
        place = np.clip(np.nan_to_num(place, nan=0.0, posinf=0.0, neginf=0.0), 0, bins)
        whole = np.minimum(place.astype(int), bins - 1)
        part = place - whole
        reached: Numbers = below[column, whole] * (1 - part) + below[column, whole + 1] * part
        return reached

    found: Numbers = np.maximum(0.0, up_to(values + height / 2) - up_to(values - height / 2))
    return found


def density_scale(cmap: str, theme: Theme) -> ColourScale:
    """The scale of spread charts, each tensor by itself."""
    label = "how densely the values lie, each tensor by itself"
    return ColourScale(lo=0.0, hi=1.0, colours=table(cmap, theme.name), signed=False, label=label, clipped=True)


def dense_share(counts: Numbers, edges: Numbers) -> float:
    """The share that only the densest tenth of the places of a heat map of 160 rows exceeds."""
    lo, hi = value_limits(edges)
    high = (hi - lo) / _ROWS
    some = np.unique(np.linspace(0, len(counts) - 1, min(len(counts), 400)).astype(int))
    picked = shares(counts[some], edges[some], hi - high * (np.arange(_ROWS) + 0.5), high)
    found = picked[picked > 0]
    return float(np.quantile(found, 0.9)) if found.size else 1.0
