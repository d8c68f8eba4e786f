"""From what people log to numbers and media: nested dictionaries, Python, numpy and tensor scalars, values.

No framework is imported: whatever holds one element and has `item()` is asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from epochal.errors import EpochalError
from epochal.record.deferred import is_far
from epochal.record.media.sources import figure_kind, is_pillow
from epochal.record.media.value import Value


@dataclass(frozen=True, slots=True)
class Refused:
    """A value that is not one number; `message` says what it is and what to do, `error` what it raised, if it did."""

    name: str
    kind: str
    message: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Sorted:
    """Logged data taken apart: numbers by name, values by name with their place in a list, and what is neither.

    `far` are numbers that lie on an accelerator, not read yet.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    far: dict[str, Any] = field(default_factory=dict)
    media: list[tuple[str, int, Value]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def sort_values(data: Mapping[Any, Any]) -> Sorted:
    """Take nested `data` apart, names joined by `/`."""
    found = Sorted()
    _gather(data, "", found)
    return found


def numbers(data: Mapping[Any, Any]) -> tuple[dict[str, float], list[Refused]]:
    """Split nested `data` into numbers, their names joined by `/`, and what is neither a number nor a value."""
    found = sort_values(data)
    for name, value in found.far.items():
        number = as_number(value)
        if number is not None:
            found.numbers[name] = number
    return found.numbers, found.refused


def _gather(data: Mapping[Any, Any], prefix: str, found: Sorted) -> None:
    for key, value in data.items():
        name = prefix + (key if isinstance(key, str) else str(key))
        if type(value) is float:
            found.numbers[name] = value
        elif isinstance(value, Mapping):
            _gather(value, name + "/", found)
        else:
            try:
                _take(name, value, found)
            except Exception as error:  # noqa: BLE001 - a foreign object, or a figure that cannot be drawn: the others go on
                found.refused.append(_unreadable(name, value, error))


def _take(name: str, value: object, found: Sorted) -> None:
    if is_far(value):
        found.far[name] = value
        return
    number = as_number(value)
    if number is not None:
        found.numbers[name] = number
    elif values := as_values(value):
        found.media.extend((name, i, one) for i, one in enumerate(values))
    else:
        found.refused.append(_refusal(name, value))


def as_values(value: object) -> list[Value]:
    """What is logged of a value, or of a list of values, as it is now; empty where it is none.

    Pillow images and figures of matplotlib and plotly need no wrapping.
    """
    if isinstance(value, Value):
        return [value.taken()]
    if isinstance(value, list | tuple):
        found: list[Value] = []
        for one in value:
            values = [] if isinstance(one, list | tuple) else as_values(one)
            if not values:
                return []
            found += values
        return found
    if is_pillow(value):
        from epochal.record.media.image import Image

        return [Image(value)]
    if figure_kind(value):
        from epochal.record.media.figure import Figure

        return [Figure(value)]
    return []


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


def _unreadable(name: str, value: object, error: Exception) -> Refused:
    if isinstance(error, EpochalError):
        why = error.message + (f" ({error.hint})" if error.hint else "")
    else:
        why = f"{type(error).__name__}: {error}"
    kind = type(value).__name__
    return Refused(name, kind, f"{name!r}, a {kind}, could not be read and was not recorded: {why}", error)


def _refusal(name: str, value: object) -> Refused:
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if value is None:
        what, advice = "None", "leave the key out where there is no value"
    elif isinstance(value, str):
        what, advice = f"a str ({_short(value)})", "log float(value), or epochal.Text(value) to keep the text"
    elif shape is not None and _size(value) != 1:
        what = f"a {kind} of shape {tuple(shape)}"
        advice = (
            "log one number of it, such as value.mean(), epochal.Histogram(value) for how its numbers are spread, "
            "or epochal.Image(value) for a picture"
        )
    elif shape is not None:
        what, advice = _single(kind, value)
    elif isinstance(value, list | tuple | set):
        what = f"a {kind} of {len(value)}"
        advice = "log each under its own key, one number such as their mean, or epochal.Histogram(value)"
    elif isinstance(value, int):
        what, advice = "an int too large for a float64", "log its logarithm"
    else:
        what, advice = f"a {kind}", "log a number, or a value such as epochal.Text(str(value))"
    return Refused(name, kind, f"{name!r} is {what}, not a number, and was not recorded: {advice}")


def _single(kind: str, value: object) -> tuple[str, str]:
    """What to say of an array or scalar that holds one thing which is no real number."""
    try:
        held = value.item()  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - a foreign object: whatever it raises, it has no item to speak of
        return f"a {kind} without a value", "log a number"
    if isinstance(held, Mapping):
        return f"a {kind} that holds a {type(held).__name__}", "log value.item(): its numbers, by name"
    if isinstance(held, complex):
        return f"a complex number ({held:.4g})", "log its real and imaginary part, or abs(value)"
    return f"a {kind} that holds {_short(str(held))}", "log a number"


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:23] + "…")
