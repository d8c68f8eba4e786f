"""From what people log to numbers: nested dictionaries, Python, numpy and tensor scalars.

No framework is imported: whatever holds one element and has `item()` is asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that is not one number; `message` says what it is and what to do."""

    name: str
    kind: str
    message: str


def numbers(data: Mapping[Any, Any]) -> tuple[dict[str, float], list[Refused]]:
    """Split nested `data` into numbers, their names joined by `/`, and what is not a number."""
    found: dict[str, float] = {}
    refused: list[Refused] = []
    _gather(data, "", found, refused)
    return found, refused


def _gather(data: Mapping[Any, Any], prefix: str, found: dict[str, float], refused: list[Refused]) -> None:
    for key, value in data.items():
        name = prefix + (key if isinstance(key, str) else str(key))
        if type(value) is float:
            found[name] = value
        elif isinstance(value, Mapping):
            _gather(value, name + "/", found, refused)
        else:
            number = as_number(value)
            if number is None:
                refused.append(_refusal(name, value))
            else:
                found[name] = number


def as_number(value: object) -> float | None:
    """The value as float64, None when it is not one real number."""
    try:
        if isinstance(value, float | int):
            return float(value)
        if isinstance(value, str | bytes | bytearray) or value is None:
            return None
        if _size(value) not in (None, 1):
            return None
        item = getattr(value, "item", None)
        got = item() if callable(item) else value
        if isinstance(got, complex | np.complexfloating | str | bytes) or not hasattr(type(got), "__float__"):
            return None
        return float(got)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        # Tensors without data (meta device), integers beyond float64, arrays of objects.
        return None


def _size(value: object) -> int | None:
    shape = getattr(value, "shape", None)
    if shape is None:
        return None
    size = 1
    for n in tuple(shape):
        size *= int(n)
    return size


def _refusal(name: str, value: object) -> Refused:
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if value is None:
        what, advice = "None", "leave the key out where there is no value"
    elif isinstance(value, str):
        what, advice = f"a str ({_short(value)})", "log float(value), or put texts into config or notes"
    elif shape is not None and _size(value) != 1:
        what = f"a {kind} of shape {tuple(shape)}"
        advice = "log one number of it, such as value.mean(), or each under its own key"
    elif isinstance(value, list | tuple | set):
        what, advice = f"a {kind} of {len(value)}", "log each under its own key, or one number such as their mean"
    elif isinstance(value, int):
        what, advice = "an int too large for a float64", "log its logarithm"
    else:
        what, advice = f"a {kind}", "log a number"
    return Refused(name, kind, f"{name!r} is {what}, not a number, and was not recorded: {advice}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:23] + "…")
