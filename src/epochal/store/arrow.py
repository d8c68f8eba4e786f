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
from typing import Literal

import flatbuffers
import numpy as np
import numpy.typing as npt

from epochal.facts import HISTOGRAM_BINS, STATISTICS

__all__ = [
    "END_OF_STREAM",
    "FORMAT_KEY",
    "SCALAR_COLUMNS",
    "STATISTICS_COLUMNS",
    "BatchTemplate",
    "Column",
    "Kind",
    "batch_template",
    "body_sum",
    "encode_batch",
    "encode_dictionary",
    "encode_schema",
]

Kind = Literal["name", "i8", "f8", "u4"]
"""`name` is dictionary<int32, utf8>; the others are numpy's little-endian types."""

FORMAT_KEY = "epochal_format"
"""In the schema's metadata: the stream is laid out exactly as here, so whatever is not is damage."""

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
CONTINUATION = b"\xff\xff\xff\xff"
DICTIONARY_ID = 0
DIGITS = 20
METADATA_V5 = 4
HEADER_SCHEMA, HEADER_DICTIONARY, HEADER_BATCH = 1, 2, 3
TYPE_INT, TYPE_FLOAT, TYPE_UTF8, TYPE_FIXED_LIST = 2, 3, 5, 16
DOUBLE = 2

_I64, _PAIR = struct.Struct("<q"), struct.Struct("<qq")


_TYPES: dict[str, np.dtype[np.generic]] = {
    "name": np.dtype("<i4"),
    "i8": np.dtype("<i8"),
    "f8": np.dtype("<f8"),
    "u4": np.dtype("<u4"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, kind, and for a fixed-size list how many values a row holds (1 = no list)."""

    name: str
    kind: Kind
    width: int = 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """numpy's type of the values on disk."""
        return _TYPES[self.kind]


_COUNTED = ("zeros", "nan", "inf", "size", "seen")

SCALAR_COLUMNS = (Column("name", "name"), Column("step", "i8"), Column("t", "f8"), Column("v", "f8"))
STATISTICS_COLUMNS = (
    Column("name", "name"),
    Column("step", "i8"),
    Column("t", "f8"),
    *(Column(name, "i8" if name in _COUNTED else "f8") for name in STATISTICS),
    Column("lo", "f8"),
    Column("hi", "f8"),
    Column("counts", "u4", HISTOGRAM_BINS),
)


def body_sum(body: bytes | memoryview) -> int:
    """Return the sum of a body, whose length is a multiple of 8, as u64 words modulo 2**64."""
    return int(np.add.reduce(np.frombuffer(body, "<u8"), dtype=np.uint64)) if len(body) else 0


def encode_schema(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """Return the message that begins a stream."""
    b = flatbuffers.Builder(1024)
    fields = _vector(b, [_field(b, column) for column in columns])
    pairs = _key_values(b, metadata)
    b.StartObject(4)
    b.PrependUOffsetTRelativeSlot(1, fields, 0)
    b.PrependUOffsetTRelativeSlot(2, pairs, 0)
    return _message(b, HEADER_SCHEMA, b.EndObject(), 0, {})


def encode_dictionary(names: Sequence[str]) -> bytes:
    """Return the message, with its body, that gives the series' names; it replaces the one before."""
    texts = [name.encode("utf-8") for name in names]
    offsets = np.zeros(len(texts) + 1, "<i4")
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    parts = [b"", offsets.tobytes(), b"".join(texts)]
    body, buffers = _body(parts)
    b = flatbuffers.Builder(256)
    data = _record_batch(b, len(texts), [len(texts)], buffers)
    b.StartObject(3)
    b.PrependInt64Slot(0, DICTIONARY_ID, -1)  # -1: written even though 0 is the format's default
    b.PrependUOffsetTRelativeSlot(1, data, 0)
    return _message(b, HEADER_DICTIONARY, b.EndObject(), len(body), {"sum": _number(body_sum(body))}) + body


def layout_of(columns: Sequence[Column], rows: int) -> tuple[list[int], int]:
    """Return where in a body each column's values begin, and how long the body is."""
    places, at = [], 0
    for column in columns:
        places.append(at)
        size = rows * column.width * column.dtype.itemsize
        at += size + -size % 8
    return places, at


def encode_batch(columns: Sequence[Column], arrays: Mapping[str, npt.NDArray[np.generic]], *, rows_end: int) -> bytes:
    """Return the message, with its body, that holds rows; `arrays` has one array per column, of equal length.

    A `name` column is given as indices into the names of the last dictionary.
    """
    rows = len(arrays[columns[0].name])
    parts: list[bytes] = []
    for column in columns:
        values = np.ascontiguousarray(arrays[column.name], column.dtype)
        if values.shape != ((rows,) if column.width == 1 else (rows, column.width)):
            raise ValueError(f"column {column.name!r} has shape {values.shape}, expected {rows} rows")
        parts += (values.tobytes(), b"\0" * (-values.nbytes % 8))
    body = b"".join(parts)
    template = batch_template(tuple(columns))
    head = template.fill(rows)
    head[template.rows_end_at : template.rows_end_at + DIGITS] = _number(rows_end).encode("ascii")
    total = (body_sum(body) + rows_end) % 2**64
    head[template.sum_at : template.sum_at + DIGITS] = _number(total).encode("ascii")
    return bytes(head) + body


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
    header = _record_batch(b, rows, nodes, buffers)
    head = _message(b, HEADER_BATCH, header, body, {"rows_end": ends, "sum": total})

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


def _record_batch(b: flatbuffers.Builder, rows: int, nodes: Sequence[int], buffers: Sequence[tuple[int, int]]) -> int:
    b.StartVector(16, len(buffers), 8)
    for offset, length in reversed(buffers):
        b.PrependInt64(length)
        b.PrependInt64(offset)
    buffers_at = b.EndVector()
    b.StartVector(16, len(nodes), 8)
    for length in reversed(nodes):
        b.PrependInt64(0)  # null count
        b.PrependInt64(length)
    nodes_at = b.EndVector()
    b.StartObject(4)
    b.PrependInt64Slot(0, rows, 0)
    b.PrependUOffsetTRelativeSlot(1, nodes_at, 0)
    b.PrependUOffsetTRelativeSlot(2, buffers_at, 0)
    return int(b.EndObject())


def _field(b: flatbuffers.Builder, column: Column) -> int:
    children = [_plain_field(b, "item", column.kind)] if column.width > 1 else []
    name = b.CreateString(column.name)
    children_at = _vector(b, children)
    dictionary = 0
    if column.kind == "name":
        type_id, type_at = TYPE_UTF8, _empty(b)
        index = _int_type(b, 32, signed=True)
        b.StartObject(4)
        b.PrependInt64Slot(0, DICTIONARY_ID, -1)
        b.PrependUOffsetTRelativeSlot(1, index, 0)
        dictionary = b.EndObject()
    elif column.width > 1:
        b.StartObject(1)
        b.PrependInt32Slot(0, column.width, 0)
        type_id, type_at = TYPE_FIXED_LIST, b.EndObject()
    else:
        type_id, type_at = _plain_type(b, column.kind)
    return _finish_field(b, name, type_id, type_at, children_at, dictionary)


def _plain_field(b: flatbuffers.Builder, name: str, kind: Kind) -> int:
    name_at = b.CreateString(name)
    children = _vector(b, [])
    type_id, type_at = _plain_type(b, kind)
    return _finish_field(b, name_at, type_id, type_at, children, 0)


def _finish_field(b: flatbuffers.Builder, name: int, type_id: int, type_at: int, children: int, dictionary: int) -> int:
    b.StartObject(7)
    b.PrependUOffsetTRelativeSlot(0, name, 0)
    b.PrependBoolSlot(1, True, False)  # noqa: FBT003 - flatbuffers' signature
    b.PrependUint8Slot(2, type_id, 0)
    b.PrependUOffsetTRelativeSlot(3, type_at, 0)
    if dictionary:
        b.PrependUOffsetTRelativeSlot(4, dictionary, 0)
    b.PrependUOffsetTRelativeSlot(5, children, 0)
    return int(b.EndObject())


def _plain_type(b: flatbuffers.Builder, kind: Kind) -> tuple[int, int]:
    if kind == "f8":
        b.StartObject(1)
        b.PrependInt16Slot(0, DOUBLE, 0)
        return TYPE_FLOAT, b.EndObject()
    return TYPE_INT, _int_type(b, 64 if kind == "i8" else 32, signed=kind == "i8")


def _int_type(b: flatbuffers.Builder, bits: int, *, signed: bool) -> int:
    b.StartObject(2)
    b.PrependInt32Slot(0, bits, 0)
    b.PrependBoolSlot(1, signed, False)  # noqa: FBT003
    return int(b.EndObject())


def _empty(b: flatbuffers.Builder) -> int:
    b.StartObject(0)
    return int(b.EndObject())


def _vector(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _key_values(b: flatbuffers.Builder, metadata: Mapping[str, str]) -> int:
    pairs = []
    for key, value in metadata.items():
        key_at, value_at = b.CreateString(key), b.CreateString(value)
        b.StartObject(2)
        b.PrependUOffsetTRelativeSlot(0, key_at, 0)
        b.PrependUOffsetTRelativeSlot(1, value_at, 0)
        pairs.append(b.EndObject())
    return _vector(b, pairs)


def _message(b: flatbuffers.Builder, kind: int, header: int, body_length: int, metadata: Mapping[str, str]) -> bytes:
    """Finish a message: continuation mark, length, and the metadata padded to 8 bytes."""
    pairs = _key_values(b, metadata) if metadata else 0
    b.StartObject(5)
    b.PrependInt16Slot(0, METADATA_V5, 0)
    b.PrependUint8Slot(1, kind, 0)
    b.PrependUOffsetTRelativeSlot(2, header, 0)
    b.PrependInt64Slot(3, body_length, 0)
    if pairs:
        b.PrependUOffsetTRelativeSlot(4, pairs, 0)
    b.Finish(b.EndObject())
    data = bytes(b.Output())
    padding = -len(data) % 8
    return CONTINUATION + struct.pack("<i", len(data) + padding) + data + b"\0" * padding
