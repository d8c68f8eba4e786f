"""Pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array, check_limits, shape_word, to_bytes
from epochal.record.media.layout import as_batch, as_picture
from epochal.record.media.marks import Box, masks_of, plain_boxes, plain_classes
from epochal.record.media.png import encode_png
from epochal.record.media.sources import (
    figure_kind,
    is_pillow,
    matplotlib_bytes,
    plotly_png,
    read_source,
    sniff_picture,
)
from epochal.record.media.value import Blob, Encoded, Value

__all__ = ["Image"]

_MODES = ("L", "RGB", "RGBA")


class Image(Value):
    """A picture: an array or tensor, a Pillow image, a matplotlib or plotly figure, a path, or the bytes of a file.

    Arrays are [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels; which of the two is told by `dataformat` ("HW",
    "HWC", "CHW") or by the shape where that allows one reading only. bool and uint8 are taken as they are; floats lie
    in `range` ((0, 1) where none is given), other integers need one. Values outside are clamped, counted and said.
    Files of PNG, JPEG, GIF, WebP and BMP are kept as they are. `mode` ("L", "RGB", "RGBA") converts an array or image.

    `boxes` are rectangles: a list of `{"box": (x0, y0, x1, y1), "label": "cat", "score": 0.9}` in pixels, or a mapping
    of such lists by name. `masks` are [H, W] arrays of class numbers 0 to 255: one, or a mapping by name. `classes`
    names the numbers.

    Raises UsageError where this cannot be a picture.

    >>> import numpy as np
    >>> epochal.Image(np.zeros((28, 28), np.uint8), caption="zero")
    <epochal.Image 28×28 'zero'>
    """

    __slots__ = ("_bytes", "_extension", "_extra", "_limits", "_masks", "_mode", "_pixels", "_size")

    kind = "image"

    def __init__(
        self,
        data: object,
        *,
        caption: str = "",
        range: tuple[float, float] | None = None,  # noqa: A002 - the word people use
        dataformat: str | None = None,
        mode: str | None = None,
        boxes: Iterable[Box] | Mapping[str, Iterable[Box]] | None = None,
        masks: object = None,
        classes: Mapping[int, str] | Sequence[str] | None = None,
    ) -> None:
        super().__init__(caption)
        if mode is not None and mode not in _MODES:
            raise UsageError(f"mode is {mode!r}", hint=f"use one of: {', '.join(_MODES)}")
        self._mode = mode
        self._limits = range
        self._pixels: npt.NDArray[Any] | None = None
        self._bytes = b""
        self._extension = "png"
        if isinstance(data, str | os.PathLike | bytes | bytearray | memoryview):
            self._from_file(*read_source(data, "an image"))
        elif figure := figure_kind(data):
            self._from_file(matplotlib_bytes(data, "png") if figure == "matplotlib" else plotly_png(data), "png")
        elif is_pillow(data):
            self._pixels, self._mode = _of_pillow(data, mode), None
            self._size = self._pixels.shape[1], self._pixels.shape[0]
        else:
            array = as_array(data, "an image")
            if array.dtype not in (np.bool_, np.uint8) or range is not None:
                check_limits(array, range, f"an image of {shape_word(array)}")
            self._pixels = as_picture(array, dataformat)
            self._size = self._pixels.shape[1], self._pixels.shape[0]
        self._extra: dict[str, Any] = {}
        if boxes is not None:
            self._extra["boxes"] = plain_boxes(boxes)
        if classes is not None:
            self._extra["classes"] = plain_classes(classes)
        self._masks = {} if masks is None else masks_of(masks, self._size)

    @classmethod
    def batch(
        cls,
        data: object,
        *,
        captions: Sequence[str] | None = None,
        range: tuple[float, float] | None = None,  # noqa: A002
        dataformat: str | None = None,
        mode: str | None = None,
    ) -> list[Image]:
        """Return the pictures of a batch [N, H, W], [N, H, W, C] or [N, C, H, W] (`dataformat` NHW, NHWC, NCHW).

        `run.log` takes the list: it becomes one series with N pictures at that step.
        """
        array = as_batch(as_array(data, "a batch of images"), dataformat)
        if captions is not None and len(captions) != len(array):
            raise UsageError(f"{len(captions)} captions for {len(array)} images")
        layout = "HW" if array.ndim == 3 else "HWC"
        return [
            cls(one, caption="" if captions is None else captions[i], range=range, dataformat=layout, mode=mode)
            for i, one in enumerate(array)
        ]

    def _from_file(self, data: bytes, extension: str) -> None:
        found = sniff_picture(data)
        if not found:
            raise UsageError(
                f"these {len(data):,} bytes{f' of a .{extension} file' if extension else ''} are no picture",
                hint="PNG, JPEG, GIF, WebP and BMP are taken; open others with Pillow: Image(PIL.Image.open(path))",
            )
        self._bytes, self._extension = data, found
        self._size = _file_size(data, found)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._size

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        held = len(self._bytes) if self._pixels is None else self._pixels.nbytes
        return held + sum(mask.nbytes for mask in self._masks.values())

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The picture as it will be stored, [H, W] or [H, W, C] uint8; a file is decoded."""
        return self._converted()[0]

    def _converted(self) -> tuple[npt.NDArray[np.uint8], dict[str, Any], int]:
        if self._pixels is None:
            return _of_pillow(_opened(self._bytes), self._mode), {}, 0
        pixels, facts, altered = to_bytes(self._pixels, self._limits, f"an image of {shape_word(self._pixels)}")
        if self._mode is not None:
            from PIL import Image as Pillow

            pixels = np.asarray(Pillow.fromarray(pixels).convert(self._mode))
        return pixels, facts, altered

    def encode(self) -> Encoded:
        """A PNG of the pixels, or the file as it was given."""
        meta: dict[str, Any] = {"width": self._size[0], "height": self._size[1]}
        altered, told = 0, ""
        if self._pixels is None and self._mode is None:
            data, extension = self._bytes, self._extension
        else:
            pixels, facts, altered = self._converted()
            data, extension = encode_png(pixels), "png"
            meta |= {"channels": pixels.shape[2] if pixels.ndim == 3 else 1, **facts}
            told = _clamping(facts, altered)
        meta |= self._extra
        blobs = []
        if self._masks:
            masks = {name: Blob(encode_png(mask, level=6), "png") for name, mask in self._masks.items()}
            blobs = list(masks.values())
            meta["masks"] = {name: blob.name for name, blob in masks.items()}
        return Encoded(
            data=data, extension=extension, meta=meta, blobs=tuple(blobs), altered={"pixels": altered}, told=told
        )

    def __repr__(self) -> str:
        return f"<epochal.Image {self._size[0]}×{self._size[1]}{f' {self.caption!r}' if self.caption else ''}>"


def _clamping(facts: Mapping[str, Any], altered: int) -> str:
    if not altered:
        return ""
    lo, hi = facts["range"]
    found = facts.get("found")
    seen = f" (values from {found[0]:.4g} to {found[1]:.4g})" if found else ""
    return (
        f"{altered:,} pixels are not finite or lie outside the range ({lo:g}, {hi:g}){seen} and were clamped; "
        "give epochal.Image(..., range=(lowest, highest))"
    )


def _file_size(data: bytes, extension: str) -> tuple[int, int]:
    try:
        with _opened(data) as picture:
            width, height = picture.size
    except Exception as error:  # noqa: BLE001 - Pillow raises many kinds for a file that is none
        raise UsageError(f"this .{extension} picture cannot be opened: {error}") from None
    return int(width), int(height)


def _opened(data: bytes) -> Any:
    from PIL import Image as Pillow

    return Pillow.open(io.BytesIO(data))


def _of_pillow(picture: Any, mode: str | None) -> npt.NDArray[np.uint8]:
    if mode is not None:
        picture = picture.convert(mode)
    elif picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        raise UsageError(
            f"an image of Pillow's mode {picture.mode} does not say what is black and what is white",
            hint="give its array with a range: epochal.Image(numpy.asarray(picture), range=(0, 65535))",
        )
    elif picture.mode not in ("1", "L", "RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.mode in ("LA", "PA", "La", "RGBa") else "RGB")
    pixels = np.array(picture)
    return pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == np.bool_ else pixels
