"""The graph in an event file of TensorBoard, as `SummaryWriter.add_graph`, `tf.summary.graph` or Keras' callback write.

The file is a row of records (length, checksum, message, checksum) of protocol buffers: event.proto and summary.proto.
Those that hold no graph are passed over. A record that ends too early is the last one of a writer that still writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from epochal.errors import DamagedError, NotFoundError
from epochal.facts import Graph
from epochal.network.graph_files import MOST_TEXT, file_bytes, parsed
from epochal.network.graphdef import read_nodes
from epochal.network.graphdef_tensorflow import draw_tensorflow
from epochal.network.graphdef_torch import draw_torch
from epochal.network.keras_json import keras_graph
from epochal.network.protobuf import fields, part, text

__all__ = ["read_events"]

_HINT = "SummaryWriter.add_graph(model, inputs) writes one."


def read_events(path: Path) -> Graph:
    """The last network that the file keeps: a model of Keras where there is one, else a graph of operations.

    Raises NotFoundError where there is no such file or no graph in it, DamagedError where it is no event file or says
    what cannot be.
    """
    model = graph = None
    try:
        for event in _records(file_bytes(path)):
            for what, value in fields(event):
                if what == 4:
                    graph = part(value)
                elif what == 5:
                    model = _model(part(value)) or model
        if model is not None:
            return keras_graph(parsed(model, path.name), path.name)
        if graph is None:
            raise NotFoundError(f"There is no graph in {path.name}.", hint=_HINT)
        nodes = read_nodes(graph)
        traced = any(node.op.startswith(("aten::", "prim::")) or node.op == "IO Node" for node in nodes)
        return (draw_torch if traced else draw_tensorflow)(nodes, path.parent.name or path.name)
    except (struct.error, ValueError, OverflowError, IndexError, RecursionError) as error:
        raise DamagedError(f"{path.name} is no event file of TensorBoard: {error}") from None


def _records(data: memoryview) -> Iterator[memoryview]:
    at = 0
    while at + 12 <= len(data):
        size, mark = struct.unpack_from("<QI", data, at)
        if mark != _masked(data[at : at + 8]):
            raise ValueError(f"the checksum at byte {at:,} is wrong")
        end = at + 12 + size
        if end + 4 > len(data):
            return
        record = data[at + 12 : end]
        if _may_hold_graph(record) and struct.unpack_from("<I", data, end)[0] != _masked(record):
            raise ValueError(f"the checksum at byte {end:,} is wrong")
        yield record
        at = end + 4
    if not at:
        raise ValueError("it has no records")


def _may_hold_graph(record: memoryview) -> bool:
    return len(record) > 200  # numbers are shorter; their checksums would take most of the time


def _model(summary: memoryview) -> bytes | None:
    """The JSON of a model of Keras in a summary, None where it is another one."""
    for what, value in fields(summary):
        tensor, ours = None, False
        for which, inner in fields(part(value)) if what == 1 else ():
            if which == 8:
                tensor = part(inner)
            elif which == 9:
                ours = _plugin(part(inner)) == "graph_keras_model"
        if ours and tensor is not None:
            texts = [part(inner) for which, inner in fields(tensor) if which == 8]
            if texts and len(texts[0]) <= MOST_TEXT:
                return bytes(texts[0])
    return None


def _plugin(metadata: memoryview) -> str:
    for what, value in fields(metadata):
        for which, inner in fields(part(value)) if what == 1 else ():
            if which == 1:
                return text(inner)
    return ""


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F63B78 if byte & 1 else byte >> 1
        found.append(byte)
    return tuple(found)


_CASTAGNOLI = _table()


def _masked(data: memoryview) -> int:
    """The checksum of TensorFlow's records: CRC-32C, turned and shifted so that records may hold records."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CASTAGNOLI[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
