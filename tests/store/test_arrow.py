from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.store.arrow import (
    END_OF_STREAM,
    SCALAR_COLUMNS,
    STATISTICS_COLUMNS,
    Column,
    body_sum,
    encode_batch,
    encode_dictionary,
    encode_schema,
)

Arrays = dict[str, npt.NDArray[Any]]


def scalars(ids: list[int], values: list[float]) -> Arrays:
    n = len(ids)
    return {"name": np.array(ids), "step": np.arange(n), "t": np.full(n, 1.5), "v": np.array(values, np.float64)}


def stream(*batches: Arrays, names: list[str], columns: tuple[Column, ...] = SCALAR_COLUMNS) -> bytes:
    parts = [encode_schema(columns, {"epochal_format": "1"}), encode_dictionary(names)]
    end = 0
    for batch in batches:
        end += len(batch["step"])
        parts.append(encode_batch(columns, batch, rows_end=end))
    return b"".join(parts)


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=5, unique=True),
    st.lists(st.lists(st.floats(width=64), max_size=20), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_pyarrow_reads_the_same_numbers_and_finds_the_stream_valid(
    names: list[str], lists: list[list[float]], ended: bool
) -> None:
    batches = [scalars([i % len(names) for i in range(len(v))], v) for v in lists]
    data = stream(*batches, names=names) + (END_OF_STREAM if ended else b"")
    table = pa.ipc.open_stream(data).read_all()
    table.validate(full=True)
    assert table["v"].to_numpy().tobytes() == np.concatenate([b["v"] for b in batches]).tobytes()
    assert table["name"].to_pylist() == [names[i] for b in batches for i in b["name"]]


def test_polars_reads_the_same_numbers() -> None:
    data = stream(scalars([0, 1, 1], [1.0, -0.0, np.inf]), names=["loss", "träin/acc"])
    frame = pl.read_ipc_stream(io.BytesIO(data))
    assert frame["name"].cast(pl.String).to_list() == ["loss", "träin/acc", "träin/acc"]
    assert frame["v"].to_numpy().tobytes() == np.array([1.0, -0.0, np.inf]).tobytes()
    assert frame["step"].to_list() == [0, 1, 2]


def test_a_replaced_dictionary_is_understood_by_others() -> None:
    head = stream(scalars([0], [1.0]), names=["a"])
    data = head + encode_dictionary(["a", "b"]) + encode_batch(SCALAR_COLUMNS, scalars([1, 0], [2.0, 3.0]), rows_end=3)
    assert pa.ipc.open_stream(data).read_pandas()["name"].tolist() == ["a", "b", "a"]
    assert pl.read_ipc_stream(io.BytesIO(data))["name"].cast(pl.String).to_list() == ["a", "b", "a"]


def test_statistics_hold_64_counts_a_row() -> None:
    arrays: Arrays = {c.name: np.arange(3).astype(c.dtype) for c in STATISTICS_COLUMNS}
    arrays["counts"] = np.arange(3 * 64, dtype=np.uint32).reshape(3, 64)
    arrays["name"] = np.zeros(3, np.int32)
    table = pa.ipc.open_stream(stream(arrays, names=["w"], columns=STATISTICS_COLUMNS)).read_all()
    table.validate(full=True)
    assert table["counts"].to_pylist()[2] == list(range(128, 192))
    assert table["seen"].to_pylist() == [0, 1, 2]


def test_each_batch_says_where_it_ends_and_what_it_sums_to() -> None:
    data = stream(scalars([0, 0], [1.0, 2.0]), scalars([0], [3.0]), names=["a"])
    reader = pa.ipc.open_stream(data)
    ends = [reader.read_next_batch_with_custom_metadata()[1] for _ in range(2)]
    assert [int(e[b"rows_end"]) for e in ends] == [2, 3]
    words = np.frombuffer(np.array([0, 0, 0, 1], "<i8").tobytes(), "<u8")
    assert body_sum(words.tobytes()) == 1
    assert body_sum(b"\xff" * 16) == 2**64 - 2


def test_every_part_is_a_multiple_of_8_bytes() -> None:
    for part in (
        encode_schema(SCALAR_COLUMNS, {"k": "v"}),
        encode_dictionary(["a", "bcd"]),
        encode_batch(SCALAR_COLUMNS, scalars([0], [1.0]), rows_end=1),
    ):
        assert len(part) % 8 == 0


def test_columns_of_unequal_length_are_refused() -> None:
    arrays = scalars([0, 0], [1.0, 2.0])
    arrays["t"] = np.zeros(1)
    with pytest.raises(ValueError, match="column 't' has shape"):
        encode_batch(SCALAR_COLUMNS, arrays, rows_end=2)
