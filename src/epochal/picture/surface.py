"""A surface over a plane: colours, contours, and a path that runs over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture.axes import Axes, Box
from epochal.picture.canvas import Canvas, Line, line
from epochal.picture.frame import Look
from epochal.picture.matrices import Stack
from epochal.picture.scale import ColourScale
from epochal.picture.text import shorten

__all__ = ["Surface", "contours"]

Numbers = npt.NDArray[Any]
_LEVELS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Heights [T, rows, columns] over places `x` [columns] and `y` [rows], which grow; NaN where not known.

    `path` [P, 2] are places (x, y) in the order in which they were visited; `heads` [T] says which of them a frame
    stands at: those before it are drawn as a line, those behind it lightly.
    """

    title: str
    values: Stack
    x: Numbers
    y: Numbers
    scale: ColourScale
    path: Numbers | None = None
    heads: Numbers | None = None
    x_label: str = ""
    y_label: str = ""

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Title and axes."""
        u, theme = look.unit, look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        canvas.text(box.x + 12 * u, box.y + 38 * u, self.y_label, size=11 * u, colour=theme.faint)
        self._axes(box, look).draw(canvas, look, x_label=self.x_label, whole_x=False)

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """The colours, contours over them, and the path."""
        axes, u, theme = self._axes(box, look), look.unit, look.theme
        heights = np.asarray(self.values[index], np.float64)
        inside = axes.inside
        size = (max(1, round(inside.width)), max(1, round(inside.height)))
        painted = self.scale.paint(_sampled(heights, size)[::-1], theme)
        canvas.cells(round(inside.x), round(inside.y), painted, cell=(1, 1), gap=0, ground=theme.panel)
        levels = np.linspace(self.scale.lo, self.scale.hi, _LEVELS + 2)[1:-1]
        for level in levels.tolist():
            found = [axes.line(piece[:, 0], piece[:, 1]) for piece in contours(heights, self.x, self.y, level)]
            canvas.lines(found, colour=theme.past if theme.name == "light" else theme.faint, width=max(0.7, 0.8 * u))
        if self.path is None:
            return
        head = len(self.path) - 1 if self.heads is None else int(self.heads[index])
        points = axes.line(self.path[:, 0], self.path[:, 1])
        if head + 1 < len(points):
            canvas.lines([points[head:]], colour=theme.faint, width=1.2 * u)
        if head >= 0:
            canvas.lines([points[: head + 1]], colour=(255, 255, 255), width=3.2 * u)
            canvas.lines([points[: head + 1]], colour=theme.head, width=1.8 * u)
            canvas.dots(points[: head + 1], colour=theme.head, radius=2 * u)
            canvas.dots(points[head : head + 1], colour=(255, 255, 255), radius=5.5 * u)
            canvas.dots(points[head : head + 1], colour=theme.head, radius=4 * u)

    def _axes(self, box: Box, look: Look) -> Axes:
        top = round(46 * look.unit)
        room = Box(box.x + 4 * look.unit, box.y + top, box.width - 8 * look.unit, box.height - top - 6 * look.unit)
        ends = [(float(v[0]), float(v[-1])) if len(v) > 1 else (v[0] - 1.0, v[0] + 1.0) for v in (self.x, self.y)]
        return Axes.within(room, look, x_range=ends[0], y_range=ends[1], x_label=bool(self.x_label))


def contours(heights: Numbers, x: Numbers, y: Numbers, level: float) -> list[Line]:
    """The lines at which a surface [rows, columns] has a height, as pieces [2, 2]: one for each half of a cell."""
    rows, columns = heights.shape
    pieces: list[Line] = []
    for i in range(rows - 1):
        for j in range(columns - 1):
            corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
            if not np.isfinite([heights[c] for c in corners]).all():
                continue
            for triangle in ((0, 1, 2), (0, 2, 3)):
                ends = []
                for one, other in ((0, 1), (1, 2), (2, 0)):
                    p, q = corners[triangle[one]], corners[triangle[other]]
                    low, high = heights[p] - level, heights[q] - level
                    if (low < 0) != (high < 0):
                        t = low / (low - high)
                        ends.append((x[p[1]] + t * (x[q[1]] - x[p[1]]), y[p[0]] + t * (y[q[0]] - y[p[0]])))
                if len(ends) == 2:
                    pieces.append(line([ends[0][0], ends[1][0]], [ends[0][1], ends[1][1]]))
    return pieces


def _sampled(heights: Numbers, size: tuple[int, int]) -> Numbers:
    """A surface whose corners lie at its edges, between its places by straight lines: [size[1], size[0]]."""
    found = heights
    for axis, count in ((0, size[1]), (1, size[0])):
        n = found.shape[axis]
        at = np.linspace(0, n - 1, count)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        part = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        with np.errstate(invalid="ignore"):
            near = found.take(np.where(at - low < 0.5, low, high), axis)
            mixed = found.take(low, axis) * (1 - part) + found.take(high, axis) * part
        # Beside a place that is not known, the nearest one that is.
        found = np.where(np.isfinite(mixed), mixed, near)
    return found
