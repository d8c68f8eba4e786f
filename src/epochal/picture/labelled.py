"""Charts of named things: a matrix with names at its sides, bars with names before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from epochal.picture.axes import Box
from epochal.picture.canvas import Canvas, line
from epochal.picture.frame import Look
from epochal.picture.matrices import Stack
from epochal.picture.numbers import number
from epochal.picture.scale import ColourScale
from epochal.picture.text import shorten, width

_LARGEST, _SMALLEST = 26, 3
_LETTERS = 11
_NAMES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledMatrix:
    """Values [T, rows, columns] as cells of one scale; rows are named on the left, columns by number below."""

    title: str
    values: Stack
    rows: Sequence[str]
    columns: Sequence[str]
    scale: ColourScale

    @property
    def natural(self) -> tuple[int, int]:
        """How large a card it takes where nobody says how large it may be."""
        cell = self._cell_at_most(520)
        side = self._names(1.0)
        return max(420, round(len(self.columns) * cell + side + 40)), max(200, len(self.rows) * cell + 88)

    def _cell_at_most(self, room: float) -> int:
        return max(_SMALLEST, min(_LARGEST, int(room / max(len(self.rows), len(self.columns), 1))))

    def _names(self, u: float) -> float:
        """The room that the names of rows take."""
        longest = max((width(name, _LETTERS * u) for name in self.rows), default=0.0)
        return min(longest * 1.06, _NAMES * u) + 12 * u

    def _place(self, box: Box, look: Look) -> tuple[float, float, float, int]:
        u = look.unit
        left, top = box.x + 12 * u + self._names(u), box.y + 34 * u
        room = (box.right - 12 * u - left, box.bottom - 30 * u - top)
        cell = max(1, min(int(room[0] / max(1, len(self.columns))), int(room[1] / max(1, len(self.rows)))))
        return left, top, u, cell

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Title and names, as many as there is room for."""
        left, top, u, cell = self._place(box, look)
        theme = look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        every = max(1, int(np.ceil(12 * u / cell)))
        for i in range(0, len(self.rows), every):
            words = shorten(self.rows[i], _LETTERS * u, min(self._names(u), _NAMES * u))
            y = top + (i + 0.5) * cell + 4 * u
            canvas.text(left - 8 * u, y, words, size=_LETTERS * u, colour=theme.soft, anchor="right")
        longest = max((width(name, _LETTERS * u) for name in self.columns), default=0.0)
        every = max(1, int(np.ceil(min(longest * 1.1 + 8 * u, 90 * u) / cell)))
        below = top + len(self.rows) * cell + 16 * u
        for i in range(0, len(self.columns), every):
            words = shorten(self.columns[i], _LETTERS * u, max(every * cell - 6 * u, 24 * u))
            x = left + (i + 0.5) * cell
            canvas.text(x, below, words, size=_LETTERS * u, colour=theme.soft, anchor="middle")

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """The cells."""
        left, top, _, cell = self._place(box, look)
        painted = self.scale.paint(np.asarray(self.values[index]), look.theme)
        gap = 1 if cell >= 8 else 0
        canvas.cells(round(left), round(top), painted, cell=(cell, cell), gap=gap, ground=look.theme.panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBars:
    """Values [T, n] as bars from zero to `top`, a name before each; `marks` [T, n] are dots on them.

    `reference` [T] is a line across all, called `reference_name`.
    """

    title: str
    names: Sequence[str]
    values: Stack
    top: float
    subtitle: str = ""
    marks: Stack | None = None
    reference: Stack | None = None
    reference_name: str = ""

    @property
    def natural(self) -> tuple[int, int]:
        """How large a card it takes where nobody says how large it may be."""
        return 560, max(160, 18 * len(self.names) + 84)

    def _place(self, box: Box, look: Look) -> tuple[float, float, float, float]:
        u = look.unit
        longest = max((width(name, _LETTERS * u) for name in self.names), default=0.0)
        left = box.x + 24 * u + min(longest * 1.06, _NAMES * u)
        top = box.y + (52 if self.subtitle else 36) * u
        high = (box.bottom - 30 * u - top) / max(1, len(self.names))
        return left, top, box.right - 64 * u - left, high

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Title and names."""
        left, top, _, high = self._place(box, look)
        u, theme = look.unit, look.theme
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        canvas.text(box.x + 12 * u, box.y + 39 * u, self.subtitle, size=12 * u, colour=theme.soft)
        every = max(1, int(np.ceil(12 * u / high)))
        for i in range(0, len(self.names), every):
            words = shorten(self.names[i], _LETTERS * u, _NAMES * u)
            y = top + (i + 0.5) * high + 4 * u
            canvas.text(left - 8 * u, y, words, size=_LETTERS * u, colour=theme.soft, anchor="right")

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """The bars, what they are, the dots and the line across."""
        left, top, wide, high = self._place(box, look)
        u, theme = look.unit, look.theme
        values = np.asarray(self.values[index], np.float64)
        thick = max(1.0, min(high * 0.66, 14 * u))
        marks = None if self.marks is None else np.asarray(self.marks[index], np.float64)
        every = max(1, int(np.ceil(12 * u / high)))
        for i, value in enumerate(values.tolist()):
            y = top + (i + 0.5) * high
            canvas.rectangle(left, y - thick / 2, wide, thick, fill=theme.rule)
            if np.isfinite(value):
                share = min(1.0, max(0.0, value / self.top)) if self.top else 0.0
                canvas.rectangle(left, y - thick / 2, share * wide, thick, fill=theme.lines[0])
            if i % every == 0:
                canvas.text(left + wide + 8 * u, y + 4 * u, number(value, 3), size=_LETTERS * u, colour=theme.ink)
        if marks is not None:
            down = top + (np.arange(len(marks)) + 0.5) * high
            across = left + np.clip(marks / (self.top or 1), 0, 1) * wide
            canvas.dots(line(across, down), colour=theme.lines[1], radius=3 * u)
        if self.reference is not None:
            at = float(np.asarray(self.reference[index]))
            x = left + min(1.0, max(0.0, at / (self.top or 1))) * wide
            bottom = top + len(values) * high
            canvas.rectangle(round(x), top, max(1, round(u)), bottom - top, fill=theme.head)
            words = f"{self.reference_name} {number(at, 3)}"
            canvas.text(x, bottom + 16 * u, words, size=_LETTERS * u, colour=theme.soft, anchor="middle")
