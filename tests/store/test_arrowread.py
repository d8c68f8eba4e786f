from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.store.arrow import (
    END_OF_STREAM,
    FORMAT_KEY,
    SCALAR_COLUMNS,
    encode_batch,
    encode_dictionary,
    encode_schema,
)
from epochal.store.arrowread import Batch, ForeignStreamError, StreamReader
from tests.store.test_arrow import scalars, stream


def values(batches: list[Batch]) -> list[float]:
    return [float(v) for b in batches for v in b.column(3)]


def ends_of_messages() -> tuple[bytes, list[int]]:
    """A stream of five batches of two rows, and where each message ends."""
    parts = [encode_schema(SCALAR_COLUMNS, {FORMAT_KEY: "1"}), encode_dictionary(["a", "b"])]
    parts += [
        encode_batch(SCALAR_COLUMNS, scalars([0, 1], [2.0 * i, 2.0 * i + 1]), rows_end=2 * i + 2) for i in range(5)
    ]
    return b"".join(parts), np.cumsum([len(p) for p in parts]).tolist()


def test_a_stream_cut_at_every_byte_gives_exactly_the_whole_messages() -> None:
    data, ends = ends_of_messages()
    for cut in range(len(data) + 1):
        reader = StreamReader(SCALAR_COLUMNS)
        whole = sum(end <= cut for end in ends[2:])
        assert values(reader.feed(data[:cut])) == list(range(2 * whole)), cut
        assert (reader.damaged, reader.rows_end) == (0, 2 * whole)
        assert reader.offset + reader.torn == cut
        # The rest comes: everything is there, each row once.
        assert values(reader.feed(data[reader.offset :])) == list(range(2 * whole, 10)), cut
        assert reader.torn == 0


@given(st.lists(st.integers(1, 400), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_way_of_growing_gives_the_same_rows(steps: list[int]) -> None:
    data, _ = ends_of_messages()
    data += END_OF_STREAM
    reader, seen, size = StreamReader(SCALAR_COLUMNS), [], 0
    for step in [*steps, len(data)]:
        size = min(len(data), size + step)
        seen += values(reader.feed(data[reader.offset : size]))
    assert seen == list(range(10))
    assert reader.ended


def test_damage_in_the_middle_is_stepped_over_and_counted() -> None:
    data, ends = ends_of_messages()
    for at in range(ends[3], ends[4] - 7, 7):  # the third batch: rows 4 and 5
        broken = bytearray(data)
        broken[at : at + 7] = bytes(b ^ 0x55 for b in broken[at : at + 7])
        reader = StreamReader(SCALAR_COLUMNS)
        batches = reader.feed(bytes(broken))
        assert values(batches) in ([0, 1, 2, 3, 6, 7, 8, 9], list(range(10))), at  # padding may be hit
        if len(batches) == 4:
            assert sum(b.lost for b in batches) == 2
            assert reader.damaged >= 8


def test_every_flipped_bit_of_a_body_is_noticed() -> None:
    data, ends = ends_of_messages()
    batch = encode_batch(SCALAR_COLUMNS, scalars([0, 1], [4.0, 5.0]), rows_end=6)
    body = ends[4] - 64  # 8 bytes of ids, then three columns of 16
    assert data[ends[3] : ends[4]] == batch
    for at in range(body, ends[4]):
        for bit in range(8):
            broken = bytearray(data)
            broken[at] ^= 1 << bit
            assert values(StreamReader(SCALAR_COLUMNS).feed(bytes(broken))) == [0, 1, 2, 3, 6, 7, 8, 9]


def test_noise_never_breaks_the_reader() -> None:
    data, _ = ends_of_messages()
    rng = random.Random(5)
    for _ in range(4000):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        reader = StreamReader(SCALAR_COLUMNS)
        try:
            found = values(reader.feed(bytes(broken)))
        except ForeignStreamError:
            continue
        assert set(found) <= {float(v) for v in range(10)}
        assert len(found) <= 10
    for size in (0, 1, 7, 8, 64, 4096):
        assert StreamReader(SCALAR_COLUMNS).feed(rng.randbytes(size)) == []


def test_a_tail_of_zeros_as_power_cuts_leave_it_is_no_data() -> None:
    data, _ = ends_of_messages()
    reader = StreamReader(SCALAR_COLUMNS)
    assert len(reader.feed(data + bytes(4096))) == 5
    assert reader.torn == 4096


def test_values_that_look_like_a_message_are_no_message() -> None:
    trap = np.frombuffer(encode_dictionary(["x"])[:16] * 8, np.float64)
    data = stream(scalars([0] * len(trap), trap.tolist()), names=["a"])
    for cut in range(len(data) - 200, len(data)):
        reader = StreamReader(SCALAR_COLUMNS)
        reader.feed(data[:cut])
        batches = reader.feed(data[reader.offset :])
        assert [b.column(3).tobytes() for b in batches] == [trap.tobytes()]


def test_streams_of_other_writers_are_told_apart() -> None:
    schema = pa.schema([("name", pa.utf8()), ("step", pa.int64()), ("t", pa.float64()), ("v", pa.float64())])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table({"name": ["a"], "step": [1], "t": [0.0], "v": [1.0]}, schema=schema))
    with pytest.raises(ForeignStreamError, match="type"):
        StreamReader(SCALAR_COLUMNS).feed(sink.getvalue().to_pybytes())


def test_streams_that_pyarrow_wrote_in_the_same_layout_are_read() -> None:
    schema = pa.schema(
        [
            ("name", pa.dictionary(pa.int32(), pa.utf8())),
            ("step", pa.int64()),
            ("t", pa.float64()),
            ("v", pa.float64()),
        ]
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        columns = [
            pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), pa.array(["a", "b"])),
            pa.array([3, 4]),
            pa.array([0.5, 0.75]),
            pa.array([1.5, float("nan")]),
        ]
        writer.write_batch(pa.record_batch(columns, schema=schema))
    reader = StreamReader(SCALAR_COLUMNS)
    (batch,) = reader.feed(sink.getvalue().to_pybytes())
    assert reader.names == ["a", "b"]
    assert batch.column(0).tolist() == [1, 0]
    assert batch.column(1).tolist() == [3, 4]
    assert batch.column(3)[0] == 1.5
    assert batch.rows_end == 2


def test_compressed_and_null_bodies_are_foreign() -> None:
    schema = pa.schema(
        [("name", pa.dictionary(pa.int32(), pa.utf8())), ("step", pa.int64()), ("t", pa.float64()), ("v", pa.float64())]
    )
    names = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array(["a"]))
    for options, v in ((pa.ipc.IpcWriteOptions(compression="zstd"), [1.0, 2.0]), (None, [1.0, None])):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema, options=options) as writer:
            batch = pa.record_batch([names, pa.array([1, 2]), pa.array([0.0, 0.0]), pa.array(v)], schema=schema)
            writer.write_batch(batch)
        with pytest.raises(ForeignStreamError):
            StreamReader(SCALAR_COLUMNS).feed(sink.getvalue().to_pybytes())
