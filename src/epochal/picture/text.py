"""Text as grey masks, with the font that Pillow brings: the same pixels on every machine.

That font (Aileron) has figures of one width but lacks a real minus sign, the arrow and the times sign, so these three
are drawn here; its space is too narrow at small sizes and is widened. Letters it lacks are taken from a font of the
system where one is found.
"""

from __future__ import annotations

import re
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_DRAWN = re.compile("([−→× ])")
_ADVANCE = {"−": 0.62, "→": 0.92, "×": 0.62, " ": 0.32}
_SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
_FINE = 4


@lru_cache(maxsize=64)
def font(size: float) -> Font:
    """The font at a size in pixels."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _fallback(size: float) -> Font | None:
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    return letter.isspace() or bytes(font(16).getmask(letter)) != bytes(font(16).getmask("\uffff"))


@lru_cache(maxsize=4096)
def _runs(text: str, size: float) -> tuple[tuple[str, Font | None, float], ...]:
    """Stretches of text that one font can draw, with their widths; None stands for the signs drawn here."""
    runs: list[tuple[str, Font | None, float]] = []
    for part in _DRAWN.split(text):
        if part in _ADVANCE:
            runs.append((part, None, _ADVANCE[part] * size))
            continue
        for stretch in re.findall("(?:[\x20-\x7e]|·)+|.", part, flags=re.DOTALL):
            chosen = font(size)
            if not _has(stretch[0]):
                chosen = _fallback(size) or chosen
            if runs and runs[-1][1] is chosen:
                stretch = runs.pop()[0] + stretch
            runs.append((stretch, chosen, chosen.getlength(stretch)))
    return tuple(runs)


def width(text: str, size: float) -> float:
    """How wide a line of text is, in pixels."""
    return sum(run[2] for run in _runs(text, size))


def shorten(text: str, size: float, room: float) -> str:
    """The text, its middle left out where it is wider than `room`."""
    if width(text, size) <= room:
        return text
    for keep in range(len(text) - 1, 1, -1):
        short = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
        if width(short, size) <= room:
            return short
    return "…"


@lru_cache(maxsize=2048)
def mask(text: str, size: float, *, bold: bool) -> tuple[Image.Image, int, int]:
    """A grey mask of a line of text, and where its origin (left end of the baseline) lies in it."""
    margin = max(2, round(size * 0.25))
    ascent = round(size * 1.1) + margin
    image = Image.new("L", (int(width(text, size)) + 2 * margin + 2, ascent + round(size * 0.4) + margin))
    draw = ImageDraw.Draw(image)
    x = float(margin)
    for part, chosen, advance in _runs(text, size):
        if part == " ":
            pass
        elif chosen is None:
            image.paste(255, (int(x), 0), _sign(part, size, ascent, advance + 2, x - int(x), bold=bold))
        else:
            # A thin stroke thickens the one weight that the font has.
            draw.text((x, ascent), part, fill=255, font=chosen, anchor="ls", stroke_width=size * 0.02 if bold else 0)
        x += advance
    return image, margin, ascent


def _sign(sign: str, size: float, ascent: int, room: float, shift: float, *, bold: bool) -> Image.Image:
    fine = Image.new("L", ((int(room) + 2) * _FINE, (ascent + 2) * _FINE))
    draw = ImageDraw.Draw(fine)
    thick = max(1.0, size * (0.115 if bold else 0.085)) * _FINE
    middle = round(ascent - size * 0.34) + (0.5 if thick < 1.6 * _FINE else 0.0)

    def line(*points: tuple[float, float]) -> None:
        places = [((shift + px * size) * _FINE, (middle + py * size) * _FINE) for px, py in points]
        draw.line(places, fill=255, width=round(thick), joint="curve")

    if sign == "−":
        line((0.08, 0), (0.54, 0))
    elif sign == "→":
        line((0.08, 0), (0.84, 0))
        line((0.62, -0.2), (0.83, 0), (0.62, 0.2))
    else:
        line((0.12, -0.19), (0.5, 0.19))
        line((0.12, 0.19), (0.5, -0.19))
    return fine.reduce(_FINE)
