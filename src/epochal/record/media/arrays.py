"""From whatever holds numbers to a numpy array of our own; no framework is imported.

A tensor is known by what it can do: `detach`, `cpu`, `numpy`, or numpy's own protocols.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError

__all__ = ["as_array", "as_viewed", "shape_word", "to_bytes"]

Array = npt.NDArray[Any]


def as_array(data: object, what: str) -> Array:
    """Return a copy of `data` as a numpy array, contiguous, bfloat16 as float32.

    Raises UsageError where it is nothing of numbers or bools; `what` names it in the message.
    """
    try:
        found = np.array(_plain(data), order="C", copy=True)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:  # RuntimeError: tensors without data too
        raise UsageError(f"{what} cannot be made of a {type(data).__name__}: {error}") from None
    if found.dtype.kind not in "buif":
        if found.dtype.kind == "V" and found.dtype.name.startswith(("bfloat", "float8")):
            return found.astype(np.float32)  # the types of JAX
        hint = "the rows have different lengths" if isinstance(data, list | tuple) else ""
        raise UsageError(f"{what} needs numbers, this is a {type(data).__name__} of {found.dtype}", hint=hint)
    return found


def as_viewed(data: object) -> Array:
    """`data` as a numpy array that may be the caller's own memory: to be looked at, not kept."""
    return np.asarray(_plain(data))


def _plain(data: object) -> object:
    """What numpy can take: tensors brought to the CPU and out of their graph."""
    if isinstance(data, np.ndarray):
        return data
    for method in ("detach", "cpu"):
        step = getattr(data, method, None)
        if callable(step):
            data = step()
    convert = getattr(data, "numpy", None)
    if callable(convert):
        try:
            return convert()
        except (TypeError, RuntimeError):  # numpy lacks the tensor's type, such as bfloat16, or it is conjugated
            widen = getattr(data, "float", None)
            if callable(widen):
                wide: Any = widen()
                return wide.resolve_conj().numpy() if hasattr(wide, "resolve_conj") else wide.numpy()
            raise
    get = getattr(data, "get", None)  # CuPy
    if callable(get) and hasattr(data, "__cuda_array_interface__"):
        return get()
    return data


def shape_word(array: Array) -> str:
    """`(28, 28) float32`."""
    return f"{tuple(array.shape)} {array.dtype}"


def to_bytes(
    array: Array, limits: tuple[float, float] | None, what: str
) -> tuple[npt.NDArray[np.uint8], dict[str, Any], int]:
    """Return values as 0 to 255, facts about what had to be changed, and how many values that were.

    bool becomes 0 and 255, uint8 stays. Others lie in `limits`: `floor((v - lo) / (hi - lo) * 255 + 0.5)`; what lies
    outside or is infinite becomes the nearest end, NaN the lower one.
    """
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), {}, 0
    if array.dtype == np.uint8 and limits in (None, (0.0, 255.0)):
        return array, {}, 0
    lo, hi = check_limits(array, limits, what)
    wide: Any = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    nan = int(np.count_nonzero(np.isnan(wide)))
    outside = int(np.count_nonzero((wide < lo) | (wide > hi)))
    facts: dict[str, Any] = {"range": [lo, hi]}
    if nan or outside:
        infinite = int(np.count_nonzero(np.isinf(wide)))
        with np.errstate(invalid="ignore"):
            finite = wide[np.isfinite(wide)]
        facts |= {"clamped": outside - infinite, "nonfinite": nan + infinite}
        if len(finite):
            facts["found"] = [float(finite.min()), float(finite.max())]
        np.nan_to_num(wide, copy=False, nan=lo, posinf=hi, neginf=lo)
    np.clip(wide, lo, hi, out=wide)
    wide -= lo
    wide /= hi - lo
    wide *= 255.0
    wide += 0.5
    pixels: npt.NDArray[np.uint8] = wide.astype(np.uint8)
    return pixels, facts, nan + outside


def check_limits(array: Array, limits: tuple[float, float] | None, what: str) -> tuple[float, float]:
    """The range that stands for 0 to 255; raises UsageError for integers that come without one."""
    if limits is None:
        if array.dtype.kind != "f":
            raise UsageError(
                f"{what} is of {array.dtype}, which does not say what is black and what is white",
                hint=f"convert it to uint8, or give range=, such as range=(0, {_guess(array)})",
            )
        return 0.0, 1.0
    try:
        lo, hi = (float(end) for end in (limits if not isinstance(limits, str) else ()))
    except (TypeError, ValueError):
        raise UsageError(f"range is {limits!r}", hint="give (lowest, highest), such as range=(-1, 1)") from None
    if not (np.isfinite(lo) and np.isfinite(hi) and lo < hi):
        raise UsageError(f"range is {limits!r}", hint="give (lowest, highest), such as range=(-1, 1)")
    return lo, hi


def _guess(array: Array) -> int:
    top = int(array.max()) if array.size else 0
    return 1 if top <= 1 else 255 if top <= 255 else 65535 if top <= 65535 else top
