"""Protocol buffers, read field by field: whoever reads a format names the fields that it needs and passes over all
others. Every byte may be hostile: whatever cannot be is a ValueError (IndexError where a number has no end), and no
memory is taken for what is not in the file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["Field", "doubles", "fields", "flag", "floats", "number", "numbers", "part", "text"]

MOST_NAME = 1000

Field = int | memoryview
"""What a field holds: a whole number as it is, all else as bytes."""


def fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """The fields of a message, in their order: the number of each and what it holds."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of an unknown kind ({kind})")
        if size > end - at:
            raise ValueError("a field is longer than what it stands in")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number that does not end")


def part(value: Field) -> memoryview:
    """A message or bytes."""
    if not isinstance(value, memoryview):
        raise ValueError("a number where a part is expected")
    return value


def number(value: Field) -> int:
    """A whole number with its sign."""
    if not isinstance(value, int):
        raise ValueError("a part where a number is expected")
    return value - (1 << 64) if value >> 63 else value


def flag(value: Field) -> bool:
    """Yes or no."""
    return number(value) != 0


def text(value: Field, most: int = MOST_NAME) -> str:
    """A text of at most `most` bytes."""
    data = part(value)
    if len(data) > most:
        raise ValueError(f"a name of {len(data):,} bytes")
    return bytes(data).decode("utf-8", "replace")


def numbers(value: Field) -> list[int]:
    """One whole number, or several packed into one field."""
    if isinstance(value, int):
        return [number(value)]
    at, found = 0, []
    while at < len(value):
        one, at = _varint(value, at)
        found.append(number(one))
    return found


def floats(value: Field) -> list[float]:
    """One number of four bytes, or several packed into one field."""
    return [float(v) for v in np.frombuffer(part(value), "<f4")]


def doubles(value: Field) -> list[float]:
    """One number of eight bytes, or several packed into one field."""
    return [float(v) for v in np.frombuffer(part(value), "<f8")]
