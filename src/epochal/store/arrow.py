"""Arrow IPC streams written with numpy and flatbuffers alone: pyarrow would cost the training 43 MB and 0.2 s.

A stream is a row of messages: schema, dictionary (the series' names), record batches, end. Each record batch carries
two facts of ours in its metadata: `rows_end`, the journal's number of the last row in it, and `sum`, the sum of
`rows_end` and its body as little-endian u64 words modulo 2**64, so that a reader notices flipped bits at the speed of
memory. A dictionary carries the sum of its body.
Dictionaries are always whole replacements: some readers reject deltas.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
import numpy.typing as npt

from epochal.store.arrowtypes import (
    DICTIONARY_ID,
    DIGITS,
    END_OF_STREAM,
    FORMAT_KEY,
    HEADER_BATCH,
    HEADER_DICTIONARY,
    HEADER_SCHEMA,
    MEDIA_COLUMNS,
    NARROW_STATISTICS_COLUMNS,
    SCALAR_COLUMNS,
    STATISTICS_COLUMNS,
    Column,
)
from epochal.store.flatwrite import field, key_values, message, record_batch, vector

__all__ = [
    "END_OF_STREAM",
    "FORMAT_KEY",
    "MEDIA_COLUMNS",
    "NARROW_STATISTICS_COLUMNS",
    "SCALAR_COLUMNS",
    "STATISTICS_COLUMNS",
    "BatchTemplate",
    "Column",
    "batch_template",
    "body_sum",
    "encode_batch",
    "encode_dictionary",
    "encode_schema",
    "layout_of",
]

_I64, _PAIR = struct.Struct("<q"), struct.Struct("<qq")


def body_sum(body: bytes | memoryview) -> int:
    """Return the sum of a body, whose length is a multiple of 8, as u64 words modulo 2**64."""
    return int(np.add.reduce(np.frombuffer(body, "<u8"), dtype=np.uint64)) if len(body) else 0


def encode_schema(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """Return the message that begins a stream."""
    b = flatbuffers.Builder(1024)
    fields = vector(b, [field(b, column) for column in columns])
    pairs = key_values(b, metadata)
    b.StartObject(4)
    b.PrependUOffsetTRelativeSlot(1, fields, 0)
    b.PrependUOffsetTRelativeSlot(2, pairs, 0)
    return message(b, HEADER_SCHEMA, b.EndObject(), 0, {})


def encode_dictionary(names: Sequence[str]) -> bytes:
    """Return the message, with its body, that gives the series' names; it replaces the one before."""
    parts = [b"", *_text_parts(names)]
    body, buffers = _body(parts)
    b = flatbuffers.Builder(256)
    data = record_batch(b, len(names), [len(names)], buffers)
    b.StartObject(3)
    b.PrependInt64Slot(0, DICTIONARY_ID, -1)  # -1: written even though 0 is the format's default
    b.PrependUOffsetTRelativeSlot(1, data, 0)
    return message(b, HEADER_DICTIONARY, b.EndObject(), len(body), {"sum": _number(body_sum(body))}) + body


def layout_of(columns: Sequence[Column], rows: int, text_sizes: Sequence[int] = ()) -> tuple[list[int], int]:
    """Return where in a body each column's values begin, and how long the body is.

    A text column has two places: that of its offsets and that of its text, whose sizes are given in order.
    """
    places, at = [], 0
    sizes = iter(text_sizes)
    for column in columns:
        places.append(at)
        size = (rows + (column.kind == "text")) * column.width * column.dtype.itemsize
        at += size + -size % 8
        if column.kind == "text":
            places.append(at)
            size = next(sizes)
            at += size + -size % 8
    return places, at


def encode_batch(
    columns: Sequence[Column], arrays: Mapping[str, npt.NDArray[np.generic] | Sequence[str]], *, rows_end: int
) -> bytes:
    """Return the message, with its body, that holds rows; `arrays` has one array per column, of equal length.

    A `name` column is given as indices into the names of the last dictionary, a `text` column as a list of str.
    """
    rows = len(arrays[columns[0].name])
    parts: list[bytes] = []
    for column in columns:
        given = arrays[column.name]
        if column.kind == "text":
            if len(given) != rows:
                raise ValueError(f"column {column.name!r} has {len(given)} texts, expected {rows} rows")
            parts += _text_parts([str(text) for text in given])
            continue
        values = np.ascontiguousarray(given, column.dtype)
        if values.shape != ((rows,) if column.width == 1 else (rows, column.width)):
            raise ValueError(f"column {column.name!r} has shape {values.shape}, expected {rows} rows")
        parts.append(values.tobytes())
    body, buffers = _body(parts)
    if any(column.kind == "text" for column in columns):
        return _varying_head(columns, rows, buffers, body, rows_end) + body
    template = batch_template(tuple(columns))
    head = template.fill(rows)
    head[template.rows_end_at : template.rows_end_at + DIGITS] = _number(rows_end).encode("ascii")
    total = (body_sum(body) + rows_end) % 2**64
    head[template.sum_at : template.sum_at + DIGITS] = _number(total).encode("ascii")
    return bytes(head) + body


def _varying_head(
    columns: Sequence[Column], rows: int, buffers: Sequence[tuple[int, int]], body: bytes, rows_end: int
) -> bytes:
    """Metadata of a batch with texts, whose sizes no template knows."""
    nodes: list[int] = []
    places: list[tuple[int, int]] = []
    given = iter(buffers)
    for column in columns:
        nodes.append(rows)
        if column.width > 1:
            nodes.append(rows * column.width)
            places.append((0, 0))
        begin = next(given)
        places += [(begin[0], 0), begin]  # no validity bitmap: nothing is null
        if column.kind == "text":
            places.append(next(given))
    b = flatbuffers.Builder(1024)
    header = record_batch(b, rows, nodes, places)
    total = (body_sum(body) + rows_end) % 2**64
    return message(b, HEADER_BATCH, header, len(body), {"rows_end": _number(rows_end), "sum": _number(total)})


@dataclass(frozen=True, slots=True)
class BatchTemplate:
    """The metadata of every record batch of a kind, made once: only numbers at fixed places differ.

    `rows_at`, `rows_end_at` and `sum_at` are places in the message; `fill` puts in all numbers but the last two.
    """

    blank: bytes
    rows_at: int
    body_at: int
    nodes_at: tuple[int, ...]
    buffers_at: tuple[int, ...]
    rows_end_at: int
    sum_at: int
    columns: tuple[Column, ...]

    def fill(self, rows: int) -> bytearray:
        """Return the metadata of a batch of so many rows, with blanks for `rows_end` and `sum`."""
        head = bytearray(self.blank)
        places, size = layout_of(self.columns, rows)
        _I64.pack_into(head, self.rows_at, rows)
        _I64.pack_into(head, self.body_at, size)
        node = iter(self.nodes_at)
        buffer = iter(self.buffers_at)
        for column, place in zip(self.columns, places, strict=True):
            _PAIR.pack_into(head, next(node), rows, 0)
            _PAIR.pack_into(head, next(buffer), place, 0)  # no validity bitmap: nothing is null
            if column.width > 1:
                _PAIR.pack_into(head, next(node), rows * column.width, 0)
                _PAIR.pack_into(head, next(buffer), place, 0)
            _PAIR.pack_into(head, next(buffer), place, rows * column.width * column.dtype.itemsize)
        return head


@functools.cache
def batch_template(columns: tuple[Column, ...]) -> BatchTemplate:
    """Return the template of a kind of batch: built with numbers that occur nowhere else, then searched for them."""
    marks = iter(range(0x5EED_0001_5EED_0001, 0x5EED_0001_5EED_1001))
    rows, body, *nodes = [next(marks) for _ in range(2 + sum(2 if c.width > 1 else 1 for c in columns))]
    buffers = [(next(marks), next(marks)) for c in columns for _ in range(3 if c.width > 1 else 2)]
    ends, total = "1" * DIGITS, "2" * DIGITS
    b = flatbuffers.Builder(1024)
    header = record_batch(b, rows, nodes, buffers)
    head = message(b, HEADER_BATCH, header, body, {"rows_end": ends, "sum": total})

    def place(data: bytes) -> int:
        if head.count(data) != 1:
            raise AssertionError("a mark of the template is not unique")
        return head.index(data)

    return BatchTemplate(
        blank=head.replace(ends.encode(), b"0" * DIGITS).replace(total.encode(), b"0" * DIGITS),
        rows_at=place(_I64.pack(rows)),
        body_at=place(_I64.pack(body)),
        nodes_at=tuple(place(_PAIR.pack(node, 0)) for node in nodes),
        buffers_at=tuple(place(_PAIR.pack(*buffer)) for buffer in buffers),
        rows_end_at=place(ends.encode()),
        sum_at=place(total.encode()),
        columns=columns,
    )


def _text_parts(texts: Sequence[str]) -> list[bytes]:
    """Offsets and text of a column or dictionary of texts."""
    encoded = [text.encode("utf-8") for text in texts]
    offsets = np.zeros(len(encoded) + 1, "<i4")
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return [offsets.tobytes(), b"".join(encoded)]


def _number(value: int) -> str:
    return f"{value:0{DIGITS}d}"


def _body(parts: Sequence[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """Lay buffers one after the other, each padded to 8 bytes; return them and their (offset, length)."""
    pieces: list[bytes] = []
    buffers: list[tuple[int, int]] = []
    at = 0
    for part in parts:
        buffers.append((at, len(part)))
        padding = -len(part) % 8
        pieces += (part, b"\0" * padding)
        at += len(part) + padding
    return b"".join(pieces), buffers
