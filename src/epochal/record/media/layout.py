"""Which axis of an array is what: height, width, channels, batch. Guessed only where no other reading is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError

__all__ = ["CHANNELS", "as_batch", "as_picture"]

CHANNELS = (1, 3, 4)
"""Grey, red-green-blue, and these with opacity."""

Array = npt.NDArray[Any]
_PICTURE = ("HW", "HWC", "CHW")
_BATCH = ("NHW", "NHWC", "NCHW")


def as_picture(array: Array, dataformat: str | None) -> Array:
    """Return [H, W] or [H, W, C] of an array laid out as `dataformat` (HW, HWC or CHW) says, or as its shape does.

    Raises UsageError where the shape allows two readings, or none.
    """
    if array.ndim == 4 and array.shape[0] == 1 and (dataformat is None or _word(dataformat) in _BATCH):
        array = array[0]
        dataformat = None if dataformat is None else _word(dataformat)[1:]
    word = _word(dataformat) if dataformat is not None else _guess(array)
    if word not in _PICTURE:
        raise UsageError(f"dataformat is {dataformat!r}", hint=f"use one of: {', '.join(_PICTURE)}")
    if array.ndim != len(word):
        raise UsageError(f"dataformat {word} is for {len(word)} axes, the array has shape {array.shape}")
    return _checked(array if word != "CHW" else np.moveaxis(array, 0, -1), word)


def as_batch(array: Array, dataformat: str | None) -> Array:
    """Return [N, H, W] or [N, H, W, C] of a batch laid out as `dataformat` (NHW, NHWC or NCHW) says, or its shape."""
    word = _word(dataformat) if dataformat is not None else None
    if word is not None and word in _PICTURE:
        word = f"N{word}"
    if word is None:
        if array.ndim not in (3, 4):
            raise UsageError(f"a batch of pictures has 3 or 4 axes, this array has shape {array.shape}")
        word = "NHW" if array.ndim == 3 else f"N{_channels_of(array.shape[1:])}"
    if word not in _BATCH:
        raise UsageError(f"dataformat is {dataformat!r}", hint=f"use one of: {', '.join(_BATCH)}")
    if array.ndim != len(word):
        raise UsageError(f"dataformat {word} is for {len(word)} axes, the array has shape {array.shape}")
    array = np.moveaxis(array, 1, -1) if word == "NCHW" else array
    if array.ndim == 4 and array.shape[-1] not in CHANNELS:
        raise UsageError(f"pictures have 1, 3 or 4 channels, this batch has {array.shape[-1]} as {word}")
    return array


def _word(dataformat: str) -> str:
    return str(dataformat).upper()


def _guess(array: Array) -> str:
    if array.ndim == 2:
        return "HW"
    if array.ndim == 3:
        return _channels_of(array.shape)
    hint = (
        "give one picture, or Image.batch(data) for several"
        if array.ndim == 4
        else "give [H, W], [H, W, C] or [C, H, W]"
    )
    raise UsageError(f"a picture has 2 or 3 axes, this array has shape {array.shape}", hint=hint)


def _channels_of(shape: tuple[int, ...]) -> str:
    """`HWC` or `CHW`, as three sizes say."""
    first, last = shape[0] in CHANNELS, shape[-1] in CHANNELS
    if first == last:
        which = "either of its ends could be the channels" if first else "neither of its ends is 1, 3 or 4 channels"
        advice = "dataformat='CHW' or 'HWC'" if first else "one channel at a time, as [H, W], or three as [H, W, 3]"
        raise UsageError(f"a picture of shape {shape}: {which}", hint=f"give {advice}")
    return "CHW" if first else "HWC"


def _checked(array: Array, word: str) -> Array:
    if array.ndim == 3 and array.shape[-1] not in CHANNELS:
        raise UsageError(f"a picture has 1, 3 or 4 channels, this one has {array.shape[-1]} as {word}")
    if 0 in array.shape:
        raise UsageError(f"a picture of shape {array.shape} has no pixels")
    return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
