"""Examples that may be pictures: kept as bytes of pixels where they are, else as the numbers or texts they are."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array, as_viewed
from epochal.record.media.layout import CHANNELS, as_batch
from epochal.record.media.value import Blob
from epochal.store.safetensors import pack_tensors

__all__ = ["ExampleBatch", "are_pictures", "checked_examples", "examples_of", "pack_examples"]

_LEAST_SIDE = 4
KEPT_BYTES = 64 << 20
"""Larger examples are not kept to be recognised when they are logged again; on the disk they are once all the same."""
KEPT_BYTES_OF_ALL = 4 * KEPT_BYTES
"""So much of examples is kept at most, of all names; the oldest are let go of first."""


class ExampleBatch:
    """Examples [N, ...] of a run, made into a file once, by the thread of the store, however often they are logged."""

    __slots__ = ("_lock", "_packed", "data")

    def __init__(self, data: npt.NDArray[Any] | list[str]) -> None:
        self.data = data
        self._lock = threading.Lock()
        self._packed: tuple[Blob, dict[str, Any]] | None = None

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(map(len, self.data)) if isinstance(self.data, list) else self.data.nbytes

    @property
    def waiting_nbytes(self) -> int:
        """What is still to be written of them."""
        return self.nbytes if self._packed is None else 0

    def same(self, data: object) -> bool:
        """Whether these are the very same examples, value by value."""
        if isinstance(self.data, list):
            return isinstance(data, list | tuple) and list(data) == self.data
        try:
            other = as_viewed(data)
        except (ValueError, TypeError, RuntimeError, AttributeError):
            return False
        same = other.dtype == self.data.dtype and other.shape == self.data.shape
        return bool(same and np.array_equal(other, self.data, equal_nan=other.dtype.kind == "f"))

    def pack(self) -> tuple[Blob, dict[str, Any]]:
        """The file of these examples, and facts about them."""
        with self._lock:
            if self._packed is None:
                blob, facts = pack_texts(self.data) if isinstance(self.data, list) else pack_examples(self.data)
                self._packed = blob.named(), facts
            return self._packed


def examples_of(data: object, count: int | None, what: str, *, known: ExampleBatch | None = None) -> ExampleBatch:
    """Examples as a batch of our own: `known`, where they are the same. Raises UsageError unless they are `count`."""
    if isinstance(data, ExampleBatch):
        known = data
    if known is not None and (known is data or known.same(data)):
        if count is not None and len(known.data) != count:
            raise UsageError(f"{what} are {len(known.data)}, expected {count} of them")
        return known
    plain = data.tolist() if isinstance(data, np.ndarray) and data.dtype.kind in "OUS" else data
    if isinstance(plain, list | tuple) and len(plain) and all(isinstance(one, str) for one in plain):
        if count is not None and len(plain) != count:
            raise UsageError(f"{what} are {len(plain)} texts, expected {count} of them")
        return ExampleBatch(list(plain))
    return ExampleBatch(checked_examples(data, count, what))


def pack_texts(texts: list[str]) -> tuple[Blob, dict[str, Any]]:
    """Texts as a JSON list, and facts about them."""
    data = json.dumps(texts).encode("ascii")
    return Blob(data, "json"), {"examples": len(texts), "inputs": "texts"}


def are_pictures(array: npt.NDArray[Any]) -> bool:
    """Whether [N, ...] examples look like pictures: two sides of at least four pixels, and at most channels besides."""
    if array.ndim == 3:
        return bool(min(array.shape[1:]) >= _LEAST_SIDE)
    if array.ndim != 4:
        return False
    first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
    sides = array.shape[2:] if first else array.shape[1:3]
    return bool(first != last and min(sides) >= _LEAST_SIDE)


def pack_examples(array: npt.NDArray[Any]) -> tuple[Blob, dict[str, Any]]:
    """Return examples as a safetensors file with the tensor `inputs`, and facts about them.

    Pictures become uint8 [N, H, W, C] on one scale: bool, uint8 and floats in 0 to 1 as `epochal.Image` takes them,
    any other numbers from their smallest to their largest, which `range` tells. Others are kept as they are, float64
    as float32.
    """
    facts: dict[str, Any] = {"examples": len(array)}
    if not are_pictures(array):
        kept = array.astype(np.float32) if array.dtype in (np.float64, np.float16) else array
        return Blob(pack_tensors({"inputs": kept}, metadata={"kind": "examples"}), "safetensors"), {
            **facts,
            "inputs": "numbers",
        }
    pictures = as_batch(array, None)
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    pixels, scale = _as_pixels(pictures)
    blob = Blob(pack_tensors({"inputs": pixels}, metadata={"kind": "examples"}), "safetensors")
    return blob, {**facts, "inputs": "pictures", **({"range": list(scale)} if scale else {})}


def _as_pixels(pictures: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], tuple[float, float] | None]:
    if pictures.dtype == np.bool_:
        return pictures.astype(np.uint8) * np.uint8(255), (0.0, 1.0)
    if pictures.dtype == np.uint8:
        return pictures, None
    wide = pictures.astype(np.float32)
    good = np.isfinite(wide)
    some = wide if good.all() else wide[good]
    lo, hi = (float(some.min()), float(some.max())) if some.size else (0.0, 1.0)
    if lo >= 0.0 and hi <= 1.0:
        lo, hi = 0.0, 1.0
    elif pictures.dtype.kind in "iu" and lo >= 0 and hi <= 255:
        lo, hi = 0.0, 255.0
    hi = hi if hi > lo else lo + 1.0
    if some.size < wide.size:
        np.nan_to_num(wide, copy=False, nan=lo, posinf=hi, neginf=lo)
    return np.floor((wide - lo) * np.float32(255.0 / (hi - lo)) + 0.5).clip(0, 255).astype(np.uint8), (lo, hi)


def checked_examples(data: object, count: int | None, what: str) -> npt.NDArray[Any]:
    """Examples [N, ...] as an array; raises UsageError where their number is not `count`."""
    if isinstance(data, list | tuple) and data and hasattr(data[0], "pixels"):
        data = np.stack([one.pixels() for one in data])
    array = as_array(data, what)
    if array.ndim < 1 or (count is not None and len(array) != count):
        raise UsageError(f"{what} have shape {array.shape}, expected {count} of them")
    return array
