"""Reading what needs pyarrow: compacted runs in Parquet, and Arrow streams of other writers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from epochal.errors import DamagedError
from epochal.store.columns import Floats, Steps

__all__ = ["METADATA_KEY", "Compacted", "read_compact", "read_foreign_scalars"]

METADATA_KEY = b"epochal"


@dataclass(frozen=True, slots=True)
class Compacted:
    """A compacted file: its series, how many rows, the segments it replaces, and the number of its last row."""

    series: Iterator[tuple[str, Steps, Floats, Floats]]
    rows: int
    replaces: frozenset[str]
    rows_end: int


def read_compact(path: Path) -> Compacted:
    """Open a compacted file; its series are read one row group at a time as they are asked for.

    Raises FileNotFoundError, and DamagedError when the file is no such file, or here or there not what was written.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    with _told(path):
        file = pq.ParquetFile(path, read_dictionary=["name"], page_checksum_verification=True)
        facts = json.loads(file.schema_arrow.metadata[METADATA_KEY])
        series = _series(path, file)
        return Compacted(series, file.metadata.num_rows, frozenset(facts["replaces"]), int(facts["rows_end"]))


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"{path} cannot be read: {error}", hint="restore it from a copy of the run") from None


def _series(path: Path, file: pq.ParquetFile) -> Iterator[tuple[str, Steps, Floats, Floats]]:
    for number in range(file.num_row_groups):
        with _told(path):
            group = list(_group(file.read_row_group(number, use_threads=False)))
        yield from group
        del group
    pa.default_memory_pool().release_unused()


def _group(table: pa.Table) -> Iterator[tuple[str, Steps, Floats, Floats]]:
    at = 0
    for chunk in table.column("name").chunks:
        texts = chunk.dictionary.to_pylist()
        index = _numpy(chunk.indices, np.int32)
        cuts = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
        columns = [_column(table, name).slice(at, len(index)) for name in ("step", "t", "v")]
        step, t, v = (_numpy(c, kind) for c, kind in zip(columns, (np.int64, np.float64, np.float64), strict=True))
        for start, end in pairwise(cuts):
            if end > start:
                yield texts[index[start]], step[start:end], t[start:end], v[start:end]
        at += len(index)


def _column(table: pa.Table, name: str) -> pa.Array:
    joined = table.column(name).combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def _numpy(array: pa.Array, kind: Any) -> npt.NDArray[Any]:
    item = np.dtype(kind).itemsize
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * item)


def read_foreign_scalars(path: Path) -> Iterator[tuple[str, Steps, Floats, Floats]]:
    """Read a stream of scalars that another program wrote: other types, nulls, compression, any order of columns.

    A torn or damaged end is left out. Raises DamagedError when the columns are not there.
    """
    with pa.OSFile(str(path)) as source:
        try:
            reader = pa.ipc.open_stream(source)
        except pa.ArrowException as error:
            raise DamagedError(f"{path} is no Arrow stream: {error}") from None
        missing = {"name", "step", "t", "v"} - set(reader.schema.names)
        if missing:
            raise DamagedError(f"{path} lacks the column {sorted(missing)[0]!r}")
        while True:
            try:
                batch = reader.read_next_batch()
            except (StopIteration, pa.ArrowException):
                return
            names = np.array([str(n) for n in batch.column("name").to_pylist()], object)
            step = np.array(batch.column("step").to_pylist(), np.int64)
            t = np.array([np.nan if x is None else x for x in batch.column("t").to_pylist()], np.float64)
            v = np.array([np.nan if x is None else x for x in batch.column("v").to_pylist()], np.float64)
            for name in dict.fromkeys(names.tolist()):
                rows = names == name
                yield name, step[rows], t[rows], v[rows]
