"""What all pictures share: margins, the title on the left, the caption on the right, a note below."""

from __future__ import annotations

from dataclasses import dataclass

from epochal.picture.canvas import Canvas
from epochal.picture.text import shorten, width
from epochal.picture.theme import Theme

MARGIN = 20
HEADER = 52
FOOTER = 54
_SIZE_OF_UNIT_ONE = (960, 600)


@dataclass(frozen=True, slots=True)
class Look:
    """The theme, and the unit that lengths on a 4-pixel grid are multiplied by."""

    theme: Theme
    unit: float


def unit_for(size: tuple[int, int] | None) -> float:
    """Letters and margins grow with the picture, a little slower than it."""
    if size is None:
        return 1.0
    ratio = min(size[0] / _SIZE_OF_UNIT_ONE[0], size[1] / _SIZE_OF_UNIT_ONE[1])
    return float(max(0.7, min(3.0, ratio**0.75)))


def least_width(title: str, caption: str, note: str, unit: float) -> float:
    """How wide a picture must be for its title and caption, and for its colour bar and note, to stand side by side."""
    above = min(width(title, 15), 420) * 1.05 + width(caption, 13) + 48
    below = 340 + width(note, 11)
    return (max(above, below) + 2 * MARGIN) * unit


def draw_title(canvas: Canvas, look: Look, title: str) -> None:
    """The title, above on the left."""
    u = look.unit
    words = shorten(title, 15 * u, 420 * u)
    canvas.text(MARGIN * u, 32 * u, words, size=15 * u, colour=look.theme.ink, bold=True)


def draw_caption(canvas: Canvas, look: Look, size: tuple[int, int], caption: str) -> None:
    """Step and epoch, above on the right."""
    u = look.unit
    canvas.text(size[0] - MARGIN * u, 32 * u, caption, size=13 * u, colour=look.theme.soft, anchor="right")


def draw_note(canvas: Canvas, look: Look, size: tuple[int, int], note: str) -> None:
    """A quiet remark, below on the right."""
    u = look.unit
    if not note:
        return
    canvas.text(size[0] - MARGIN * u, size[1] - 32 * u, note, size=11 * u, colour=look.theme.faint, anchor="right")
