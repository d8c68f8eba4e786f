"""Scenes as files: PNG, SVG, GIF and MP4."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from epochal.errors import MissingExtraError, PictureError, UsageError
from epochal.picture.colours import Table
from epochal.picture.scene import Scene, pictures, stacked, svg
from epochal.picture.theme import Rgb, Theme

PICTURE_FORMATS = ("png", "svg")
MOVIE_FORMATS = ("gif", "mp4")
FASTEST_GIF = 50.0
SLOWEST = 0.1
"""Frames a second; browsers slow a GIF down when a frame is shown for less than 20 ms."""
MOST_PIXELS = 50_000_000
MOST_GIF_PIXELS = 600_000_000
COLOURS = 255
"""A GIF has 256; the last is kept for pixels that stay as they were."""
Progress = Callable[[int, int], None]


def save(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word users know
    fps: float = 12.0,
    indices: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a scene to a file of the format that its suffix (or `format`) names.

    PNG and SVG show the frames `indices` one below the other, by default the last one. GIF and MP4 play them, by
    default all. The file appears complete or not at all. `progress(done, total)` is called after each frame.
    """
    target = Path(path)
    kind = (format or target.suffix.lstrip(".")).lower()
    if kind not in PICTURE_FORMATS + MOVIE_FORMATS:
        allowed = ", ".join(PICTURE_FORMATS + MOVIE_FORMATS)
        raise UsageError(
            f"A picture cannot be written as {kind or 'a file without a suffix'!r}.", hint=f"Use {allowed}."
        )
    if scene.frames == 0:
        raise PictureError("There is no frame to draw.")
    if not SLOWEST <= fps <= 240:
        raise UsageError(f"fps must lie between {SLOWEST:g} and 240, not {fps:g}.")
    pixels = scene.size[0] * scene.size[1]
    if kind in PICTURE_FORMATS:
        chosen = [scene.frames - 1] if indices is None else list(indices)
        if pixels * len(chosen) > MOST_PIXELS:
            raise PictureError(f"{len(chosen)} frames are too much for one picture.", hint="Choose fewer steps.")
    else:
        chosen = list(range(scene.frames)) if indices is None else list(indices)
        if kind == "gif" and pixels * len(chosen) > MOST_GIF_PIXELS:
            raise PictureError(
                f"{len(chosen)} frames of {scene.size[0]}x{scene.size[1]} pixels are too much for a GIF.",
                hint="Choose fewer steps or a smaller size, or write an .mp4.",
            )

    def counted() -> Iterator[Image.Image]:
        for done, picture in enumerate(pictures(scene, chosen), 1):
            yield picture
            if progress is not None:
                progress(done, len(chosen))

    with replacing(target) as temporary:
        if kind == "png":
            stacked(scene, chosen).save(temporary, "PNG", optimize=False)
        elif kind == "svg":
            temporary.write_text(svg(scene, chosen), encoding="utf-8")
        elif kind == "gif":
            _write_gif(temporary, counted(), palette_of(scene.theme, scene.colours), fps=fps)
        else:
            _write_mp4(temporary, counted(), fps=fps, ground=scene.theme.ground)
    return target


class replacing:  # noqa: N801 - reads as a verb: with replacing(target) as temporary
    """A temporary file beside the target that takes its place when the block ends well, and is removed otherwise."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> Path:
        folder = self._target.parent
        if not folder.is_dir():
            raise UsageError(f"There is no folder {str(folder)!r} to write {self._target.name!r} into.")
        if self._target.is_dir():
            raise UsageError(f"{str(self._target)!r} is a folder, not a file.")
        try:
            handle, name = tempfile.mkstemp(
                prefix=f".{self._target.stem[:40]}-", suffix=self._target.suffix, dir=folder
            )
        except OSError as error:
            raise PictureError(f"Cannot write into {str(folder)!r}: {error.strerror}.") from error
        os.close(handle)
        self._temporary = Path(name)
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        # mkstemp keeps the file to its owner; an exported file gets the rights any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        self._temporary.chmod(0o666 & ~mask)
        self._temporary.replace(self._target)


def palette_of(theme: Theme, data: Table) -> Table:
    """The 255 colours of a GIF: shades between each ink and its surface, the rest samples of the data's colours."""
    ramps: dict[Rgb, None] = dict.fromkeys(
        (theme.ground, theme.panel, theme.rule, theme.past, theme.missing, theme.head)
    )

    def shades(ink: Rgb, surface: Rgb, count: int) -> None:
        for t in np.linspace(0, 1, count + 1)[1:]:
            r, g, b = (round(s + (i - s) * t) for s, i in zip(surface, ink, strict=True))
            ramps[(r, g, b)] = None

    for surface in (theme.ground, theme.panel):
        shades(theme.ink, surface, 9)
        shades(theme.soft, surface, 6)
        shades(theme.faint, surface, 5)
    for ink in theme.lines[:4]:
        shades(ink, theme.panel, 3)
    for ink in theme.lines[4:]:
        shades(ink, theme.panel, 1)
    shades(theme.head, theme.panel, 3)
    room = COLOURS - len(ramps)
    # An odd number of samples keeps the middle one, which is the zero of a signed map.
    odd = room - (room + 1) % 2
    if len(data) > odd:
        data = data[1:] if len(data) == 256 else data
        data = data[np.round(np.linspace(0, len(data) - 1, odd)).astype(int)]
    colours = np.concatenate([np.array(list(ramps), np.uint8), data])
    return np.concatenate([colours, np.repeat(colours[-1:], COLOURS - len(colours), axis=0)])


class Quantiser:
    """Finds the nearest palette entry of each pixel, each new colour searched for once."""

    def __init__(self, palette: Table) -> None:
        self.palette = palette
        self._bytes = palette.tobytes() + bytes(3 * (256 - len(palette)))
        self._known = np.full(1 << 24, -1, np.int16)

    def __call__(self, picture: Image.Image) -> Image.Image:
        """The picture in the palette's colours."""
        rgb = np.asarray(picture)
        packed = rgb[..., 0].astype(np.uint32) << 16
        packed |= rgb[..., 1].astype(np.uint32) << 8
        packed |= rgb[..., 2]
        index = self._known[packed]
        new = index < 0
        if new.any():
            colours = np.unique(packed[new])
            split = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=1).astype(np.int32)
            for start in range(0, len(split), 4096):
                part = split[start : start + 4096]
                distance = ((part[:, None, :] - self.palette[None].astype(np.int32)) ** 2).sum(axis=2)
                self._known[colours[start : start + 4096]] = distance.argmin(axis=1)
            index = self._known[packed]
        return self.image(index.astype(np.uint8))

    def image(self, index: npt.NDArray[np.uint8]) -> Image.Image:
        """A picture of places in the palette."""
        image = Image.fromarray(index)
        image.putpalette(self._bytes)
        return image


def frame_times(count: int, fps: float) -> list[int]:
    """How long each frame of a GIF is shown, in ms: multiples of 10, as the format wants, count / fps in all."""
    ends = [round((i + 1) * 100 / min(fps, FASTEST_GIF)) for i in range(count)]
    return [(b - a) * 10 for a, b in zip([0, *ends], ends, strict=False)]


def _write_gif(path: Path, frames: Iterable[Image.Image], palette: Table, *, fps: float) -> None:
    quantise = Quantiser(palette)
    # Equal neighbours are merged by hand: Pillow merges them too, but then knows only one duration for a lone frame.
    shown: list[Image.Image] = []
    held: list[int] = []
    last: npt.NDArray[np.uint8] | None = None
    for picture in frames:
        small = quantise(picture)
        pixels = np.asarray(small)
        if last is not None:
            unchanged = pixels == last
            if unchanged.all():
                held[-1] += 1
                continue
            # What did not change since the frame before is left see-through, which packs far smaller.
            small = quantise.image(np.where(unchanged, np.uint8(COLOURS), pixels))
        shown.append(small)
        held.append(1)
        last = pixels
    ends = np.cumsum([0, *frame_times(sum(held), fps)])
    places = np.cumsum([0, *held])
    # The format has 16 bits for hundredths of a second: what stands still for longer is cut to eleven minutes.
    durations = [min(655_350, int(ends[b] - ends[a])) for a, b in pairwise(places)]
    times = durations if len(shown) > 1 else durations[0]
    options: dict[str, Any] = {"duration": times, "loop": 0, "optimize": False, "interlace": 0}
    if len(shown) > 1:
        options["transparency"] = COLOURS
    shown[0].save(path, "GIF", save_all=True, append_images=shown[1:], disposal=1, **options)


def _write_mp4(path: Path, frames: Iterable[Image.Image], *, fps: float, ground: Rgb) -> None:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(
            "Writing MP4 needs PyAV, which is not installed.",
            hint="pip install 'epochal[video]', or write a .gif instead.",
        ) from error
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = None
        for picture in frames:
            # H.264 with halved colour needs even sizes; a missing row or column is filled with the ground.
            if picture.width % 2 or picture.height % 2:
                even = Image.new(
                    "RGB", (picture.width + picture.width % 2, picture.height + picture.height % 2), ground
                )
                even.paste(picture, (0, 0))
                picture = even
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "veryfast"})
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
                context = stream.codec_context
                context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709, said in the file
                context.color_range = 1
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        if stream is not None:
            container.mux(stream.encode())
