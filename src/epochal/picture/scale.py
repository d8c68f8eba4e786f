"""From values to colours, and the bar that says which is which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.picture import colours as maps
from epochal.picture.canvas import Canvas, Pixels
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.numbers import MINUS, compact
from epochal.picture.text import width
from epochal.picture.theme import Theme

_BAR = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourScale:
    """Values from `lo` to `hi` in the colours of `table`; `signed` scales are symmetric and their middle is zero.

    `clipped` says that larger values exist than `hi` and share its colour.
    """

    lo: float
    hi: float
    colours: Table
    signed: bool
    label: str = ""
    clipped: bool = False

    @classmethod
    def symmetric(cls, limit: float, *, cmap: str, theme: Theme, label: str = "") -> ColourScale:
        """A scale from -limit to limit."""
        table = maps.table(cmap, theme.name)
        return cls(lo=-limit, hi=limit, colours=table, signed=True, label=label)

    def paint(self, values: npt.NDArray[Any], theme: Theme) -> Pixels:
        """Colours [..., 3]; values that are not finite get the theme's `missing`."""
        if self.signed:
            return maps.paint_signed(values, self.hi, colours=self.colours, theme=theme)
        painted = self.colours[maps.unsigned_index(values, self.lo, self.hi)]
        bad = ~np.isfinite(values)
        if bad.any():
            painted[bad] = theme.missing
        return painted

    def draw(self, canvas: Canvas, look: Look, *, x: float, y: float) -> float:
        """Draw the bar with its ends, its middle and its label; returns how wide it all is."""
        u, theme = look.unit, look.theme
        size, high, long = 11 * u, round(8 * u), round(_BAR * u)
        low = f"{MINUS}{compact(self.hi)}" if self.signed and self.hi else compact(self.lo)
        top = f"+{compact(self.hi)}" if self.signed and self.hi else compact(self.hi)
        if self.clipped:
            top = f"{top} or more"
        start = round(x + width(low, size) * 1.1 + 8 * u)
        canvas.text(start - 8 * u, y + 8.2 * u, low, size=size, colour=theme.soft, anchor="right")
        first = 1 if self.signed else 0
        steps = np.round(np.linspace(first, 255, long)).astype(int)
        canvas.cells(start, round(y), self.colours[steps][None], cell=(1, high), gap=0, ground=theme.ground)
        if self.signed:
            middle = start + long / 2
            canvas.rectangle(middle, y + high + 1 * u, max(1, u), 3 * u, fill=theme.faint)
            canvas.text(middle, y + high + 14 * u, "0", size=size, colour=theme.soft, anchor="middle")
        end = start + long + 8 * u
        canvas.text(end, y + 8.2 * u, top, size=size, colour=theme.soft)
        end += width(top, size) * 1.1
        if self.label:
            canvas.text(end + 12 * u, y + 8.2 * u, self.label, size=size, colour=theme.faint)
            end += 12 * u + width(self.label, size)
        return end - x
