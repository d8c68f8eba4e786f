"""The metadata of Arrow messages, taken apart by hand: tables of offsets, none of which is trusted.

Every offset is checked against the buffer before it is followed; whatever does not fit raises one of `BAD`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from epochal.store.arrowtypes import (
    CONTINUATION,
    HEADER_BATCH,
    HEADER_DICTIONARY,
    HEADER_SCHEMA,
    TYPE_FIXED_LIST,
    TYPE_FLOAT,
    TYPE_INT,
    TYPE_UTF8,
    Column,
)

__all__ = [
    "BAD",
    "DamagedMessageError",
    "ForeignStreamError",
    "TornMessageError",
    "buffers_of",
    "check_schema",
    "frame",
    "key_values",
    "places_of",
    "pointer",
    "read_texts",
    "record_batch",
    "strings",
]

METADATA_LIMIT = 1 << 24
BODY_LIMIT = 1 << 31

_PREFIX = struct.Struct("<4si")
_U16, _I32, _U32, _I64 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<q")


class ForeignStreamError(Exception):
    """A valid Arrow stream, but not laid out as this package writes it; pyarrow may read it."""


class DamagedMessageError(Exception):
    """The bytes at this place are no message."""


class TornMessageError(Exception):
    """The message goes on after the end of the bytes."""


# Whatever following a wrong offset, or reading a wrong number, comes to.
BAD = (DamagedMessageError, struct.error, ValueError, KeyError, IndexError, OverflowError)


def frame(data: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Return kind, header table, start and end of body, and message table of the message at `at`."""
    if len(data) - at < 8:
        raise TornMessageError
    mark, length = _PREFIX.unpack_from(data, at)
    if mark != CONTINUATION or not 16 <= length <= METADATA_LIMIT or length % 8:
        raise DamagedMessageError
    body = at + 8 + length
    if body > len(data):
        raise TornMessageError
    table = at + 8 + _U32.unpack_from(data, at + 8)[0]
    if not at + 8 < table < body:
        raise DamagedMessageError
    place = _slot(data, table, 1)
    kind = data[place] if place else 0
    place = _slot(data, table, 3)
    body_length = _I64.unpack_from(data, place)[0] if place else 0
    if kind not in (HEADER_SCHEMA, HEADER_DICTIONARY, HEADER_BATCH) or not 0 <= body_length <= BODY_LIMIT:
        raise DamagedMessageError
    if body_length % 8:
        raise DamagedMessageError
    header = pointer(data, table, 2)
    if not at + 8 < header < body:
        raise DamagedMessageError
    if body + body_length > len(data):
        raise TornMessageError
    return kind, header, body, body + body_length, table


def _slot(data: bytes, table: int, slot: int) -> int:
    """Return the place of a table's field, 0 when it has its default."""
    vtable = table - _I32.unpack_from(data, table)[0]
    if vtable < 0:
        raise DamagedMessageError
    at = 4 + 2 * slot
    if at >= _U16.unpack_from(data, vtable)[0]:
        return 0
    offset = _U16.unpack_from(data, vtable + at)[0]
    return int(table + offset) if offset else 0


def pointer(data: bytes, table: int, slot: int) -> int:
    """Return the table or vector that a field points to."""
    place = _slot(data, table, slot)
    if not place:
        raise DamagedMessageError
    target = place + _U32.unpack_from(data, place)[0]
    if not 0 < target <= len(data) - 4:
        raise DamagedMessageError
    return int(target)


def _vector(data: bytes, table: int, slot: int, size: int) -> tuple[int, int]:
    """Return first element and length of a vector of elements of `size` bytes; (0, 0) when absent."""
    if not _slot(data, table, slot):
        return 0, 0
    at = pointer(data, table, slot)
    count = _U32.unpack_from(data, at)[0]
    if at + 4 + count * size > len(data):
        raise DamagedMessageError
    return at + 4, count


def _string(data: bytes, table: int, slot: int) -> str:
    at, count = _vector(data, table, slot, 1)
    return data[at : at + count].decode("utf-8")


def key_values(data: bytes, table: int, slot: int) -> dict[str, str]:
    """Return the custom metadata that a table's field holds, empty when absent."""
    at, count = _vector(data, table, slot, 4)
    pairs = {}
    for place in range(at, at + 4 * count, 4):
        pair = place + _U32.unpack_from(data, place)[0]
        pairs[_string(data, pair, 0)] = _string(data, pair, 1)
    return pairs


def record_batch(data: bytes, table: int, body_length: int) -> tuple[int, list[tuple[int, int]]]:
    """Return rows and (offset in body, length) of each buffer."""
    if _slot(data, table, 3):
        raise ForeignStreamError("compressed body")
    place = _slot(data, table, 0)
    rows = _I64.unpack_from(data, place)[0] if place else 0
    at, count = _vector(data, table, 2, 16)
    flat = struct.unpack_from(f"<{2 * count}q", data, at)
    buffers = list(zip(flat[::2], flat[1::2], strict=True))
    if rows < 0 or any(o < 0 or n < 0 or o + n > body_length for o, n in buffers):
        raise DamagedMessageError
    nodes_at, nodes = _vector(data, table, 1, 16)
    if any(struct.unpack_from(f"<{2 * nodes}q", data, nodes_at)[1::2]):
        raise ForeignStreamError("null values")
    return rows, buffers


def buffers_of(columns: tuple[Column, ...]) -> int:
    """Return how many buffers a batch of these columns has."""
    return sum(3 if column.width > 1 or column.kind == "text" else 2 for column in columns)


def places_of(
    columns: tuple[Column, ...], rows: int, buffers: Sequence[tuple[int, int]], data: bytes, body: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where each column's values lie and the size of each text, the buffers checked to be those of `columns`.

    A text column has two places: that of its offsets and that of its text. Texts are checked too: they can be read.
    """
    places: list[int] = []
    sizes: list[int] = []
    at = 0
    for column in columns:
        at += 2 if column.width > 1 else 1  # validity bitmaps, which hold nothing
        if at >= len(buffers):
            raise DamagedMessageError
        offset, length = buffers[at]
        if length < (rows + (column.kind == "text")) * column.width * column.dtype.itemsize:
            raise DamagedMessageError
        places.append(body + offset)
        at += 1
        if column.kind == "text":
            if at >= len(buffers):
                raise DamagedMessageError
            begin, length = buffers[at]
            places.append(body + begin)
            read_texts(data, body + offset, body + begin, rows=rows, most=length)
            sizes.append(length)
            at += 1
    if at != len(buffers):
        raise DamagedMessageError
    return tuple(places), tuple(sizes)


def read_texts(data: bytes, offsets_at: int, text_at: int, *, rows: int, most: int) -> list[str]:
    """Return `rows` texts, whose offsets and bytes lie at these places; they take at most so many bytes."""
    offsets = struct.unpack_from(f"<{rows + 1}i", data, offsets_at)
    text = data[text_at : text_at + most]
    if offsets[0] < 0 or any(b < a for a, b in pairwise(offsets)) or offsets[-1] > len(text):
        raise DamagedMessageError
    return [text[a:b].decode("utf-8") for a, b in pairwise(offsets)]


def strings(data: bytes, body: int, buffers: Sequence[tuple[int, int]]) -> list[str]:
    """Return the texts of a dictionary batch's body."""
    if len(buffers) != 3:
        raise DamagedMessageError
    (_, _), (offsets_at, offsets_size), (text_at, text_size) = buffers
    if offsets_size < 4:
        return []
    return read_texts(data, body + offsets_at, body + text_at, rows=offsets_size // 4 - 1, most=text_size)


def check_schema(data: bytes, table: int, layouts: Sequence[tuple[Column, ...]]) -> tuple[Column, ...]:
    """Return the columns of a schema; raise ForeignStreamError unless they are exactly one of these layouts."""
    at, count = _vector(data, table, 1, 4)
    found = tuple([_field(data, place + _U32.unpack_from(data, place)[0]) for place in range(at, at + 4 * count, 4)])
    if found not in layouts:
        raise ForeignStreamError(f"columns and their types are {_spelt(found)}, expected {_spelt(layouts[0])}")
    return found


def _spelt(columns: Sequence[Column]) -> str:
    return ", ".join(f"{c.name} {c.kind}{f'[{c.width}]' * (c.width > 1)}" for c in columns)


def _field(data: bytes, table: int) -> Column:
    name = _string(data, table, 0)
    if _slot(data, table, 4):
        index = pointer(data, pointer(data, table, 4), 1) if _slot(data, pointer(data, table, 4), 1) else 0
        bits = _integer(data, index, 0, 4) if index else 32
        if data[_slot(data, table, 2)] != TYPE_UTF8 or bits != 32:
            raise ForeignStreamError(f"column {name} is a dictionary of another kind")
        return Column(name, "name")
    kind = data[_slot(data, table, 2)] if _slot(data, table, 2) else 0
    type_at = pointer(data, table, 3)
    if kind == TYPE_FIXED_LIST:
        width = _integer(data, type_at, 0, 4)
        first, count = _vector(data, table, 5, 4)
        if count != 1:
            raise DamagedMessageError
        child = _field(data, first + _U32.unpack_from(data, first)[0])
        return Column(name, child.kind, width)
    if kind == TYPE_UTF8:
        return Column(name, "text")
    if kind == TYPE_FLOAT and _integer(data, type_at, 0, 2) == 2:
        return Column(name, "f8")
    if kind == TYPE_INT:
        bits, signed = _integer(data, type_at, 0, 4), _integer(data, type_at, 1, 1)
        if (bits, signed) == (64, 1):
            return Column(name, "i8")
        if (bits, signed) == (32, 0):
            return Column(name, "u4")
        if (bits, signed) == (16, 0):
            return Column(name, "u2")
    raise ForeignStreamError(f"column {name} is of another type")


def _integer(data: bytes, table: int, slot: int, size: int) -> int:
    place = _slot(data, table, slot)
    return int.from_bytes(data[place : place + size], "little") if place else 0
