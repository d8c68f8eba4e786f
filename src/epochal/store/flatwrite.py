"""The metadata of Arrow messages, put together with flatbuffers."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import flatbuffers

from epochal.store.arrowtypes import (
    CONTINUATION,
    DICTIONARY_ID,
    DOUBLE,
    METADATA_V5,
    TYPE_FIXED_LIST,
    TYPE_FLOAT,
    TYPE_INT,
    TYPE_UTF8,
    Column,
    Kind,
)

__all__ = ["field", "key_values", "message", "record_batch", "vector"]


def record_batch(b: flatbuffers.Builder, rows: int, nodes: Sequence[int], buffers: Sequence[tuple[int, int]]) -> int:
    """Add a RecordBatch of `rows`: field nodes by length, buffers by (offset, length)."""
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


def field(b: flatbuffers.Builder, column: Column) -> int:
    """Add a column's Field."""
    children = [_plain_field(b, "item", column.kind)] if column.width > 1 else []
    name = b.CreateString(column.name)
    children_at = vector(b, children)
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
    children = vector(b, [])
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
    if kind == "text":
        return TYPE_UTF8, _empty(b)
    if kind == "f8":
        b.StartObject(1)
        b.PrependInt16Slot(0, DOUBLE, 0)
        return TYPE_FLOAT, b.EndObject()
    return TYPE_INT, _int_type(b, {"i8": 64, "u4": 32, "u2": 16}[kind], signed=kind == "i8")


def _int_type(b: flatbuffers.Builder, bits: int, *, signed: bool) -> int:
    b.StartObject(2)
    b.PrependInt32Slot(0, bits, 0)
    b.PrependBoolSlot(1, signed, False)  # noqa: FBT003
    return int(b.EndObject())


def _empty(b: flatbuffers.Builder) -> int:
    b.StartObject(0)
    return int(b.EndObject())


def vector(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    """Add a vector of what was added before."""
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def key_values(b: flatbuffers.Builder, metadata: Mapping[str, str]) -> int:
    """Add custom metadata."""
    pairs = []
    for key, value in metadata.items():
        key_at, value_at = b.CreateString(key), b.CreateString(value)
        b.StartObject(2)
        b.PrependUOffsetTRelativeSlot(0, key_at, 0)
        b.PrependUOffsetTRelativeSlot(1, value_at, 0)
        pairs.append(b.EndObject())
    return vector(b, pairs)


def message(b: flatbuffers.Builder, kind: int, header: int, body_length: int, metadata: Mapping[str, str]) -> bytes:
    """Finish a message: continuation mark, length, and the metadata padded to 8 bytes."""
    pairs = key_values(b, metadata) if metadata else 0
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
