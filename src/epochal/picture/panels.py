"""Small pictures side by side, each with its name below, under one title and above one note."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from epochal.picture import frame as page
from epochal.picture.canvas import Canvas, Pixels
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.scale import ColourScale
from epochal.picture.text import shorten, width
from epochal.picture.theme import Theme

_NATURAL = (1200, 860)
_GAP = 12
_LETTERS = 12
_LABEL = 20
_LARGEST_SIDE = 320
_MOST_LABEL = 96
_PALETTE = 200
_SAMPLED = 8
_MOST_LINES = 3
_NOTE = 640


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A picture [T, H, W, 3] uint8 through time, or [H, W, 3] where it stays the same, and its name."""

    pixels: Pixels
    title: str = ""

    def at(self, index: int) -> Pixels:
        """The picture at a frame."""
        return self.pixels if self.pixels.ndim == 3 else self.pixels[index]


@dataclass(frozen=True, kw_only=True)
class PanelsScene:
    """Panels in rows, at most `columns` in one; each is enlarged by a whole number, or made smaller where it must be.

    `captions` say the moment of each frame, `note` stands below, beside the colour scale where there is one.
    """

    panels: Sequence[Panel]
    theme: Theme
    title: str
    captions: Sequence[str] = ("",)
    wanted: tuple[int, int] | None = None
    note: str = ""
    scale: ColourScale | None = None
    columns: int | None = None

    @property
    def frames(self) -> int:
        """How many moments there are."""
        return len(self.captions)

    @cached_property
    def look(self) -> Look:
        """Theme and unit of length."""
        return Look(self.theme, page.unit_for(self.wanted))

    @cached_property
    def colours(self) -> Table:
        """The colours that occur, for a GIF's palette."""
        chosen = np.unique(np.linspace(0, self.frames - 1, min(_SAMPLED, self.frames)).round().astype(int))
        some = [panel.at(int(i)).reshape(-1, 3) for i in chosen for panel in self.panels]
        if not some:
            return np.empty((0, 3), np.uint8)
        # Each colour once: the few places that stand out in a map keep theirs beside the many that do not.
        packed = np.unique(np.concatenate(some).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32))
        each = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
        if len(each) <= _PALETTE:
            return each
        found = Image.fromarray(each[:, None]).quantize(_PALETTE, dither=Image.Dither.NONE)
        return np.array(found.getpalette("RGB"), np.uint8).reshape(-1, 3)[:_PALETTE]

    @cached_property
    def _sides(self) -> tuple[int, int]:
        """Height and width of the largest panel."""
        shapes = [panel.pixels.shape[-3:-1] for panel in self.panels]
        return max((s[0] for s in shapes), default=1), max((s[1] for s in shapes), default=1)

    @property
    def _label(self) -> int:
        return round(_LABEL * self.look.unit) if any(panel.title for panel in self.panels) else 0

    @cached_property
    def _least(self) -> int:
        """The width that names need, up to a bound; a picture of a wanted size has none for them."""
        u = self.look.unit
        longest = max((width(panel.title, _LETTERS * u) for panel in self.panels), default=0.0) * 1.08
        return 1 if self.wanted is not None else round(min(_MOST_LABEL * u, longest))

    @cached_property
    def _grid(self) -> tuple[int, int, int]:
        """Columns, and the height and width that each panel is drawn within: as large as there is room for."""
        u, count = self.look.unit, max(1, len(self.panels))
        outer = self.wanted or _NATURAL
        room = (outer[0] - 2 * page.MARGIN * u, outer[1] - (page.HEADER + page.FOOTER) * u)
        gap, (high, wide) = _GAP * u, self._sides
        best = (1, 1, 1)
        for columns in range(1, count + 1) if self.columns is None else [max(1, min(self.columns, count))]:
            rows = math.ceil(count / columns)
            across = (room[0] + gap) / columns - gap
            if across < self._least and columns > 1 and self.columns is None:
                break
            down = (room[1] + gap) / rows - gap - self._label
            factor = min(across / wide, down / high)
            if self.wanted is None:
                factor = min(factor, max(1.0, _LARGEST_SIDE / max(high, wide)))
            factor = math.floor(factor) if factor >= 1 else max(factor, 1 / max(high, wide))
            size = (columns, max(1, int(high * factor)), max(1, int(wide * factor)))
            if size[1] * size[2] > best[1] * best[2] or (
                size[1:] == best[1:] and (columns <= 5 or columns * 2 <= count + 1)
            ):
                best = size
        return best

    @property
    def _cell(self) -> tuple[int, int]:
        """Width and height of a panel with its name."""
        _, high, wide = self._grid
        return max(wide, self._least), high + self._label

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height: as wanted, otherwise what the panels need."""
        if self.wanted is not None:
            return self.wanted
        u, (columns, _, _) = self.look.unit, self._grid
        rows = math.ceil(max(1, len(self.panels)) / columns)
        cell = self._cell
        gap = round(_GAP * u)
        below = 2 * page.MARGIN * u + width(self.note, 11 * u) * 1.1
        least = page.least_width(
            self.title, max(self.captions, key=len, default=""), self.note if self.scale else "", u
        )
        wide = columns * (cell[0] + gap) - gap + round(2 * page.MARGIN * u)
        return (
            max(
                wide,
                round(least) if self.scale is not None or any(self.captions) else 0,
                min(round(below), max(wide, _NOTE)),
            ),
            rows * (cell[1] + gap) - gap + round((page.HEADER + page.FOOTER) * u),
        )

    def draw_ground(self, canvas: Canvas) -> None:
        """The title, the names and the note."""
        u = self.look.unit
        page.draw_title(canvas, self.look, self.title)
        for panel, (x, y, wide, high) in zip(self.panels, self._places(), strict=True):
            words = shorten(panel.title, _LETTERS * u, wide / 1.05)
            canvas.text(x, y + high - 6 * u, words, size=_LETTERS * u, colour=self.theme.soft)
        bottom = self.size[1] - round(page.FOOTER * u)
        if self.scale is not None:
            self.scale.draw(canvas, self.look, x=page.MARGIN * u, y=bottom + 20 * u)
            page.draw_note(canvas, self.look, self.size, self.note)
        else:
            lines = wrapped(self.note, 11 * u, self.size[0] - 2 * page.MARGIN * u, _MOST_LINES)
            for i, words in enumerate(lines):
                baseline = bottom + (28 - 7 * (len(lines) - 1) + 14 * i) * u
                canvas.text(page.MARGIN * u, baseline, words, size=11 * u, colour=self.theme.faint)

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """The pictures and the caption."""
        page.draw_caption(canvas, self.look, self.size, self.captions[index])
        (_, high, wide), most = self._grid, self._sides
        for panel, (x, y, _, _) in zip(self.panels, self._places(), strict=True):
            pixels = np.ascontiguousarray(panel.at(index))
            rows, columns = pixels.shape[:2]
            factor = min(high / rows, wide / columns) if (rows, columns) != most else high / most[0]
            if factor >= 1:
                cell = int(factor)
                canvas.cells(x, y, pixels, cell=(cell, cell), gap=0, ground=self.theme.ground)
            else:
                size = (max(1, int(columns * factor)), max(1, int(rows * factor)))
                smaller = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
                canvas.cells(x, y, smaller, cell=(1, 1), gap=0, ground=self.theme.ground)

    def _places(self) -> list[tuple[int, int, int, int]]:
        u, (columns, _, _), cell = self.look.unit, self._grid, self._cell
        gap, rows = round(_GAP * u), math.ceil(max(1, len(self.panels)) / self._grid[0])
        whole = (columns * (cell[0] + gap) - gap, rows * (cell[1] + gap) - gap)
        left, top = round(page.MARGIN * u), round(page.HEADER * u)
        if self.wanted is not None:
            left = max(left, (self.wanted[0] - whole[0]) // 2)
            top += max(0, (self.wanted[1] - round((page.HEADER + page.FOOTER) * u) - whole[1]) // 2)
        return [
            (left + (i % columns) * (cell[0] + gap), top + (i // columns) * (cell[1] + gap), *cell)
            for i in range(len(self.panels))
        ]


def wrapped(words: str, size: float, room: float, most: int) -> list[str]:
    """A text in at most so many lines, each within `room`; the last one is shortened where there is more."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (width(longer, size) * 1.05 <= room or len(lines) == most):
            lines[-1] = longer
        else:
            lines.append(word)
    return [shorten(line, size, room / 1.02) for line in lines]
