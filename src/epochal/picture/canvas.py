"""What a picture is drawn on: pixels here, vectors in `svg`. Lengths are pixels, y grows downwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from epochal.picture import text as lettering
from epochal.picture.theme import Rgb

Anchor = Literal["left", "middle", "right"]
Line = npt.NDArray[np.float64]
"""Points [n, 2] of a line; a point that is not finite breaks it."""
Pixels = npt.NDArray[np.uint8]
_FINE = 3


class Canvas(Protocol):
    """Draws rectangles, text, lines and cells."""

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: Rgb, edge: Rgb | None = None, radius: float = 0
    ) -> None:
        """Fill a rectangle, with rounded corners and a one-pixel edge where asked."""

    def text(
        self, x: float, y: float, words: str, *, size: float, colour: Rgb, anchor: Anchor = "left", bold: bool = False
    ) -> None:
        """Write one line whose baseline lies at y."""

    def lines(self, lines: Sequence[Line], *, colour: Rgb, width: float = 1.5) -> None:
        """Draw lines of one colour."""

    def dots(self, points: Line, *, colour: Rgb, radius: float) -> None:
        """Draw discs."""

    def cells(self, x: int, y: int, colours: Pixels, *, cell: tuple[int, int], gap: int, ground: Rgb) -> None:
        """Draw colours [rows, columns, 3] as cells (width, height), the last `gap` pixels of each in `ground`."""


class RasterCanvas:
    """Draws on a Pillow image, lines and text smoothed."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)

    @classmethod
    def blank(cls, size: tuple[int, int], ground: Rgb) -> RasterCanvas:
        """A canvas of one colour."""
        return cls(Image.new("RGB", size, ground))

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: Rgb, edge: Rgb | None = None, radius: float = 0
    ) -> None:
        """Fill a rectangle."""
        if width <= 0 or height <= 0:
            return
        left, top = round(x), round(y)
        right, bottom = max(left, round(x + width) - 1), max(top, round(y + height) - 1)
        if radius < 1:
            self._draw.rectangle((left, top, right, bottom), fill=fill, outline=edge)
            return
        fine = Image.new("L", ((right - left + 1) * _FINE, (bottom - top + 1) * _FINE))
        outer = (0, 0, fine.width - 1, fine.height - 1)
        ImageDraw.Draw(fine).rounded_rectangle(outer, radius * _FINE, fill=255)
        self.image.paste(edge or fill, (left, top), fine.reduce(_FINE))
        if edge is not None:
            fine.paste(0, outer[:2] + fine.size)
            inner = (_FINE, _FINE, fine.width - 1 - _FINE, fine.height - 1 - _FINE)
            ImageDraw.Draw(fine).rounded_rectangle(inner, (radius - 1) * _FINE, fill=255)
            self.image.paste(fill, (left, top), fine.reduce(_FINE))

    def text(
        self, x: float, y: float, words: str, *, size: float, colour: Rgb, anchor: Anchor = "left", bold: bool = False
    ) -> None:
        """Write one line."""
        if not words:
            return
        mask, left, baseline = lettering.mask(words, size, bold=bold)
        if anchor != "left":
            x -= lettering.width(words, size) * (0.5 if anchor == "middle" else 1.0)
        self.image.paste(colour, (round(x) - left, round(y) - baseline), mask)

    def lines(self, lines: Sequence[Line], *, colour: Rgb, width: float = 1.5) -> None:
        """Draw lines, smoothed, through one mask over all of them."""
        pieces = [piece for line in lines for piece in unbroken(line)]
        box = self._box(pieces, width)
        if box is None:
            return
        left, top, right, bottom = box
        fine = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
        draw = ImageDraw.Draw(fine)
        thick = max(1, round(width * _FINE))
        for piece in pieces:
            places = ((piece - (left, top) + 0.5) * _FINE).ravel().tolist()
            if len(piece) == 1:
                r = thick * 0.75
                draw.ellipse((places[0] - r, places[1] - r, places[0] + r, places[1] + r), fill=255)
            else:
                draw.line(places, fill=255, width=thick, joint="curve" if len(piece) < 400 else None)
        self.image.paste(colour, (left, top), fine.reduce(_FINE))

    def dots(self, points: Line, *, colour: Rgb, radius: float) -> None:
        """Draw discs."""
        kept = points[np.isfinite(points).all(axis=1)]
        box = self._box([kept], radius * 2) if len(kept) else None
        if box is None:
            return
        left, top, right, bottom = box
        fine = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE))
        draw, r = ImageDraw.Draw(fine), radius * _FINE
        for x, y in ((kept - (left, top) + 0.5) * _FINE).tolist():
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        self.image.paste(colour, (left, top), fine.reduce(_FINE))

    def cells(self, x: int, y: int, colours: Pixels, *, cell: tuple[int, int], gap: int, ground: Rgb) -> None:
        """Draw cells, each pixel of a cell exactly its colour."""
        width, height = cell
        big = colours.repeat(height, axis=0).repeat(width, axis=1)
        for i in range(gap):
            big[height - 1 - i :: height] = ground
            big[:, width - 1 - i :: width] = ground
        if gap:
            big = big[:-gap, :-gap]
        self.image.paste(Image.fromarray(np.ascontiguousarray(big)), (x, y))

    def _box(self, pieces: Sequence[Line], width: float) -> tuple[int, int, int, int] | None:
        if not pieces:
            return None
        points = np.concatenate(list(pieces))
        low, high = points.min(axis=0) - width - 1, points.max(axis=0) + width + 2
        left, top = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
        right, bottom = min(self.image.width, math.ceil(high[0])), min(self.image.height, math.ceil(high[1]))
        return (left, top, right, bottom) if right > left and bottom > top else None


def unbroken(line: Line) -> list[Line]:
    """The stretches of a line between points that are not finite."""
    fine = np.isfinite(line).all(axis=1)
    if fine.all():
        return [line] if len(line) else []
    edges = np.flatnonzero(np.diff(np.concatenate(([False], fine, [False])).astype(np.int8)))
    return [line[a:b] for a, b in edges.reshape(-1, 2)]


def line(x: Any, y: Any) -> Line:
    """A line from its x and y coordinates."""
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
