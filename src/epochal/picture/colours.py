"""Colour maps: 256 colours each, a smooth curve through OKLab between a few published anchors.

Anchors: viridis and magma are the maps of Stéfan van der Walt and Nathaniel Smith (2015, CC0), cividis is from
Nuñez, Anderton and Renslow (PLOS ONE 2018), the diverging map stands on the blue and red of ColorBrewer's RdBu
(Cynthia Brewer). OKLab is Björn Ottosson's (2020, public domain); in it equal steps look about equally large. The
Studio computes the same colours from the same anchors (`web/src/maths/colourmaps.ts`).

Index 0 of a signed picture is never used for data: 128 is zero, 1 and 255 are the two ends, so that zero has a colour
of its own and both signs get equally many steps.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.picture.theme import Theme

Table = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
Points = npt.NDArray[np.float64]

_SEQUENTIAL = {
    "viridis": "440154 482878 3e4a89 31688e 26838f 1f9d8a 36b779 6dcd59 b4de2c fde725",
    "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
    "magma": "000004 180f3e 451077 721f81 9f2f7f cd4071 f1605d fd9567 fec98d fcfdbf",
    "gray": "0b0b0b f7f7f7",
}
_DIVERGING = {
    "light": "123f7a 2166ac 5b97c9 a9cae2 f7f6f3 f3b8a6 dd6f62 b2182b 7d0b22",
    "dark": "a5d3ff 5aa5ec 2a6fb8 22426b 1e2024 6b2530 b52a3c f0655f ffb9a6",
}
_DIVERGING_POWER = 0.85
"""How fast colour leaves zero: below 1, small weights still show their sign."""
_INTENSITY = {"light": "ffffff bdd2ec 3b6fb6 10254a", "dark": "191b1e 27487a 5b95dd e6f1fd"}
DIVERGING = "diverging"
INTENSITY = "blue"
NAMES = (DIVERGING, INTENSITY, *_SEQUENTIAL)

_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(rgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """OKLab (lightness 0 to 1, a, b) of 8-bit sRGB colours [..., 3]."""
    encoded = np.asarray(rgb, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def from_oklab(lab: npt.ArrayLike) -> Table:
    """8-bit sRGB of OKLab colours [..., 3]; what lies outside sRGB is clipped."""
    lms = (np.asarray(lab, np.float64) @ np.linalg.inv(_LMS_TO_LAB).T) ** 3
    linear = np.clip(lms @ np.linalg.inv(_RGB_TO_LMS).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def _anchors(text: str) -> npt.NDArray[np.float64]:
    return to_oklab([[int(word[i : i + 2], 16) for i in (0, 2, 4)] for word in text.split()])


def _slopes(before: Points, after: Points) -> Points:
    """Harmonic mean of neighbouring differences, zero where they turn: no new extreme appears between points."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Points = np.where(before * after <= 0, 0.0, 2 * before * after / (before + after))
    return mean


def _curve(points: Points, at: Points) -> Points:
    """A smooth curve through evenly spaced points [n, 3] at places from 0 to 1 (Fritsch and Carlson's slopes)."""
    n = len(points) - 1
    place = np.clip(at, 0, 1) * n
    i = np.minimum(n - 1, place.astype(int))
    t = (place - i)[:, None]
    steps = np.diff(points, axis=0)
    padded = np.concatenate([steps[:1], steps, steps[-1:]])
    first, second = _slopes(padded[i], steps[i]), _slopes(steps[i], padded[i + 2])
    smooth: Points = (
        (2 * t**3 - 3 * t**2 + 1) * points[i]
        + (t**3 - 2 * t**2 + t) * first
        + (3 * t**2 - 2 * t**3) * points[i + 1]
        + (t**3 - t**2) * second
    )
    return smooth


def _signed(points: Points, part: Points) -> Points:
    """The two arms are curves of their own, so that zero stays a kink and neither arm runs over into the other."""
    middle = (len(points) - 1) // 2
    far = np.minimum(1.0, np.abs(part)) ** _DIVERGING_POWER
    below, above = _curve(points[: middle + 1], 1 - far), _curve(points[middle:], far)
    return np.where((part < 0)[:, None], below, above)


@cache
def table(name: str, theme_name: str = "light") -> Table:
    """The 256 colours [256, 3] of a map; an unknown name is a UsageError that lists the known ones.

    `diverging` (signed values) and `blue` (how many: the surface where there are none) have a light and a dark
    variant, the others look the same in both themes.
    """
    whole = np.linspace(0, 1, 256)
    if name == DIVERGING:
        colours = from_oklab(_signed(_anchors(_DIVERGING[theme_name]), (np.arange(256) - 128) / 127))
    elif name == INTENSITY:
        colours = from_oklab(_curve(_anchors(_INTENSITY[theme_name]), whole))
    elif name in _SEQUENTIAL:
        colours = from_oklab(_curve(_anchors(_SEQUENTIAL[name]), whole))
    else:
        raise UsageError(f"There is no colour map {name!r}.", hint=f"Use one of: {', '.join(NAMES)}.")
    colours.setflags(write=False)
    return colours


def signed_index(values: Numbers, limit: float) -> Table:
    """Place in a table of values between -limit and limit: 128 is zero; what lies outside is clipped."""
    scaled = np.nan_to_num(np.asarray(values, np.float64) / (limit or 1.0), nan=0.0, posinf=1.0, neginf=-1.0)
    return (np.round(np.clip(scaled, -1, 1) * 127) + 128).astype(np.uint8)


def unsigned_index(values: Numbers, lo: float, hi: float) -> Table:
    """Place in a table of values between lo (0) and hi (255); what lies outside is clipped."""
    span = (hi - lo) or 1.0
    scaled = np.nan_to_num((np.asarray(values, np.float64) - lo) / span, nan=0.0, posinf=1.0, neginf=0.0)
    return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def paint_signed(values: Numbers, limit: float, *, colours: Table, theme: Theme) -> Table:
    """Colours [..., 3] of signed values on a symmetric scale; values that are not finite get the theme's `missing`."""
    painted = colours[signed_index(values, limit)]
    bad = ~np.isfinite(values)
    if bad.any():
        painted[bad] = theme.missing
    return painted


def limit_of(values: Numbers) -> float:
    """The largest finite magnitude, 0 where there is none: the end of a symmetric scale."""
    magnitudes = np.abs(np.asarray(values, np.float64))
    finite = magnitudes[np.isfinite(magnitudes)]
    return float(finite.max()) if finite.size else 0.0
