"""Pictures that were recorded: decoded, and shown one after the other as they are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from epochal.errors import PictureError
from epochal.picture import frame as page
from epochal.picture.canvas import Canvas, Pixels
from epochal.picture.colours import Table
from epochal.picture.frame import Look
from epochal.picture.theme import Theme

MOST_PIXELS = 64_000_000
_ROOM = (960, 720)
_LEAST_SIDE = 280
_LARGEST_PIXEL = 24
_PALETTE = 160
_SAMPLED = 16


def decode(data: bytes) -> Pixels:
    """The pixels of a picture file, [H, W] or [H, W, C] uint8 with C of 3 or 4; of a moving one its first frame.

    Raises PictureError where it cannot be read or is larger than any picture of a training would be.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture: Image.Image = opened
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise PictureError(f"a picture of {width:,}×{height:,} pixels is too large to show")
            if picture.mode == "1":
                picture = picture.convert("L")
            elif picture.mode not in ("L", "RGB", "RGBA"):
                seen_through = picture.mode in ("LA", "PA") or "transparency" in picture.info
                picture = picture.convert("RGBA" if seen_through else "RGB")
            return np.array(picture)
    except PictureError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow raises many kinds for files that are none
        raise PictureError(f"a recorded picture cannot be decoded: {error}") from None


def mosaic(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures of one shape beside and below one another, about as many columns as rows; the rest stays 0."""
    if len(pictures) == 1:
        return pictures[0]
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    high, wide = pictures[0].shape[:2]
    whole = np.zeros((rows * high, columns * wide, *pictures[0].shape[2:]), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * high, i % columns * wide
        whole[y : y + high, x : x + wide] = picture
    return whole


@dataclass(frozen=True)
class PixelsScene:
    """Frames [T, H, W] or [T, H, W, C] uint8, each pixel a square of one size; `captions` say the moment."""

    pixels: npt.NDArray[np.uint8]
    theme: Theme
    title: str
    captions: Sequence[str]
    wanted: tuple[int, int] | None = None

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
        """The colours that occur most, for a GIF's palette."""
        chosen = np.unique(np.linspace(0, self.frames - 1, min(_SAMPLED, self.frames)).round().astype(int))
        some = np.concatenate([self._rgb(int(i))[:: self._fold, :: self._fold] for i in chosen])
        found = Image.fromarray(np.ascontiguousarray(some)).quantize(_PALETTE, dither=Image.Dither.NONE)
        table = np.array(found.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return table[: max(1, min(len(table), _PALETTE))]

    @cached_property
    def _place(self) -> tuple[int, int, int, int]:
        """Size of a pixel, how many are folded into one, and how wide and high the picture is shown."""
        u = self.look.unit
        high, wide = self.pixels.shape[1:3]
        outer = self.wanted or _ROOM
        room = (outer[0] - round(2 * page.MARGIN * u), outer[1] - round((page.HEADER + page.MARGIN) * u))
        fits = min(room[0] // wide, room[1] // high)
        if fits >= 1:
            largest = _LARGEST_PIXEL if self.wanted is not None else max(1, -(-_LEAST_SIDE // max(high, wide)))
            cell = max(1, min(fits, largest))
            return cell, 1, wide * cell, high * cell
        fold = max(-(-wide // max(1, room[0])), -(-high // max(1, room[1])))
        return 1, fold, -(-wide // fold), -(-high // fold)

    @property
    def _fold(self) -> int:
        return self._place[1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height: as wanted, otherwise what the picture needs."""
        if self.wanted is not None:
            return self.wanted
        u = self.look.unit
        _, _, wide, high = self._place
        least = round(page.least_width(self.title, max(self.captions, key=len, default=""), "", u) / 1.6)
        return max(least, wide + round(2 * page.MARGIN * u)), high + round((page.HEADER + page.MARGIN) * u)

    def draw_ground(self, canvas: Canvas) -> None:
        """The title."""
        page.draw_title(canvas, self.look, self.title)

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """The picture and the caption."""
        u = self.look.unit
        page.draw_caption(canvas, self.look, self.size, self.captions[index])
        cell, fold, wide, high = self._place
        shown = self._rgb(index)
        if fold > 1:
            shown = np.asarray(Image.fromarray(shown).reduce(fold))
        x = (self.size[0] - wide) // 2
        y = round(page.HEADER * u) + max(0, (self.size[1] - round((page.HEADER + page.MARGIN) * u) - high) // 2)
        canvas.cells(x, y, shown, cell=(cell, cell), gap=0, ground=self.theme.ground)

    def _rgb(self, index: int) -> Pixels:
        """A frame in colours, what is see-through laid over the ground."""
        frame = self.pixels[index]
        if frame.ndim == 2 or frame.shape[2] == 1:
            grey = frame if frame.ndim == 2 else frame[..., 0]
            return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
        if frame.shape[2] == 3:
            return np.ascontiguousarray(frame)
        share = frame[..., 3:].astype(np.float32) / 255
        blended = frame[..., :3] * share + np.array(self.theme.ground, np.float32) * (1 - share)
        shown: Pixels = np.floor(blended + 0.5).astype(np.uint8)
        return shown
