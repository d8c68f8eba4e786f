"""Matrices through time, side by side, on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from epochal.picture import frame as page
from epochal.picture.canvas import Canvas, Pixels
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.scale import ColourScale
from epochal.picture.text import shorten, width
from epochal.picture.theme import Theme

Values = npt.NDArray[Any]
_LARGEST_CELL = 24
_GAP_FROM = 5
"""Cells of at least so many pixels have a one-pixel gap between them."""
_NATURAL = (1200, 860)
_STRIP_GAP = 8


class Stack(Protocol):
    """Frames that can be asked for one by one: an array [T, ...], or something that reads them when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[T, ...]."""

    def __getitem__(self, index: int, /) -> Any:
        """One frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One panel: values [T, rows, columns], where known a bias [T, rows] drawn beside it.

    `holes` [rows, columns] marks cells that only separate tiles.
    """

    title: str
    values: Stack
    subtitle: str = ""
    bias: Stack | None = None
    holes: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    x: int
    y: int
    width: int
    height: int
    cell: int
    pool: int


def tiles(kernels: Values) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Kernels [T, out, in, ..., h, w] as matrices [T, rows, columns], and which cells are gaps between tiles.

    A row of tiles for each output channel, a column for each input channel (and for each slice of a 3-D kernel).
    One-dimensional kernels [T, out, in, w] become tiles of one row.
    """
    if kernels.ndim == 4:
        kernels = kernels[:, :, :, None, :]
    t, out = kernels.shape[:2]
    high, wide = kernels.shape[-2:]
    flat = kernels.reshape(t, out, -1, high, wide)
    columns = flat.shape[2]
    spaced = np.full((t, out, columns, high + 1, wide + 1), np.nan, np.result_type(kernels.dtype, np.float32))
    spaced[..., :high, :wide] = flat
    holes = np.zeros((out, columns, high + 1, wide + 1), bool)
    holes[..., high, :] = True
    holes[..., wide] = True

    def lay(stack: Values) -> Values:
        laid = np.swapaxes(stack, -3, -2)
        whole: Values = laid.reshape(*stack.shape[:-4], out * (high + 1), columns * (wide + 1))
        return whole[..., :-1, :-1]

    return lay(spaced), lay(holes)


def pooled(values: Values, factor: int) -> Values:
    """[rows, columns] made smaller: of each block the value farthest from zero (NaN where a block has one)."""
    if factor == 1:
        return values
    rows, columns = (-(-s // factor) for s in values.shape)
    padded = np.zeros((rows * factor, columns * factor), values.dtype)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, factor, columns, factor)
    high, low = blocks.max(axis=(1, 3)), blocks.min(axis=(1, 3))
    strongest: Values = np.where(high >= -low, high, low)
    return strongest


@dataclass(frozen=True)
class MatricesScene:
    """Matrices side by side; `captions` holds what the title says at each frame (step and epoch)."""

    matrices: Sequence[Matrix]
    scale: ColourScale
    theme: Theme
    title: str
    captions: Sequence[str]
    wanted: tuple[int, int] | None = None
    note: str = ""

    @property
    def frames(self) -> int:
        """How many moments there are."""
        return len(self.captions)

    @property
    def colours(self) -> Table:
        """Of the scale."""
        return self.scale.colours

    @property
    def size(self) -> tuple[int, int]:
        """Width and height: as wanted, otherwise what the panels need."""
        return self._layout[0]

    @cached_property
    def look(self) -> Look:
        """Theme and unit of length."""
        return Look(self.theme, page.unit_for(self.wanted))

    @cached_property
    def _layout(self) -> tuple[tuple[int, int], list[_Place]]:
        u = self.look.unit
        room = self.wanted or _NATURAL
        inner = (room[0] - round(2 * page.MARGIN * u), room[1] - round((page.HEADER + page.FOOTER) * u))
        for cell, pool in self._sizes(u):
            places = self._flow(inner[0], cell, pool)
            right = max((p.x + p.width for p in places), default=0)
            bottom = max((p.y + p.height for p in places), default=0)
            if right <= inner[0] and bottom <= inner[1]:
                break
        spare = sink = 0
        if self.wanted is None:
            least = round(page.least_width(self.title, max(self.captions, key=len, default=""), self.note, u))
            size = (max(least, right + round(2 * page.MARGIN * u)), bottom + round((page.HEADER + page.FOOTER) * u))
        else:
            size = self.wanted
            spare, sink = max(0, (inner[0] - right) // 2), max(0, (inner[1] - bottom) // 2)
        left, top = round(page.MARGIN * u) + spare, round(page.HEADER * u) + sink
        return size, [_Place(p.x + left, p.y + top, p.width, p.height, p.cell, p.pool) for p in places]

    def _sizes(self, u: float) -> list[tuple[int, int]]:
        largest = round(_LARGEST_CELL * u)
        pools = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024]
        return [*((cell, 1) for cell in range(largest, 0, -1)), *((1, pool) for pool in pools)]

    def _flow(self, room: int, cell: int, pool: int) -> list[_Place]:
        """Panels from left to right, a new row where one does not fit; small matrices get larger cells when cells
        must be tiny for the big ones."""
        u = self.look.unit
        gap, pad = round(16 * u), round(12 * u)
        head = round((46 if any(m.subtitle for m in self.matrices) else 28) * u)
        places: list[_Place] = []
        x = y = row_height = 0
        biggest = max((max(m.values.shape[1:]) for m in self.matrices), default=1)
        for matrix in self.matrices:
            rows, columns = matrix.values.shape[1:]
            mine, fold = cell, pool
            if cell <= _GAP_FROM:
                # The same length on screen for all, up to a comfortable cell.
                span = max(cell, 1) * biggest / pool
                mine = max(1, min(round(14 * u), int(span / max(rows, columns)), int(span / 4)))
                fold = 1 if mine > 1 or max(rows, columns) <= span else pool
                mine = max(mine, 1)
            shown = (-(-columns // fold), -(-rows // fold))
            strip = round(_STRIP_GAP * u) + max(mine, round(6 * u)) if matrix.bias is not None else 0
            label = max(width(matrix.title, 13 * u) * 1.06, width(matrix.subtitle, 12 * u))
            wide = max(shown[0] * mine + strip, min(round(label) + 2, round(180 * u))) + 2 * pad
            high = shown[1] * mine + head + pad + round(4 * u)
            if x and x + wide > room:
                x, y, row_height = 0, y + row_height + gap, 0
            places.append(_Place(x, y, wide, high, mine, fold))
            x += wide + gap
            row_height = max(row_height, high)
        return places

    def draw_ground(self, canvas: Canvas) -> None:
        """The cards, their titles and the colour bar."""
        size, places = self._layout
        u, theme = self.look.unit, self.theme
        page.draw_title(canvas, self.look, self.title)
        for matrix, place in zip(self.matrices, places, strict=True):
            canvas.rectangle(
                place.x, place.y, place.width, place.height, fill=theme.panel, edge=theme.rule, radius=8 * u
            )
            left, room = place.x + 12 * u, place.width - 22 * u
            title = shorten(matrix.title, 13 * u, room / 1.05)
            canvas.text(left, place.y + 22 * u, title, size=13 * u, colour=theme.ink, bold=True)
            canvas.text(left, place.y + 38 * u, shorten(matrix.subtitle, 12 * u, room), size=12 * u, colour=theme.soft)
        bottom = size[1] - round(page.FOOTER * u)
        self.scale.draw(canvas, self.look, x=places[0].x if places else page.MARGIN * u, y=bottom + 14 * u)
        words = [self.note] if self.note else []
        folds = sorted({p.pool for p in places if p.pool > 1})
        if folds:
            words.append(f"a pixel shows the strongest of {folds[-1]}×{folds[-1]} values")
        page.draw_note(canvas, self.look, size, " · ".join(words))

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """The cells and the caption."""
        size, places = self._layout
        u = self.look.unit
        page.draw_caption(canvas, self.look, size, self.captions[index])
        head = round((46 if any(m.subtitle for m in self.matrices) else 28) * u)
        for matrix, place in zip(self.matrices, places, strict=True):
            x, y = place.x + round(12 * u), place.y + head
            holes = matrix.holes if place.pool == 1 else None
            values = matrix.values[index]
            if matrix.holes is not None and place.pool > 1:
                values = np.where(matrix.holes, 0, values)
            self._cells(canvas, x, y, pooled(values, place.pool), (place.cell, place.cell), holes)
            if matrix.bias is not None:
                units = matrix.bias[index]
                column = pooled_column(units, place.pool)
                across = -(-values.shape[1] // place.pool) * place.cell
                # Beside tiles, a unit is as high as its row of tiles.
                tall = place.cell * ((len(values) + 1) // len(units) if matrix.holes is not None else 1)
                cell = (max(place.cell, round(6 * u)), tall)
                self._cells(canvas, x + across + round(_STRIP_GAP * u), y, column, cell, None)

    def _cells(
        self,
        canvas: Canvas,
        x: int,
        y: int,
        values: Values,
        cell: tuple[int, int],
        holes: npt.NDArray[np.bool_] | None,
    ) -> None:
        painted: Pixels = self.scale.paint(values, self.theme)
        if holes is not None:
            painted[holes] = self.theme.panel
        gap = 1 if min(cell) >= _GAP_FROM else 0
        canvas.cells(x, y, painted, cell=cell, gap=gap, ground=self.theme.panel)


def pooled_column(values: Values, factor: int) -> Values:
    """[n] as a column [rows, 1], of each `factor` values the one farthest from zero."""
    column = values.reshape(-1, 1)
    if factor == 1:
        return column
    padded = np.zeros((-(-len(column) // factor) * factor, factor), values.dtype)
    padded[: len(column), :1] = column
    return pooled(padded, factor)
