"""Sounds."""

from __future__ import annotations

import io
import os
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array
from epochal.record.media.sources import read_source
from epochal.record.media.value import Encoded, Value

__all__ = ["Audio"]

MOST_CHANNELS = 8
_FULL = 32767


class Audio(Value):
    """A sound: an array [T] or [T, channels], a path, or the bytes of a WAV, MP3, OGG, FLAC or M4A file.

    Floats lie in -1 to 1 (what lies outside is clamped, counted and said), int16 is taken as it is; both become WAV
    with 16 bits at `sample_rate` samples a second. Files are kept as they are.

    Raises UsageError where this cannot be a sound.

    >>> import numpy as np
    >>> epochal.Audio(np.sin(np.arange(8000) / 3), sample_rate=8000)
    <epochal.Audio>
    """

    __slots__ = ("_bytes", "_extension", "_rate", "_samples")

    kind = "audio"

    def __init__(self, data: object, sample_rate: int = 44100, *, caption: str = "") -> None:
        super().__init__(caption)
        self._samples: npt.NDArray[Any] | None = None
        self._bytes = b""
        if isinstance(data, str | os.PathLike | bytes | bytearray | memoryview):
            self._bytes, named = read_source(data, "a sound")
            self._extension = _sniff(self._bytes)
            if not self._extension:
                raise UsageError(
                    f"these {len(self._bytes):,} bytes{f' of a .{named} file' if named else ''} are no sound",
                    hint="WAV, MP3, OGG, FLAC and M4A are taken",
                )
            self._rate = 0
            return
        if not isinstance(sample_rate, int | float | np.number) or not 1 <= sample_rate < 2**31 or sample_rate % 1:
            raise UsageError(f"sample_rate is {sample_rate!r}", hint="give samples a second, such as 44100")
        self._rate, self._extension = int(sample_rate), "wav"
        self._samples = _checked(as_array(data, "a sound"))

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return len(self._bytes) if self._samples is None else self._samples.nbytes

    def encode(self) -> Encoded:
        """WAV, or the file as it was given."""
        if self._samples is None:
            return Encoded(data=self._bytes, extension=self._extension, meta=_facts_of(self._bytes, self._extension))
        samples, altered = _as_int16(self._samples)
        packed = io.BytesIO()
        with wave.open(packed, "wb") as file:
            file.setnchannels(samples.shape[1])
            file.setsampwidth(2)
            file.setframerate(self._rate)
            file.writeframes(samples.astype("<i2").tobytes())
        meta = _facts(self._rate, samples.shape[1], len(samples))
        if altered:
            meta["clamped"] = altered
        told = f"{altered:,} samples are not finite or lie outside -1 to 1 and were clamped" if altered else ""
        return Encoded(data=packed.getvalue(), extension="wav", meta=meta, altered={"samples": altered}, told=told)


def _checked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise UsageError(f"a sound has the shape [T] or [T, channels], this array has {array.shape}")
    if array.dtype.kind != "f" and array.dtype != np.int16:
        raise UsageError(
            f"a sound of {array.dtype} does not say what is loudest",
            hint="give int16, or floats from -1 to 1, such as samples / 2**31 for int32",
        )
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] > MOST_CHANNELS:
        turned = array.shape[0] <= MOST_CHANNELS
        raise UsageError(
            f"a sound of shape {array.shape} has {array.shape[1]:,} channels",
            hint="give [T, channels]: samples.T" if turned else f"at most {MOST_CHANNELS} are recorded",
        )
    return array


def _as_int16(samples: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int16], int]:
    """Samples times 32767, rounded to the nearest; how many were clamped or not finite."""
    if samples.dtype == np.int16:
        return samples, 0
    wide = samples.astype(np.float64)
    altered = int(np.count_nonzero(~(np.abs(wide) <= 1.0)))
    np.nan_to_num(wide, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    np.clip(wide, -1.0, 1.0, out=wide)
    return np.rint(wide * _FULL).astype(np.int16), altered


def _facts(rate: int, channels: int, frames: int) -> dict[str, Any]:
    return {"sample_rate": rate, "channels": channels, "frames": frames, "seconds": frames / rate if rate else 0.0}


def _facts_of(data: bytes, extension: str) -> dict[str, Any]:
    """What the file says of itself: of WAV alone, others are told by whoever plays them."""
    if extension != "wav":
        return {}
    try:
        with wave.open(io.BytesIO(data)) as file:
            return _facts(file.getframerate(), file.getnchannels(), file.getnframes())
    except (wave.Error, EOFError):  # other codings than PCM
        return {}


def _sniff(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return "mp3"
    if data.startswith(b"OggS"):
        return "ogg"
    if data.startswith(b"fLaC"):
        return "flac"
    return "m4a" if data[4:8] == b"ftyp" else ""
