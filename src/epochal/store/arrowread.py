"""Arrow IPC streams read message by message: whole messages are used, a torn tail waits, damage is stepped over.

Nothing in the bytes is trusted: every offset is checked against the buffer before it is followed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from epochal.store.arrow import (
    CONTINUATION,
    DIGITS,
    END_OF_STREAM,
    FORMAT_KEY,
    HEADER_BATCH,
    HEADER_DICTIONARY,
    HEADER_SCHEMA,
    TYPE_FIXED_LIST,
    TYPE_FLOAT,
    TYPE_INT,
    TYPE_UTF8,
    BatchTemplate,
    Column,
    batch_template,
    body_sum,
    layout_of,
)

__all__ = ["Batch", "ForeignStreamError", "StreamReader"]

METADATA_LIMIT = 1 << 24
BODY_LIMIT = 1 << 31

_PREFIX = struct.Struct("<4si")
_U16, _I32, _U32, _I64 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I"), struct.Struct("<q")


class ForeignStreamError(Exception):
    """A valid Arrow stream, but not laid out as this package writes it; pyarrow may read it."""


class _DamagedMessageError(Exception):
    """The bytes at this place are no message."""


class _TornMessageError(Exception):
    """The message goes on after the end of the bytes."""


# Whatever following a wrong offset, or reading a wrong number, comes to.
_BAD = (_DamagedMessageError, struct.error, ValueError, KeyError, IndexError, OverflowError)


@dataclass(frozen=True, slots=True)
class Batch:
    """A record batch: where it lies in its file, its rows, and per column the place of its values.

    `data` is what it was read from and `base` the file offset at which that begins; `places` are file offsets.
    """

    rows: int
    rows_end: int
    lost: int
    columns: tuple[Column, ...]
    places: tuple[int, ...]
    data: bytes
    base: int

    def column(self, index: int) -> npt.NDArray[np.generic]:
        """Return the values of a column, [rows] or [rows, width]: a view of the bytes that were read."""
        spec = self.columns[index]
        values = np.frombuffer(self.data, spec.dtype, self.rows * spec.width, self.places[index] - self.base)
        return values if spec.width == 1 else values.reshape(self.rows, spec.width)


@dataclass(slots=True)
class StreamReader:
    """Reads one segment that may still grow. Not thread-safe.

    `offset` is the file offset of the first byte not used yet; `torn` how many bytes lie after it; `damaged` how many
    bytes were stepped over; `names` the dictionary as of the last message. `ours` says that the schema declares this
    format, or that a sum was found right: then messages without one, or laid out in another way, are damage.
    `after_damage` says that what comes first may follow on lost rows.
    """

    columns: tuple[Column, ...]
    names: list[str] = field(default_factory=list)
    offset: int = 0
    torn: int = 0
    damaged: int = 0
    rows_end: int = 0
    ended: bool = False
    after_damage: bool = False
    ours: bool = False
    _heads: dict[int, tuple[bytes, list[int], int]] = field(default_factory=dict)
    _template: BatchTemplate = field(init=False)

    def __post_init__(self) -> None:
        self._template = batch_template(self.columns)

    def feed(self, data: bytes) -> list[Batch]:
        """Take the bytes of the file from `offset` on; return the whole batches in them.

        Raises ForeignStreamError when the stream is laid out in another way.
        """
        batches: list[Batch] = []
        base, at = self.offset, 0
        while at < len(data):
            try:
                end, batch = self._message(data, at, base)
            except _TornMessageError:
                # Damaged lengths look like a torn tail: whole messages further on tell the two apart.
                end, batch = self._resume(data, at), None
                if end < 0:
                    break
            except _BAD:
                end, batch = self._resume(data, at), None
                if end < 0:
                    break
            if batch is not None:
                batches.append(batch)
            at = end
        self.offset = base + at
        self.torn = len(data) - at
        return batches

    def _resume(self, data: bytes, at: int) -> int:
        """Return where the next whole message begins after damage at `at`, -1 when there is none yet."""
        found = at
        while (found := data.find(CONTINUATION, found + 1)) >= 0:
            if (self.offset + found) % 8:
                continue
            try:
                _frame(data, found)
            except (*_BAD, _TornMessageError):
                continue
            self.damaged += found - at
            self.after_damage = True
            return found
        return -1

    def _message(self, data: bytes, at: int, base: int) -> tuple[int, Batch | None]:
        """Read the message at `at`; return where it ends and the batch it holds, if it is one."""
        if data[at : at + 8] == END_OF_STREAM:
            self.ended = True
            return at + 8, None
        if (quick := self._quick(data, at, base)) is not None:
            return quick
        kind, header, body, end, table = _frame(data, at)
        if kind == HEADER_SCHEMA:
            self.ours |= FORMAT_KEY in _key_values(data, header, 2)
            with _foreign_is_damage(self.ours):
                _check_schema(data, header, self.columns)
            return end, None
        facts = _key_values(data, table, 4)
        if "sum" in facts:
            total = body_sum(memoryview(data)[body:end]) + int(facts.get("rows_end", "0"))
            if int(facts["sum"]) != total % 2**64:
                raise _DamagedMessageError
            self.ours = True
        elif self.ours:
            raise _DamagedMessageError
        with _foreign_is_damage(self.ours):
            if kind == HEADER_DICTIONARY:
                _, buffers = _record_batch(data, _pointer(data, header, 1), end - body)
                self.names = _strings(data, body, buffers)
                return end, None
            rows, buffers = _record_batch(data, header, end - body)
            places = _places(self.columns, rows, buffers, body)
        if self.ours and ([p - body for p in places], end - body) != layout_of(self.columns, rows):
            raise _DamagedMessageError
        rows_end = int(facts["rows_end"]) if "rows_end" in facts else self.rows_end + rows
        return end, self._batch(data, base, rows=rows, rows_end=rows_end, places=tuple(p + base for p in places))

    def _quick(self, data: bytes, at: int, base: int) -> tuple[int, Batch] | None:
        """Read a batch whose metadata is byte for byte what this package writes; None for everything else.

        A run of 4 million rows has up to 40,000 batches: following their offsets one by one takes half a second.
        """
        template = self._template
        body = at + len(template.blank)
        if body > len(data) or data[at : at + 8] != template.blank[:8]:
            return None
        rows = _I64.unpack_from(data, at + template.rows_at)[0]
        if rows not in self._heads:
            if not 0 <= rows <= len(data):
                return None
            if len(self._heads) > 4096:
                self._heads.clear()
            places, size = layout_of(self.columns, rows)
            self._heads[rows] = bytes(template.fill(rows)), places, size
        head, places, size = self._heads[rows]
        first, second = sorted((template.rows_end_at, template.sum_at))
        if (
            body + size > len(data)
            or data[at : at + first] != head[:first]
            or data[at + first + DIGITS : at + second] != head[first + DIGITS : second]
            or data[at + second + DIGITS : body] != head[second + DIGITS :]
        ):
            return None
        rows_end = int(data[at + template.rows_end_at : at + template.rows_end_at + DIGITS])
        total = int(data[at + template.sum_at : at + template.sum_at + DIGITS])
        if (body_sum(memoryview(data)[body : body + size]) + rows_end) % 2**64 != total:
            return None
        self.ours = True
        begin = body + base
        return body + size, self._batch(
            data, base, rows=rows, rows_end=rows_end, places=tuple(p + begin for p in places)
        )

    def _batch(self, data: bytes, base: int, *, rows: int, rows_end: int, places: tuple[int, ...]) -> Batch:
        lost = max(0, rows_end - rows - self.rows_end) if self.after_damage else 0
        self.rows_end, self.after_damage = rows_end, False
        return Batch(rows, rows_end, lost, self.columns, places, data, base)


@contextmanager
def _foreign_is_damage(ours: bool) -> Iterator[None]:  # noqa: FBT001
    """In a stream that is known to be laid out as here, any other layout is damage."""
    try:
        yield
    except ForeignStreamError:
        if ours:
            raise _DamagedMessageError from None
        raise


def _frame(data: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Return kind, header table, start and end of body, and message table of the message at `at`."""
    if len(data) - at < 8:
        raise _TornMessageError
    mark, length = _PREFIX.unpack_from(data, at)
    if mark != CONTINUATION or not 16 <= length <= METADATA_LIMIT or length % 8:
        raise _DamagedMessageError
    body = at + 8 + length
    if body > len(data):
        raise _TornMessageError
    table = at + 8 + _U32.unpack_from(data, at + 8)[0]
    if not at + 8 < table < body:
        raise _DamagedMessageError
    place = _slot(data, table, 1)
    kind = data[place] if place else 0
    place = _slot(data, table, 3)
    body_length = _I64.unpack_from(data, place)[0] if place else 0
    if kind not in (HEADER_SCHEMA, HEADER_DICTIONARY, HEADER_BATCH) or not 0 <= body_length <= BODY_LIMIT:
        raise _DamagedMessageError
    if body_length % 8:
        raise _DamagedMessageError
    header = _pointer(data, table, 2)
    if not at + 8 < header < body:
        raise _DamagedMessageError
    if body + body_length > len(data):
        raise _TornMessageError
    return kind, header, body, body + body_length, table


def _slot(data: bytes, table: int, slot: int) -> int:
    """Return the place of a table's field, 0 when it has its default."""
    vtable = table - _I32.unpack_from(data, table)[0]
    if vtable < 0:
        raise _DamagedMessageError
    at = 4 + 2 * slot
    if at >= _U16.unpack_from(data, vtable)[0]:
        return 0
    offset = _U16.unpack_from(data, vtable + at)[0]
    return int(table + offset) if offset else 0


def _pointer(data: bytes, table: int, slot: int) -> int:
    """Return the table or vector that a field points to."""
    place = _slot(data, table, slot)
    if not place:
        raise _DamagedMessageError
    target = place + _U32.unpack_from(data, place)[0]
    if not 0 < target <= len(data) - 4:
        raise _DamagedMessageError
    return int(target)


def _vector(data: bytes, table: int, slot: int, size: int) -> tuple[int, int]:
    """Return first element and length of a vector of elements of `size` bytes; (0, 0) when absent."""
    if not _slot(data, table, slot):
        return 0, 0
    at = _pointer(data, table, slot)
    count = _U32.unpack_from(data, at)[0]
    if at + 4 + count * size > len(data):
        raise _DamagedMessageError
    return at + 4, count


def _string(data: bytes, table: int, slot: int) -> str:
    at, count = _vector(data, table, slot, 1)
    return data[at : at + count].decode("utf-8")


def _key_values(data: bytes, table: int, slot: int) -> dict[str, str]:
    at, count = _vector(data, table, slot, 4)
    pairs = {}
    for place in range(at, at + 4 * count, 4):
        pair = place + _U32.unpack_from(data, place)[0]
        pairs[_string(data, pair, 0)] = _string(data, pair, 1)
    return pairs


def _record_batch(data: bytes, table: int, body_length: int) -> tuple[int, list[tuple[int, int]]]:
    """Return rows and (offset in body, length) of each buffer."""
    if _slot(data, table, 3):
        raise ForeignStreamError("compressed body")
    place = _slot(data, table, 0)
    rows = _I64.unpack_from(data, place)[0] if place else 0
    at, count = _vector(data, table, 2, 16)
    flat = struct.unpack_from(f"<{2 * count}q", data, at)
    buffers = list(zip(flat[::2], flat[1::2], strict=True))
    if rows < 0 or any(o < 0 or n < 0 or o + n > body_length for o, n in buffers):
        raise _DamagedMessageError
    nodes_at, nodes = _vector(data, table, 1, 16)
    if any(struct.unpack_from(f"<{2 * nodes}q", data, nodes_at)[1::2]):
        raise ForeignStreamError("null values")
    return rows, buffers


def _places(columns: tuple[Column, ...], rows: int, buffers: Sequence[tuple[int, int]], body: int) -> tuple[int, ...]:
    """Return where each column's values lie, after checking that the buffers are those of `columns`."""
    places = []
    at = 0
    for column in columns:
        at += 2 if column.width > 1 else 1  # validity bitmaps, which hold nothing
        if at >= len(buffers):
            raise _DamagedMessageError
        offset, length = buffers[at]
        if length < rows * column.width * column.dtype.itemsize:
            raise _DamagedMessageError
        places.append(body + offset)
        at += 1
    if at != len(buffers):
        raise _DamagedMessageError
    return tuple(places)


def _strings(data: bytes, body: int, buffers: Sequence[tuple[int, int]]) -> list[str]:
    if len(buffers) != 3:
        raise _DamagedMessageError
    (_, _), (offsets_at, offsets_size), (text_at, text_size) = buffers
    offsets = struct.unpack_from(f"<{offsets_size // 4}i", data, body + offsets_at)
    text = data[body + text_at : body + text_at + text_size]
    if any(b < a for a, b in pairwise(offsets)) or (offsets and offsets[-1] > len(text)):
        raise _DamagedMessageError
    return [text[a:b].decode("utf-8") for a, b in pairwise(offsets)]


def _check_schema(data: bytes, table: int, columns: tuple[Column, ...]) -> None:
    at, count = _vector(data, table, 1, 4)
    found = [_field(data, place + _U32.unpack_from(data, place)[0]) for place in range(at, at + 4 * count, 4)]
    if tuple(found) != columns:
        raise ForeignStreamError(f"columns {[c.name for c in found]}, expected {[c.name for c in columns]}")


def _field(data: bytes, table: int) -> Column:
    name = _string(data, table, 0)
    if _slot(data, table, 4):
        index = _pointer(data, _pointer(data, table, 4), 1) if _slot(data, _pointer(data, table, 4), 1) else 0
        bits = _integer(data, index, 0, 4) if index else 32
        if data[_slot(data, table, 2)] != TYPE_UTF8 or bits != 32:
            raise ForeignStreamError(f"column {name} is a dictionary of another kind")
        return Column(name, "name")
    kind = data[_slot(data, table, 2)] if _slot(data, table, 2) else 0
    type_at = _pointer(data, table, 3)
    if kind == TYPE_FIXED_LIST:
        width = _integer(data, type_at, 0, 4)
        first, count = _vector(data, table, 5, 4)
        if count != 1:
            raise _DamagedMessageError
        child = _field(data, first + _U32.unpack_from(data, first)[0])
        return Column(name, child.kind, width)
    if kind == TYPE_FLOAT and _integer(data, type_at, 0, 2) == 2:
        return Column(name, "f8")
    if kind == TYPE_INT:
        bits, signed = _integer(data, type_at, 0, 4), _integer(data, type_at, 1, 1)
        if (bits, signed) == (64, 1):
            return Column(name, "i8")
        if (bits, signed) == (32, 0):
            return Column(name, "u4")
    raise ForeignStreamError(f"column {name} is of another type")


def _integer(data: bytes, table: int, slot: int, size: int) -> int:
    place = _slot(data, table, slot)
    return int.from_bytes(data[place : place + size], "little") if place else 0
