"""Charts in a grid of equal cards, under one title."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from epochal.picture import frame as page
from epochal.picture.axes import Box
from epochal.picture.canvas import Canvas
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.scale import ColourScale
from epochal.picture.theme import Theme

_GAP = 16
_BELOW = 40


class Chart(Protocol):
    """Draws itself into a box."""

    def draw_ground(self, canvas: Canvas, box: Box, look: Look) -> None:
        """Draw what is the same in all frames."""

    def draw_frame(self, canvas: Canvas, box: Box, look: Look, index: int) -> None:
        """Draw what belongs to one frame."""


@dataclass(frozen=True, kw_only=True)
class GridScene:
    """Charts side by side, at most `columns` in a row; a colour scale below where one is given."""

    charts: Sequence[Chart]
    theme: Theme
    title: str
    captions: Sequence[str]
    wanted: tuple[int, int] | None = None
    columns: int = 2
    card: tuple[int, int] = (440, 260)
    scale: ColourScale | None = None
    note: str = ""

    @property
    def frames(self) -> int:
        """How many moments there are."""
        return len(self.captions)

    @property
    def colours(self) -> Table:
        """Of the scale; none without one."""
        return self.scale.colours if self.scale is not None else np.empty((0, 3), np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        if self.wanted is not None:
            return self.wanted
        across = min(self.columns, max(1, len(self.charts)))
        down = math.ceil(len(self.charts) / across)
        wide = across * (self.card[0] + _GAP) - _GAP + 2 * page.MARGIN
        least = page.least_width(self.title, max(self.captions, key=len, default=""), self.note, 1.0)
        return max(wide, round(least)), down * (self.card[1] + _GAP) - _GAP + page.HEADER + self._below

    @property
    def _below(self) -> int:
        return page.FOOTER if self.scale is not None else _BELOW if self.note else page.MARGIN

    @property
    def _look(self) -> Look:
        return Look(self.theme, page.unit_for(self.wanted))

    def boxes(self) -> list[Box]:
        """Where the charts are."""
        look, (width, height) = self._look, self.size
        u = look.unit
        across = min(self._columns(width / u), max(1, len(self.charts)))
        down = math.ceil(len(self.charts) / across)
        gap, left, top = round(_GAP * u), round(page.MARGIN * u), round(page.HEADER * u)
        wide = (width - 2 * left + gap) // across - gap
        high = (height - top - round(self._below * u) + gap) // max(1, down) - gap
        return [
            Box(left + (i % across) * (wide + gap), top + (i // across) * (high + gap), wide, high)
            for i in range(len(self.charts))
        ]

    def _columns(self, width: float) -> int:
        if self.wanted is None:
            return self.columns
        return max(1, min(self.columns + 1, round(width / (self.card[0] * 0.9))))

    def draw_ground(self, canvas: Canvas) -> None:
        """Cards, titles and axes."""
        look = self._look
        u = look.unit
        page.draw_title(canvas, look, self.title)
        for chart, box in zip(self.charts, self.boxes(), strict=True):
            canvas.rectangle(
                box.x, box.y, box.width, box.height, fill=self.theme.panel, edge=self.theme.rule, radius=8 * u
            )
            chart.draw_ground(canvas, box, look)
        if self.scale is not None:
            self.scale.draw(canvas, look, x=page.MARGIN * u, y=self.size[1] - round(page.FOOTER * u) + 14 * u)
            page.draw_note(canvas, look, self.size, self.note)
        elif self.note:
            canvas.text(page.MARGIN * u, self.size[1] - 14 * u, self.note, size=11 * u, colour=self.theme.faint)

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """The charts at one frame, and its caption."""
        look = self._look
        page.draw_caption(canvas, look, self.size, self.captions[index])
        for chart, box in zip(self.charts, self.boxes(), strict=True):
            chart.draw_frame(canvas, box, look, index)
