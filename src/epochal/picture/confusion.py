"""What was predicted of each class, as a chart: a cell for each pair, green where it is right and red beside that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epochal.picture.axes import Box
from epochal.picture.canvas import Canvas
from epochal.picture.frame import Look
from epochal.picture.matrices import Stack
from epochal.picture.text import shorten, width
from epochal.picture.theme import Rgb, Theme

__all__ = ["ConfusionChart", "cell_text"]

_LETTERS = 11
_WIDEST, _HIGHEST, _SMALLEST = 72, 30, 1
_NAMES = 130
_WRITTEN = 15
"""Narrower cells than so many pixels hold no number."""
_GOOD: dict[str, Rgb] = {"light": (36, 115, 74), "dark": (94, 192, 141)}
_BAD: dict[str, Rgb] = {"light": (179, 38, 30), "dark": (255, 143, 134)}


def cell_text(value: float, *, percent: bool, signed: bool) -> str:
    """`12`, `97.5`, `+3`; nothing for 0, a dash where there is nothing to divide by."""
    if not np.isfinite(value):
        return "–"
    size = abs(100 * value if percent else value)
    text = f"{size:.1f}".removesuffix(".0") if percent else f"{size:,.0f}"
    if size == 0 or text == "0":
        return ""
    return f"{'−' if value < 0 else '+'}{text}" if signed else text


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionChart:
    """Values [T, C, C] of classes (rows: truth) said to be of classes (columns), named at both sides.

    `tints` [T, C, C] are how good (to 1) or bad (to -1) a cell is, `percent` writes shares as parts of a hundred,
    `signed` writes a sign: the values are differences.
    """

    title: str
    subtitle: str
    values: Stack
    tints: Stack
    names: Sequence[str]
    percent: bool = False
    signed: bool = False

    @property
    def natural(self) -> tuple[int, int]:
        """How large a card it takes where nobody says how large it may be."""
        n = max(1, len(self.names))
        longest = self._longest(1.0)
        cell = min(_WIDEST, max(40.0, longest + 8)) if n <= 24 else max(_SMALLEST, min(34.0, 900 / n))
        high = min(_HIGHEST, cell)
        return round(max(300.0, n * cell + self._side(1.0) + 24)), round(max(190.0, n * high + 104))

    def _longest(self, u: float) -> float:
        return max((width(name, _LETTERS * u) for name in self.names), default=0.0) * 1.06

    def _side(self, u: float) -> float:
        """The room that the names of rows take."""
        return min(self._longest(u), _NAMES * u) + 20 * u

    def _place(self, box: Box, look: Look) -> tuple[int, int, int, int]:
        """Where the cells begin, and how wide and high one is, in whole pixels."""
        u, n = look.unit, max(1, len(self.names))
        left, top = box.x + self._side(u), box.y + 74 * u
        wide = min(_WIDEST * 1.6 * u, (box.right - 12 * u - left) / n)
        high = min(_HIGHEST * 1.6 * u, (box.bottom - 24 * u - top) / n)
        if n > 24:  # so many are read as a picture, whose cells are square
            wide = high = min(wide, high)
        return round(left), round(top), max(_SMALLEST, int(wide)), max(_SMALLEST, int(high))

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Title and the names of classes, as many as there is room for."""
        left, top, wide, high = self._place(box, look)
        u, theme, size = look.unit, look.theme, _LETTERS * look.unit
        title = shorten(self.title, 13 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
        below = shorten(self.subtitle, 12 * u, box.width - 24 * u)
        canvas.text(box.x + 12 * u, box.y + 39 * u, below, size=12 * u, colour=theme.soft)
        for i in range(0, len(self.names), max(1, int(np.ceil(13 * u / high)))):
            words = shorten(self.names[i], size, self._side(u) - 18 * u)
            canvas.text(
                left - 6 * u, top + (i + 0.5) * high + 4 * u, words, size=size, colour=theme.soft, anchor="right"
            )
        every = max(1, int(np.ceil(min(self._longest(u) + 4 * u, 34 * u) / wide)))
        for i in range(0, len(self.names), every):
            words = shorten(self.names[i], size, every * wide - 3 * u)
            middle = left + (i + 0.5) * wide
            canvas.text(middle, top - 7 * u, words, size=size, colour=theme.soft, anchor="middle")

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """The cells and their numbers."""
        left, top, wide, high = self._place(box, look)
        theme = look.theme
        values = np.asarray(self.values[index], np.float64)
        gap = 1 if min(wide, high) >= 6 else 0
        colours = tinted(np.asarray(self.tints[index], np.float64), theme)
        n = len(self.names)
        if gap:
            canvas.rectangle(left - 1, top - 1, n * wide + 1, n * high + 1, fill=theme.rule)
        canvas.cells(left, top, colours, cell=(wide, high), gap=gap, ground=theme.rule)
        if wide < _WRITTEN or high < 10:
            return
        texts = [[cell_text(float(v), percent=self.percent, signed=self.signed) for v in row] for row in values]
        longest = max((width(text, 100.0) for row in texts for text in row), default=0.0) / 94
        size = min(12 * look.unit, 0.8 * high, (wide - 3) / longest if longest else 12 * look.unit)
        if size < 6:
            return
        for r, row in enumerate(texts):
            for c, text in enumerate(row):
                if text:
                    x, y = left + (c + 0.5) * wide, top + (r + 0.5) * high + 0.35 * size
                    canvas.text(x, y, text, size=size, colour=theme.ink, anchor="middle")


def tinted(tints: npt.NDArray[np.float64], theme: Theme) -> npt.NDArray[np.uint8]:
    """The colours [..., 3] of cells: the card's where nothing is, at most half of green or red over it."""
    known = np.nan_to_num(tints, nan=0.0).clip(-1, 1)
    strength = np.where(known == 0, 0.0, 0.06 + 0.44 * np.sqrt(np.abs(known)))[..., None]
    ends = np.where((known > 0)[..., None], _GOOD[theme.name], _BAD[theme.name])
    mixed = np.asarray(theme.panel, np.float64) * (1 - strength) + ends * strength
    return np.asarray(np.round(mixed), np.uint8)
