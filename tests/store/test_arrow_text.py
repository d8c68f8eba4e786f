"""Text columns of the streams: what other programs read of them, and what damage does to them."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.store.arrow import END_OF_STREAM, MEDIA_COLUMNS, encode_batch, encode_dictionary, encode_schema
from epochal.store.arrowread import StreamReader

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
ROW = st.tuples(st.integers(0, 2), st.integers(0, 2**62), TEXT, TEXT, TEXT)
NAMES = ["a", "b/ü", "c"]


def arrays(rows: list[tuple[int, int, str, str, str]]) -> dict[str, Any]:
    return {
        "name": [r[0] for r in rows],
        "step": [r[1] for r in rows],
        "t": np.arange(len(rows)) / 3,
        "kind": [r[2] for r in rows],
        "index": np.zeros(len(rows), np.int64),
        "sha256": ["0" * 64] * len(rows),
        "extension": [r[3] for r in rows],
        "size": np.arange(len(rows)),
        "caption": [r[4] for r in rows],
        "meta": ["" if i % 2 else '{"a": 1}' for i in range(len(rows))],
    }


def stream(batches: list[list[tuple[int, int, str, str, str]]]) -> bytes:
    parts = [encode_schema(MEDIA_COLUMNS, {"epochal_format": "1"}), encode_dictionary(NAMES)]
    end = 0
    for batch in batches:
        end += len(batch)
        parts.append(encode_batch(MEDIA_COLUMNS, arrays(batch), rows_end=end))
    return b"".join(parts)


def read(reader: StreamReader, data: bytes) -> list[tuple[int, int, str, str, str]]:
    found = []
    for batch in reader.feed(data):
        columns = [batch.column(i).tolist() for i in (0, 1)] + [batch.texts(i) for i in (3, 6, 8)]
        found += list(zip(*columns, strict=True))
    return found


@given(st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_pyarrow_polars_and_we_read_the_same_texts(
    batches: list[list[tuple[int, int, str, str, str]]], ended: bool
) -> None:
    data = stream(batches) + (END_OF_STREAM if ended else b"")
    rows = [row for batch in batches for row in batch]
    table = pa.ipc.open_stream(data).read_all()
    table.validate(full=True)
    assert table.schema.field("caption").type == pa.utf8()
    columns = ("name", "step", "kind", "extension", "caption")
    expected = [(NAMES[r[0]], *r[1:]) for r in rows]
    assert list(zip(*(table[c].to_pylist() for c in columns), strict=True)) == expected
    frame = pl.read_ipc_stream(io.BytesIO(data))
    assert frame["name"].cast(pl.String).to_list() == [e[0] for e in expected]
    assert list(zip(*(frame[c].to_list() for c in columns[1:]), strict=True)) == [e[1:] for e in expected]
    reader = StreamReader(MEDIA_COLUMNS)
    assert read(reader, data) == rows
    assert (reader.torn, reader.damaged, reader.rows_end) == (0, 0, len(rows))


def test_texts_that_pyarrow_wrote_are_read() -> None:
    rows = [(0, 1, "image", "png", "Größe"), (2, 5, "", "", "")]
    given_ = arrays(rows)
    schema = pa.ipc.open_stream(stream([rows])).schema.remove_metadata()
    given_["name"] = pa.DictionaryArray.from_arrays(pa.array([0, 2], pa.int32()), pa.array(NAMES))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(given_[f.name], f.type) for f in schema], schema=schema))
    assert read(StreamReader(MEDIA_COLUMNS), sink.getvalue().to_pybytes()) == rows


def test_a_torn_end_waits_and_is_read_when_it_is_whole() -> None:
    rows = [(0, i, "image", "png", "x" * i) for i in range(5)]
    data = stream([[row] for row in rows])
    for cut in range(0, len(data), 7):
        reader = StreamReader(MEDIA_COLUMNS)
        found = read(reader, data[:cut])
        assert found == rows[: len(found)]
        assert reader.damaged == 0
        assert found + read(reader, data[reader.offset :]) == rows


def test_flipped_bytes_lose_only_their_message_and_never_make_up_texts() -> None:
    rows = [(i % 3, i, "image", "png", f"caption {i}") for i in range(12)]
    data = stream([rows[i : i + 2] for i in range(0, 12, 2)])
    whole = set(rows)
    rng = random.Random(0)
    for _ in range(400):
        broken = bytearray(data)
        at = rng.randrange(len(encode_schema(MEDIA_COLUMNS, {"epochal_format": "1"})), len(broken))
        broken[at] ^= 1 << rng.randrange(8)
        reader = StreamReader(MEDIA_COLUMNS)
        found = read(reader, bytes(broken))
        assert set(found) <= whole
        assert len(found) >= 10
