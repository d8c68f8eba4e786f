"""A plot's frame: ranges, ticks, labels, and where a value lies in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture.canvas import Canvas, Line, line
from epochal.picture.frame import Look
from epochal.picture.numbers import nice_ticks, tick_labels


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right end."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Its lower end."""
        return self.y + self.height


_FARTHEST = 8e307
"""Values beyond are drawn here: the span of an axis must itself be a number."""


def value_range(*values: npt.NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite value of all arrays, widened a little; (0, 1) where there is none."""
    lows, highs = [], []
    for array in values:
        finite = array[np.isfinite(array)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        return 0.0, 1.0
    lo, hi = max(min(lows), -_FARTHEST), min(max(highs), _FARTHEST)
    if lo == hi:
        pad = abs(lo) * 0.1 or 0.5
        return lo - pad, hi + pad
    pad = (hi - lo) * 0.04
    # A curve that never goes below zero keeps zero as its floor when it comes near it.
    return (0.0 if 0 <= lo < (hi - lo) * 0.25 else lo - pad), hi + pad


@dataclass(frozen=True, slots=True)
class Axes:
    """The inside of a plot and the values at its edges."""

    inside: Box
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @classmethod
    def within(
        cls, box: Box, look: Look, *, x_range: tuple[float, float], y_range: tuple[float, float], x_label: bool
    ) -> Axes:
        """Axes that leave room in `box` for tick labels, and for a label below where asked."""
        u = look.unit
        left, below = round(46 * u), round((32 if x_label else 20) * u)
        inside = Box(box.x + left, box.y + round(6 * u), box.width - left - round(8 * u), box.height - below - 6 * u)
        return cls(inside, x_range, y_range)

    def x(self, values: Any) -> npt.NDArray[np.float64]:
        """Pixels from left of values."""
        lo, hi = self.x_range
        return self.inside.x + (np.asarray(values, np.float64) - lo) / ((hi - lo) or 1) * self.inside.width

    def y(self, values: Any) -> npt.NDArray[np.float64]:
        """Pixels from above of values; those that are not finite become NaN, a gap."""
        lo, hi = self.y_range
        numbers = np.asarray(values, np.float64)
        numbers = np.clip(np.where(np.isfinite(numbers), numbers, np.nan), -_FARTHEST, _FARTHEST)
        return self.inside.bottom - (numbers - lo) / ((hi - lo) or 1) * self.inside.height

    def line(self, x: Any, y: Any) -> Line:
        """A line through values, in pixels."""
        return line(self.x(x), self.y(y))

    def draw(self, canvas: Canvas, look: Look, *, x_label: str = "", whole_x: bool = True) -> None:
        """Quiet rules at round values with their numbers, and the name of the x axis."""
        u, theme = look.unit, look.theme
        size = 11 * u
        ticks = nice_ticks(*self.y_range, count=max(2, round(self.inside.height / (44 * u))))
        for tick, label in zip(ticks, tick_labels(ticks), strict=True):
            y = float(self.y(tick))
            ink = theme.rule if tick or self.y_range[0] >= 0 else theme.faint
            canvas.rectangle(self.inside.x, round(y), self.inside.width, 1, fill=ink)
            canvas.text(self.inside.x - 8 * u, y + 4 * u, label, size=size, colour=theme.soft, anchor="right")
        ticks = nice_ticks(*self.x_range, count=max(2, round(self.inside.width / (72 * u))))
        if whole_x:
            ticks = [t for t in ticks if t == math.floor(t)]
        for tick, label in zip(ticks, tick_labels(ticks), strict=True):
            x = float(self.x(tick))
            canvas.rectangle(round(x), self.inside.bottom, 1, round(4 * u), fill=theme.rule)
            canvas.text(x, self.inside.bottom + 16 * u, label, size=size, colour=theme.soft, anchor="middle")
        if x_label:
            middle = self.inside.x + self.inside.width / 2
            canvas.text(middle, self.inside.bottom + 29 * u, x_label, size=size, colour=theme.faint, anchor="middle")


def thinned(x: npt.NDArray[Any], y: npt.NDArray[Any], columns: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Of a long line, for each of `columns` stretches the first, lowest, highest and last point, and one gap where
    the stretch has values that are not finite: what a plot of that width can show, no peak lost."""
    if len(x) <= 6 * columns:
        return x, y
    edges = np.linspace(0, len(x), columns + 1).astype(int)
    kept: list[int] = []
    for a, b in pairwise(edges.tolist()):
        part = y[a:b]
        finite = np.isfinite(part)
        if not finite.all():
            kept.append(a + int(np.argmin(finite)))
        if finite.any():
            kept += [a, b - 1, a + int(np.nanargmin(np.where(finite, part, np.nan)))]
            kept.append(a + int(np.nanargmax(np.where(finite, part, np.nan))))
    places = np.unique(kept)
    return x[places], y[places]
