"""Charts of many things of one kind: lines of all members of a family, bars, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from epochal.picture.axes import Axes, Box, value_range
from epochal.picture.canvas import Canvas, Line, line
from epochal.picture.charts import Curve
from epochal.picture.frame import Look
from epochal.picture.numbers import nice_ticks, tick_labels
from epochal.picture.text import shorten

__all__ = ["BarsChart", "FamilyChart", "Interval", "IntervalsChart"]

_DASH, _GAP = 5.0, 4.0


def _head(canvas: Canvas, box: Box, look: Look, title: str, subtitle: str) -> Box:
    """The title and the line below it; what is left of the box."""
    u, theme = look.unit, look.theme
    words = shorten(title, 13 * u, box.width - 24 * u)
    canvas.text(box.x + 12 * u, box.y + 22 * u, words, size=13 * u, colour=theme.ink, bold=True)
    below = shorten(subtitle, 12 * u, box.width - 24 * u)
    canvas.text(box.x + 12 * u, box.y + 38 * u, below, size=12 * u, colour=theme.soft)
    top = 46 * u
    return Box(box.x + 4 * u, box.y + top, box.width - 8 * u, box.height - top - 6 * u)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyChart:
    """Curves of many trainings over a common axis, a colour by number for each; those in `dashed` are drawn so."""

    title: str
    curves: Sequence[Curve]
    colours: Sequence[int]
    dashed: Sequence[bool]
    subtitle: str = ""
    x_label: str = "epoch"

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Axes and curves."""
        room = _head(canvas, box, look, self.title, self.subtitle)
        ends = [(float(c.x[0]), float(c.x[-1])) for c in self.curves if len(c.x)] or [(0.0, 1.0)]
        lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
        axes = Axes.within(
            room,
            look,
            x_range=(lo, hi if hi > lo else lo + 1),
            y_range=value_range(*(c.y for c in self.curves)),
            x_label=bool(self.x_label),
        )
        axes.draw(canvas, look, x_label=self.x_label)
        wide = (1.4 if len(self.curves) < 40 else 1.0) * look.unit
        for curve, colour, dashed in zip(self.curves, self.colours, self.dashed, strict=True):
            points = axes.line(curve.x, curve.y)
            shown = dashes(points, _DASH * look.unit, _GAP * look.unit) if dashed else [points]
            canvas.lines(shown, colour=look.theme.lines[colour % len(look.theme.lines)], width=wide)

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """Nothing moves."""


def dashes(points: Line, on: float, off: float) -> list[Line]:
    """A line as strokes of `on` pixels with gaps of `off`."""
    steps = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.empty(0)
    reached = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(steps), steps, 0.0))])
    if reached[-1] <= 0:
        return [points]
    found = []
    for start in np.arange(0.0, reached[-1], on + off):
        end = min(start + on, reached[-1])
        inside = np.flatnonzero((reached > start) & (reached < end))
        at = np.concatenate([[start], reached[inside], [end]])
        found.append(line(np.interp(at, reached, points[:, 0]), np.interp(at, reached, points[:, 1])))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BarsChart:
    """A bar for each value, in their order; a value that is not finite has none. From zero where `zero` says so."""

    title: str
    values: Sequence[float]
    colours: Sequence[int]
    subtitle: str = ""
    zero: bool = True

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Axis and bars."""
        room = _head(canvas, box, look, self.title, self.subtitle)
        values = np.array(self.values, dtype=np.float64)
        lo, hi = value_range(values)
        if self.zero:
            lo, hi = min(0.0, lo), max(0.0, hi)
        count = max(1, len(values))
        axes = Axes.within(room, look, x_range=(0, count), y_range=(lo, hi), x_label=False)
        axes.draw(canvas, look, whole_x=True)
        step = axes.inside.width / count
        gap = min(6 * look.unit, step * 0.2) if step > 4 else 0.0
        foot = float(axes.y(max(lo, min(0.0, hi))))
        for i, (value, colour) in enumerate(zip(values.tolist(), self.colours, strict=True)):
            if not np.isfinite(value):
                continue
            y = float(axes.y(value))
            canvas.rectangle(
                axes.inside.x + i * step + gap / 2,
                min(y, foot),
                max(1.0, step - gap),
                max(1.0, abs(foot - y)),
                fill=look.theme.lines[colour % len(look.theme.lines)],
            )

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """Nothing moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference and where it may lie; without ends where that is not known, without anything where nothing is."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalsChart:
    """Differences one below the other, each with its interval, and a line at zero."""

    title: str
    rows: Sequence[Interval]
    subtitle: str = ""
    unit: str = ""

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Names, intervals, and the axis below."""
        u, theme = look.unit, look.theme
        room = _head(canvas, box, look, self.title, self.subtitle)
        names = min(room.width * 0.45, 260 * u)
        left, right = room.x + names, room.right - 16 * u
        found = [v for row in self.rows for v in (row.value, row.low, row.high) if v is not None]
        lo, hi = min([0.0, *found]), max([0.0, *found])
        pad = (hi - lo) * 0.06 or 0.5
        lo, hi = lo - pad, hi + pad
        bottom = room.bottom - 34 * u

        def x(value: float) -> float:
            return left + (value - lo) / (hi - lo) * (right - left)

        ticks = nice_ticks(lo, hi, count=max(2, round((right - left) / (80 * u))))
        for tick, label in zip(ticks, tick_labels(ticks), strict=True):
            ink = theme.faint if tick == 0 else theme.rule
            canvas.rectangle(round(x(tick)), room.y, 1, bottom - room.y, fill=ink)
            canvas.text(x(tick), bottom + 15 * u, label, size=11 * u, colour=theme.soft, anchor="middle")
        canvas.text(right, bottom + 29 * u, self.unit, size=11 * u, colour=theme.faint, anchor="right")
        step = (bottom - room.y) / max(1, len(self.rows))
        for i, row in enumerate(self.rows):
            y = room.y + (i + 0.5) * step
            words = shorten(row.name, 11 * u, names - 16 * u)
            canvas.text(left - 10 * u, y + 4 * u, words, size=11 * u, colour=theme.ink, anchor="right")
            if row.value is None:
                continue
            colour = theme.lines[2] if row.clear else theme.soft
            if row.low is not None and row.high is not None:
                ends = [line([x(row.low), x(row.high)], [y, y])]
                ends += [line([x(end)] * 2, [y - 4 * u, y + 4 * u]) for end in (row.low, row.high)]
                canvas.lines(ends, colour=colour, width=2 * u)
            canvas.dots(line([x(row.value)], [y]), colour=colour, radius=3.6 * u)

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """Nothing moves."""
