"""Moving pictures: MP4 where PyAV is installed, GIF else."""

from __future__ import annotations

import importlib.util
import io
import math
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array, check_limits, shape_word, to_bytes
from epochal.record.media.layout import CHANNELS
from epochal.record.media.sources import read_source
from epochal.record.media.value import Encoded, Value

__all__ = ["Video"]

_LAYOUTS = ("TCHW", "THWC", "THW")
_SIDE = 8192


class Video(Value):
    """A film: [T, C, H, W], [T, H, W, C] or [T, H, W] as `dataformat` says, a path, or bytes of MP4, WebM, MOV, GIF.

    A batch in front (`NTCHW`, `NTHWC`) is laid out as a grid. bool and uint8 are taken as they are, floats lie in
    `range` ((0, 1) where none is given). `fps` frames are shown a second. Arrays become MP4 (H.264) where PyAV is
    installed (`pip install 'epochal[video]'`), else GIF; files are kept as they are.

    Raises UsageError where this cannot be a film.
    """

    __slots__ = ("_bytes", "_extension", "_fps", "_frames", "_limits")

    kind = "video"

    def __init__(
        self,
        data: object,
        fps: float = 4,
        *,
        caption: str = "",
        dataformat: str = "TCHW",
        range: tuple[float, float] | None = None,  # noqa: A002 - as epochal.Image
    ) -> None:
        super().__init__(caption)
        if not 0.01 <= fps <= 1000:
            raise UsageError(f"fps is {fps!r}", hint="give frames a second, such as 4")
        self._fps, self._limits = float(fps), range
        self._frames: npt.NDArray[Any] | None = None
        self._bytes, self._extension = b"", ""
        if isinstance(data, str | os.PathLike | bytes | bytearray | memoryview):
            self._bytes, named = read_source(data, "a film")
            self._extension = _sniff(self._bytes)
            if not self._extension:
                raise UsageError(
                    f"these {len(self._bytes):,} bytes{f' of a .{named} file' if named else ''} are no film",
                    hint="MP4, WebM, MOV and GIF are taken",
                )
            return
        array = as_array(data, "a film")
        if array.dtype not in (np.bool_, np.uint8) or range is not None:
            check_limits(array, range, f"a film of {shape_word(array)}")
        self._frames = _laid_out(array, dataformat)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self._bytes) if self._frames is None else self._frames.nbytes

    def encode(self) -> Encoded:
        """MP4 or GIF, or the file as it was given."""
        if self._frames is None:
            return Encoded(data=self._bytes, extension=self._extension)
        frames, facts, altered = to_bytes(self._frames, self._limits, f"a film of {shape_word(self._frames)}")
        if frames.shape[-1] == 4:
            frames = frames[..., :3]  # neither format blends
        has_av = importlib.util.find_spec("av") is not None
        data, extension = (_mp4(frames, self._fps), "mp4") if has_av else (_gif(frames, self._fps), "gif")
        count, height, width = frames.shape[:3]
        told = f"{altered:,} pixels of a film are not finite or lie outside its range and were clamped"
        return Encoded(
            data=data,
            extension=extension,
            meta={"width": width, "height": height, "frames": count, "fps": self._fps, **facts},
            altered={"pixels": altered},
            told=told if altered else "",
        )


def _laid_out(array: npt.NDArray[Any], dataformat: str) -> npt.NDArray[Any]:
    """Frames as [T, H, W, C], a batch as a grid."""
    word = str(dataformat).upper()
    single = word.removeprefix("N")
    if single not in _LAYOUTS:
        raise UsageError(f"dataformat is {dataformat!r}", hint=f"use one of: {', '.join(_LAYOUTS)}, or N before it")
    if array.ndim == len(single) + 1:
        batch = array
    elif array.ndim == len(single) and not word.startswith("N"):
        batch = array[None]
    else:
        raise UsageError(f"dataformat {word} does not fit an array of shape {array.shape}")
    if single == "TCHW":
        batch = np.moveaxis(batch, 2, -1)
    elif single == "THW":
        batch = batch[..., None]
    if batch.shape[-1] not in CHANNELS:
        hint = "give dataformat='THWC'" if single == "TCHW" and array.shape[-1] in CHANNELS else "give 1, 3 or 4"
        raise UsageError(f"a film of shape {array.shape} has {batch.shape[-1]:,} channels as {single}", hint=hint)
    if 0 in batch.shape:
        raise UsageError(f"a film of shape {array.shape} has no pixels")
    frames = _grid(batch)
    if max(frames.shape[1:3]) > _SIDE:
        raise UsageError(f"a film of {frames.shape[2]}×{frames.shape[1]} pixels is too large", hint=f"at most {_SIDE}")
    return np.ascontiguousarray(frames)


def _grid(batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[N, T, H, W, C] as one film of about as many columns as rows; missing places stay black."""
    n, t, height, width, channels = batch.shape
    if n == 1:
        one: npt.NDArray[Any] = batch[0]
        return one
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.zeros((t, rows * height, columns * width, channels), batch.dtype)
    for i in range(n):
        y, x = i // columns * height, i % columns * width
        grid[:, y : y + height, x : x + width] = batch[i]
    return grid


def _mp4(frames: npt.NDArray[np.uint8], fps: float) -> bytes:
    import av

    rgb = np.repeat(frames, 3, axis=3) if frames.shape[3] == 1 else frames
    # H.264 with halved colour needs even sides: the last row or column is repeated.
    odd = ((0, 0), (0, rgb.shape[1] % 2), (0, rgb.shape[2] % 2), (0, 0))
    rgb = np.pad(rgb, odd, mode="edge") if rgb.shape[1] % 2 or rgb.shape[2] % 2 else rgb
    # A file: to put the index in front, where players look first, FFmpeg reads back what it wrote.
    with tempfile.TemporaryDirectory(prefix="epochal-") as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            rate = Fraction(fps).limit_denominator(1000)
            stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "17", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = rgb.shape[2], rgb.shape[1], "yuv420p"
            context = stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709, said in the file
            context.color_range = 1
            for one in rgb:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
            container.mux(stream.encode())
        return path.read_bytes()


def _gif(frames: npt.NDArray[np.uint8], fps: float) -> bytes:
    from PIL import Image as Pillow

    packed = io.BytesIO()
    plain = frames[..., 0] if frames.shape[3] == 1 else frames
    pictures = [Pillow.fromarray(np.ascontiguousarray(one)) for one in plain]
    # GIF counts hundredths of a second, and browsers slow down what is shorter than two of them.
    hold = max(20, round(100 / fps) * 10)
    pictures[0].save(packed, "GIF", save_all=True, append_images=pictures[1:], duration=hold, loop=0, optimize=False)
    return packed.getvalue()


def _sniff(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "mov" if data[8:10] == b"qt" else "mp4"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm"
    return "gif" if data.startswith((b"GIF87a", b"GIF89a")) else ""
