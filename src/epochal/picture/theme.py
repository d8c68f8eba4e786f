"""Surfaces, inks and line colours of the light and the dark theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from epochal.errors import UsageError

ThemeName = Literal["light", "dark"]
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours of everything that is not data; `lines` are for series, in the order they are given out."""

    name: ThemeName
    ground: Rgb
    panel: Rgb
    rule: Rgb
    ink: Rgb
    soft: Rgb
    faint: Rgb
    head: Rgb
    past: Rgb
    missing: Rgb
    lines: tuple[Rgb, ...]


LIGHT = Theme(
    name="light",
    ground=(250, 249, 247),
    panel=(255, 255, 255),
    rule=(230, 227, 222),
    ink=(29, 28, 26),
    soft=(95, 91, 85),
    faint=(140, 135, 128),
    head=(224, 81, 43),
    past=(222, 219, 213),
    missing=(226, 170, 0),
    lines=(
        (59, 111, 182),
        (209, 131, 43),
        (74, 157, 107),
        (162, 90, 179),
        (194, 73, 92),
        (74, 158, 178),
        (140, 120, 60),
        (110, 110, 122),
    ),
)

DARK = Theme(
    name="dark",
    ground=(18, 19, 21),
    panel=(25, 27, 30),
    rule=(42, 45, 49),
    ink=(236, 234, 230),
    soft=(165, 162, 154),
    faint=(118, 115, 108),
    head=(255, 122, 77),
    past=(52, 55, 60),
    missing=(255, 208, 64),
    lines=(
        (100, 153, 222),
        (226, 155, 75),
        (94, 192, 141),
        (193, 129, 209),
        (226, 112, 130),
        (103, 189, 208),
        (184, 164, 100),
        (156, 156, 168),
    ),
)


def theme(name: str) -> Theme:
    """The theme called `light` or `dark`; anything else is a UsageError."""
    for known in (LIGHT, DARK):
        if known.name == name:
            return known
    raise UsageError(f"There is no theme {name!r}.", hint="Use light or dark.")
