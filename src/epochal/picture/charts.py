"""Line charts: scalars over steps with a moving head, values over units with where they have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture.axes import Axes, Box, thinned, value_range
from epochal.picture.canvas import Canvas, line
from epochal.picture.frame import Look
from epochal.picture.matrices import Stack
from epochal.picture.numbers import number
from epochal.picture.text import shorten, width

Numbers = npt.NDArray[Any]
_MOST_PAST = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A named line over steps."""

    name: str
    x: Numbers
    y: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveChart:
    """Curves over a common x axis; `cuts` holds where the head stands at each frame, None draws them whole."""

    title: str
    curves: Sequence[Curve]
    x_label: str = "step"
    cuts: Numbers | None = None
    subtitle: str = ""

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Axes, legend, and the curves: quiet where a head will run over them."""
        axes = self._axes(box, look)
        axes.draw(canvas, look, x_label=self.x_label)
        self._head(canvas, box, look)
        for i, curve in enumerate(self.curves):
            x, y = thinned(curve.x, curve.y, max(32, round(axes.inside.width)))
            colour = look.theme.past if self.cuts is not None else look.theme.lines[i % len(look.theme.lines)]
            canvas.lines([axes.line(x, y)], colour=colour, width=1.6 * look.unit)

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """The curves up to the head, and what they are there."""
        if self.cuts is None:
            return
        axes = self._axes(box, look)
        u, cut = look.unit, float(self.cuts[index])
        x = round(float(axes.x(cut)))
        canvas.rectangle(x, axes.inside.y, max(1, round(u)), axes.inside.height, fill=look.theme.head)
        values = []
        for i, curve in enumerate(self.curves):
            n = int(np.searchsorted(curve.x, cut, side="right"))
            values.append(number(float(curve.y[n - 1])) if n else "")
            if n:
                shown = thinned(curve.x[:n], curve.y[:n], max(32, round(axes.inside.width)))
                colour = look.theme.lines[i % len(look.theme.lines)]
                canvas.lines([axes.line(*shown)], colour=colour, width=1.6 * u)
                canvas.dots(axes.line(curve.x[n - 1 : n], curve.y[n - 1 : n]), colour=colour, radius=3 * u)
        self._legend(canvas, box, look, values)

    def _axes(self, box: Box, look: Look) -> Axes:
        top = round((64 if self.subtitle else 48) * look.unit)
        room = Box(box.x + 4 * look.unit, box.y + top, box.width - 8 * look.unit, box.height - top - 6 * look.unit)
        ends = [(float(c.x[0]), float(c.x[-1])) for c in self.curves if len(c.x)] or [(0.0, 1.0)]
        lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
        return Axes.within(
            room,
            look,
            x_range=(lo, hi if hi > lo else lo + 1),
            y_range=value_range(*(c.y for c in self.curves)),
            x_label=bool(self.x_label),
        )

    def _head(self, canvas: Canvas, box: Box, look: Look) -> None:
        u, theme = look.unit, look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        gaps = sum(int((~np.isfinite(c.y)).sum()) for c in self.curves)
        if gaps:
            words = f"{gaps:,} not finite" + (" (gap)" if gaps == 1 else " (gaps)")
            canvas.text(box.right - 12 * u, box.y + 22 * u, words, size=11 * u, colour=theme.head, anchor="right")
        canvas.text(box.x + 12 * u, box.y + 38 * u, self.subtitle, size=12 * u, colour=theme.soft)
        if self.cuts is None:
            last = [number(float(c.y[-1])) if len(c.y) else "" for c in self.curves]
            self._legend(canvas, box, look, last)

    def _legend(self, canvas: Canvas, box: Box, look: Look, values: Sequence[str]) -> None:
        """Name and value of each curve in a row, each value in a column of fixed width so that nothing jumps."""
        u = look.unit
        x, y = box.x + 12 * u, box.y + (54 if self.subtitle else 40) * u
        for i, (curve, value) in enumerate(zip(self.curves, values, strict=True)):
            name = shorten(curve.name, 11 * u, 150 * u)
            room = max(width(value, 11 * u), width("0.0000", 11 * u)) * 1.06
            needed = 20 * u + width(name, 11 * u) * 1.06 + room
            if x + needed > box.right - 4 * u and i:
                canvas.text(x, y, f"+{len(values) - i} more", size=11 * u, colour=look.theme.faint)
                return
            colour = look.theme.lines[i % len(look.theme.lines)]
            canvas.lines([line([x, x + 9 * u], [y - 4 * u] * 2)], colour=colour, width=2 * u)
            x += 14 * u
            canvas.text(x, y, name, size=11 * u, colour=look.theme.soft)
            x += width(name, 11 * u) * 1.06 + 6 * u
            canvas.text(x, y, value, size=11 * u, colour=look.theme.ink)
            x += room + 12 * u


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitChart:
    """Values [T, units] as a line over units at one frame, with earlier frames in grey; one y range for all."""

    title: str
    values: Stack
    y_range: tuple[float, float]
    subtitle: str = ""
    x_label: str = "unit"
    colour: int = 0

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Axes and title."""
        u, theme = look.unit, look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        canvas.text(box.x + 12 * u, box.y + 38 * u, self.subtitle, size=12 * u, colour=theme.soft)
        self._axes(box, look).draw(canvas, look, x_label=self.x_label)

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """Up to 24 earlier lines in grey, then the line of this frame."""
        axes, u = self._axes(box, look), look.unit
        units = np.arange(1, self.values.shape[1] + 1)
        past = np.unique(np.linspace(0, max(0, index - 1), min(index, _MOST_PAST)).astype(int))
        canvas.lines([axes.line(units, self.values[i]) for i in past], colour=look.theme.past, width=max(1, u))
        now = axes.line(units, self.values[index])
        colour = look.theme.lines[self.colour % len(look.theme.lines)]
        canvas.lines([now], colour=colour, width=1.7 * u)
        if len(units) <= 48:
            canvas.dots(now, colour=colour, radius=2.4 * u)

    def _axes(self, box: Box, look: Look) -> Axes:
        top = round(46 * look.unit)
        room = Box(box.x + 4 * look.unit, box.y + top, box.width - 8 * look.unit, box.height - top - 6 * look.unit)
        n = self.values.shape[1]
        ends = (1.0, float(n)) if n > 1 else (0.5, 1.5)
        return Axes.within(room, look, x_range=ends, y_range=self.y_range, x_label=bool(self.x_label))
