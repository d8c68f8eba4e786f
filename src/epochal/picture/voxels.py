"""Blocks of voxels as pictures: cubes seen from the side, without perspective, and slices through the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from epochal.picture import frame as page
from epochal.picture.canvas import Canvas, Pixels
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.scale import ColourScale
from epochal.picture.theme import Rgb, Theme

__all__ = ["PITCH", "YAW", "VoxelsScene", "draw_cubes", "turn_of", "turning_cubes"]

Array = npt.NDArray[Any]

YAW, PITCH = -0.62, 0.5
"""Radians: the usual side from which a block is seen, as in the Studio."""
SHARE = 0.25
"""What lies above this share of the scale is drawn, where nothing else is said."""
VIEWS = 48
"""So many pictures make a full turn."""

_LIGHT = np.array([-0.38, -0.76, -0.53])
_FLAG = 0.56
_ODD = (232, 40, 168)
"""Of what is not finite: a hue that maps without signs do not have."""
_SHARP = 2
_AT_ONCE = 4_000_000
_ROOM = 420
_GAP = 16


def turn_of(yaw: float, pitch: float) -> Array:
    """Rows: where the right, the bottom and the back of a picture lie in a block, as (column, row, depth)."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    return np.array([[cy, 0, sy], [sp * sy, cp, -sp * cy], [-cp * sy, sp, cp * cy]])


def draw_cubes(
    colours: Pixels, solid: npt.NDArray[np.bool_], side: int, *, turn: Array, scale: float, ground: Rgb, box: Rgb
) -> Pixels:
    """A picture [side, side, 3] of the voxels that are `solid` [D, H, W], each in its colour [D, H, W, 3].

    `scale` is how many pixels the side of a voxel has. Cubes are drawn from the back to the front: without perspective
    all have one outline, and one lies before another exactly where its middle does.
    """
    sharp = side * _SHARP
    picture = Image.new("RGB", (sharp, sharp), ground)
    _draw_box(ImageDraw.Draw(picture), solid.shape, turn, scale * _SHARP, sharp, box)
    code = _nearest(solid, turn, scale * _SHARP, sharp)
    pixels = np.array(picture)
    if code is not None:
        which, shade, hit = code
        flat = colours.reshape(-1, 3)
        pixels[hit] = np.floor(flat[which[hit]] * shade[hit][:, None] + 0.5).astype(np.uint8)
    mean: Pixels = np.asarray(Image.fromarray(pixels).reduce(_SHARP))
    return mean


def turning_cubes(
    colours: Pixels, solid: npt.NDArray[np.bool_], side: int, *, yaws: Sequence[float], ground: Rgb, box: Rgb
) -> Pixels:
    """Pictures [T, side, side, 3] of the same voxels from several sides, all in one size that fits the picture."""
    turns = [turn_of(yaw, PITCH) for yaw in yaws]
    scale = side / (_reach(solid.shape, turns) * 1.04)
    pictures = (draw_cubes(colours, solid, side, turn=turn, scale=scale, ground=ground, box=box) for turn in turns)
    return np.stack(list(pictures))


def _reach(sides: Sequence[int], turns: Sequence[Array]) -> float:
    """How wide or high, in voxels, a block is at most as it is turned."""
    size = np.array([sides[2], sides[1], sides[0]])
    return max(float((np.abs(turn[:2]) @ size).max()) for turn in turns)


def _nearest(solid: npt.NDArray[np.bool_], turn: Array, scale: float, side: int) -> tuple[Array, Array, Array] | None:
    """Of each pixel the number of the voxel that is seen, how bright it is there, and whether there is one."""
    shown = solid & ~_covered(solid, turn)
    numbers = np.flatnonzero(shown)
    if not len(numbers):
        return None
    d, h, w = solid.shape
    z, y, x = np.unravel_index(numbers, solid.shape)
    middles = np.stack([x + 0.5 - w / 2, y + 0.5 - h / 2, z + 0.5 - d / 2], axis=1) @ turn.T
    order = np.argsort(-middles[:, 2], kind="stable")
    numbers, middles = numbers[order], middles[order]
    down, across, shades = _sprite(turn, scale)
    top = np.round(middles[:, 1] * scale + side / 2 - 0.5).astype(np.int64)
    left = np.round(middles[:, 0] * scale + side / 2 - 0.5).astype(np.int64)
    seen = np.full(side * side, -1, np.int64)
    part = max(1, _AT_ONCE // len(down))
    for first in range(0, len(numbers), part):
        rows = top[first : first + part, None] + down
        columns = left[first : first + part, None] + across
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        told = np.arange(first, first + len(rows))[:, None] * len(down) + np.arange(len(down))
        # Of several at one pixel numpy keeps the last, which lies in front.
        seen[(rows * side + columns)[inside]] = told[inside]
    hit = seen >= 0
    which = np.where(hit, numbers[seen // len(down)], 0)
    shade = np.where(hit, shades[seen % len(down)], 1.0)
    return which.reshape(side, side), shade.reshape(side, side), hit.reshape(side, side)


def _covered(solid: npt.NDArray[np.bool_], turn: Array) -> npt.NDArray[np.bool_]:
    """Voxels that have others before all sides that look towards the viewer."""
    covered = np.ones(solid.shape, bool)
    for axis, away in zip((2, 1, 0), turn[2], strict=True):
        if abs(away) < 1e-9:
            continue
        before = np.zeros_like(solid)
        here: list[slice] = [slice(None)] * 3
        there: list[slice] = [slice(None)] * 3
        here[axis], there[axis] = (slice(1, None), slice(None, -1)) if away > 0 else (slice(None, -1), slice(1, None))
        before[tuple(here)] = solid[tuple(there)]
        covered &= before
    return covered


def _sprite(turn: Array, scale: float) -> tuple[Array, Array, Array]:
    """The pixels of one cube, as rows and columns from the pixel of its middle, and how bright each is."""
    reach = math.ceil(scale * max(np.abs(turn[0]).sum(), np.abs(turn[1]).sum()) / 2) + 1
    down, across = (part.reshape(-1) for part in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    start = (across[:, None] * turn[0] + down[:, None] * turn[1]) / scale
    # A little larger than it is, so that rounding to whole pixels leaves no gaps.
    half = 0.5 + 0.5 / scale
    way = np.where(np.abs(turn[2]) < 1e-9, 1e-9, turn[2])
    near = (-np.sign(way) * half - start) / way
    far = (np.sign(way) * half - start) / way
    enter, face = near.max(axis=1), near.argmax(axis=1)
    inside = enter < far.min(axis=1)
    at = start + enter[:, None] * turn[2]
    others = np.array([[1, 2], [0, 2], [0, 1]])[face]
    edge = 0.5 - np.abs(np.take_along_axis(at, others, axis=1)).max(axis=1)
    looking = -np.sign(way)[:, None] * turn.T
    bright = 0.7 + 0.3 * np.maximum(0, looking @ _LIGHT)
    wide = 0.0 if scale < 5 * _SHARP else min(0.12, 0.8 * _SHARP / scale)
    shades = bright[face] * np.where(edge < wide, 0.82, 1.0)
    return down[inside], across[inside], shades[inside]


def _draw_box(
    pen: ImageDraw.ImageDraw, sides: Sequence[int], turn: Array, scale: float, side: int, colour: Rgb
) -> None:
    """The edges of the block that lie behind it."""
    d, h, w = sides
    size = np.array([w, h, d])
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for ends in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if any((1 if end else -1) * turn[2][a] < 0 for a, end in zip(others, ends, strict=True)):
                continue
            corners = np.zeros((2, 3))
            corners[:, others] = ends
            corners[1, axis] = 1
            places = (corners - 0.5) * size @ turn[:2].T * scale + side / 2
            pen.line([tuple(p) for p in places.tolist()], fill=colour, width=_SHARP)


@dataclass(frozen=True)
class VoxelsScene:
    """Blocks [T, D, H, W], or [T, D, H, W, C] of colours, in time; a single one that moves is turned once around.

    Drawn is what lies above `threshold` (of signed values by size), and what is not finite in a colour of its own.
    """

    values: Array
    scale: ColourScale
    theme: Theme
    title: str
    captions: Sequence[str]
    threshold: float
    turning: bool = False
    wanted: tuple[int, int] | None = None
    note: str = ""
    yaw: float = YAW
    pitch: float = PITCH

    @property
    def frames(self) -> int:
        """How many moments there are."""
        return VIEWS if self.turning and len(self.values) == 1 else len(self.values)

    @cached_property
    def look(self) -> Look:
        """Theme and unit of length."""
        return Look(self.theme, page.unit_for(self.wanted))

    @property
    def colours(self) -> Table:
        """The data's colours in several lights, for a GIF's palette."""
        table = self.scale.colours[:: max(1, len(self.scale.colours) // 48)].astype(np.float64)
        if self._coloured:
            steps = np.linspace(0, 255, 5)
            table = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
            return table.astype(np.uint8)
        lights = np.concatenate([table * light for light in (1.0, 0.85, 0.7)])
        return np.concatenate([lights, [self.theme.missing, _ODD]]).astype(np.uint8)

    @property
    def _coloured(self) -> bool:
        return self.values.ndim == 5

    @property
    def _flags(self) -> bool:
        return self.values.dtype == np.bool_

    @property
    def _side(self) -> int:
        """Of the picture of cubes."""
        if self.wanted is None:
            return _ROOM
        u = self.look.unit
        high = self.wanted[1] - (page.HEADER + page.FOOTER) * u
        wide = (self.wanted[0] - (2 * page.MARGIN + _GAP) * u) * 0.74
        return max(16, int(min(high, wide)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height: as wanted, otherwise what the pictures need."""
        if self.wanted is not None:
            return self.wanted
        longest = max(self.captions, key=len, default="")
        least = page.least_width(self.title, longest, self.note, 1.0)
        wide = _ROOM + _GAP + self._strip + 2 * page.MARGIN
        return max(round(least), round(wide)), _ROOM + page.HEADER + page.FOOTER

    @property
    def _strip(self) -> int:
        """The width of a slice."""
        return (self._side - round(3 * 18 * self.look.unit)) // 3

    def draw_ground(self, canvas: Canvas) -> None:
        """The title, the names of the slices, the scale."""
        u, look = self.look.unit, self.look
        page.draw_title(canvas, look, self.title)
        page.draw_note(canvas, look, self.size, self.note)
        if not (self._coloured or self._flags):
            self.scale.draw(canvas, look, x=page.MARGIN * u, y=self.size[1] - 34 * u)
        x, y = self._corner
        for i, (name, size) in enumerate(zip(("depth", "row", "column"), self.values.shape[1:4], strict=True)):
            top = y + (i + 1) * (self._strip + round(18 * u)) - 5 * u
            canvas.text(x + self._side + _GAP * u, top, f"{name} {size // 2}", size=11 * u, colour=self.theme.soft)

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """The cubes and the slices of one moment."""
        u = self.look.unit
        turning = self.frames > len(self.values)
        place = 0 if turning else index
        page.draw_caption(canvas, self.look, self.size, self.captions[place])
        turn = turn_of(self.yaw + (2 * math.pi * index / VIEWS if turning else 0.0), self.pitch)
        colours, solid = self._painted(place)
        x, y = self._corner
        cubes = draw_cubes(
            colours, solid, self._side,
            turn=turn, scale=self._pixels, ground=self.theme.ground, box=self.theme.rule,
        )  # fmt: skip
        canvas.cells(x, y, cubes, cell=(1, 1), gap=0, ground=self.theme.ground)
        d, h, w = solid.shape
        slices = (colours[d // 2], colours[:, h // 2], colours[:, :, w // 2].swapaxes(0, 1))
        for i, pixels in enumerate(slices):
            most = max(solid.shape)
            cell = self._strip / most
            shown = np.ascontiguousarray(pixels)
            size = (max(1, round(shown.shape[1] * cell)), max(1, round(shown.shape[0] * cell)))
            shown = np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.NEAREST))
            top = y + i * (self._strip + round(18 * u))
            canvas.cells(x + self._side + round(_GAP * u), top, shown, cell=(1, 1), gap=0, ground=self.theme.ground)

    @property
    def _corner(self) -> tuple[int, int]:
        u = self.look.unit
        return round(page.MARGIN * u), round(page.HEADER * u)

    @cached_property
    def _pixels(self) -> float:
        """Of the side of a voxel: as large as fits, in all views that will be drawn."""
        turning = self.frames > len(self.values)
        views = np.arange(VIEWS) * 2 * math.pi / VIEWS if turning else np.zeros(1)
        turns = [turn_of(self.yaw + view, self.pitch) for view in views]
        return self._side / (_reach(self.values.shape[1:4], turns) * 1.04)

    def _painted(self, place: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """Of one block the colours, and which voxels are there."""
        values = self.values[place]
        if self._coloured:
            colours = values[..., :3]
            if colours.dtype != np.uint8:
                colours = np.floor(np.clip(np.nan_to_num(colours), 0, 1) * 255 + 0.5).astype(np.uint8)
            colours = np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours
            strength = values[..., 3] if values.shape[-1] == 4 else values[..., :3].max(axis=-1)
            return np.ascontiguousarray(colours), strength > self.threshold
        known = values.astype(np.float64)
        finite = np.isfinite(known)
        size = np.abs(known) if self.scale.signed else known
        # What is there or not has one colour, from the middle of the map.
        painted = self.scale.paint(known * _FLAG if self._flags else known, self.theme)
        if not self.scale.signed:
            painted[~finite] = _ODD
        return painted, ~finite | (np.where(finite, size, 0) > self.threshold)
