"""Compaction: the scalars of writers that ended, sorted, into Parquet; a fifth of the bytes.

Arrays are handed to pyarrow as buffers: `pa.array()` would import pandas (1.3 s) where that is installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from epochal.errors import DamagedError
from epochal.store.boots import Boot, list_boots
from epochal.store.columns import ScalarSeries
from epochal.store.layout import FORMAT_VERSION, RunFolder
from epochal.store.parquet import METADATA_KEY, read_compact
from epochal.store.scalars import ScalarTail
from epochal.store.segments import list_segments

__all__ = ["CompactReport", "compact"]

ROW_GROUP = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What compaction did: rows now in Parquet, bytes before and after, and writers left alone with the reason."""

    rows: int
    bytes_before: int
    bytes_after: int
    skipped: tuple[str, ...] = ()


def compact(path: str | os.PathLike[str]) -> CompactReport:
    """Turn the scalars of every writer that ended into one sorted Parquet file, and delete the segments it replaces.

    A writer that still runs, or whose segments are damaged, is left as it is. Safe beside readers and at any crash:
    the new file is there before the old ones go.
    """
    run = RunFolder(Path(path))
    rows = before = after = 0
    skipped = []
    for boots in list_boots(run, {}):
        for boot in boots:
            names = list_segments(boot.folder.scalars)
            if not names:
                continue
            if boot.status(time.time()) == "running" or boot.folder.journal.exists():
                skipped.append(f"{boot.folder.name}: it has not ended cleanly; repair it first")
                continue
            size = sum((boot.folder.scalars / name).stat().st_size for name in names)
            try:
                made = _compact_writer(run, boot, names)
            except DamagedError as error:
                skipped.append(f"{boot.folder.name}: {error.message}")
                continue
            if made is None:
                skipped.append(f"{boot.folder.name}: its segments are damaged")
                continue
            rows, before, after = rows + made[0], before + size, after + made[1]
    return CompactReport(rows=rows, bytes_before=before, bytes_after=after, skipped=tuple(skipped))


def _compact_writer(run: RunFolder, boot: Boot, names: list[str]) -> tuple[int, int] | None:
    tail = ScalarTail(run, boot.folder)
    tail.refresh(ended=True)
    if tail.damaged or tail.torn or tail.unknown:
        return None
    series = [tail.series[name].series(name) for name in sorted(tail.series)]
    replaced = set(names)
    with contextlib.suppress(FileNotFoundError):
        replaced |= read_compact(tail.compact_path).replaces
    facts = {
        "format_version": FORMAT_VERSION,
        "writer": boot.folder.name,
        "replaces": sorted(replaced),
        "rows_end": tail.rows_end,
    }
    run.compact.mkdir(exist_ok=True)
    temporary = tail.compact_path.with_name(f".{tail.compact_path.name}.tmp")
    try:
        _write(temporary, series, facts)
        fd = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(tail.compact_path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    for name in names:
        (boot.folder.scalars / name).unlink(missing_ok=True)
    return sum(map(len, series)), tail.compact_path.stat().st_size


def _write(path: Path, series: list[ScalarSeries], facts: dict[str, Any]) -> None:
    schema = pa.schema(
        [
            pa.field("name", pa.dictionary(pa.int32(), pa.utf8()), nullable=False),
            pa.field("step", pa.int64(), nullable=False),
            pa.field("t", pa.float64(), nullable=False),
            pa.field("v", pa.float64(), nullable=False),
        ],
        metadata={METADATA_KEY: json.dumps(facts).encode()},
    )
    names = pa.StringArray.from_buffers(len(series), *_text_buffers([s.name for s in series]))
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=6,
        use_dictionary=["name"],
        write_page_checksum=True,
        column_encoding={"step": "DELTA_BINARY_PACKED", "t": "BYTE_STREAM_SPLIT", "v": "BYTE_STREAM_SPLIT"},
    ) as writer:
        for group in _row_groups(series):
            index = np.concatenate([np.full(end - start, i, np.int32) for i, start, end in group])
            columns = [pa.DictionaryArray.from_arrays(_array(index, pa.int32()), names)]
            for column, kind in (("steps", pa.int64()), ("t", pa.float64()), ("v", pa.float64())):
                values = np.concatenate([getattr(series[i], column)[start:end] for i, start, end in group])
                columns.append(_array(values, kind))
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP)


def _row_groups(series: list[ScalarSeries]) -> Iterator[list[tuple[int, int, int]]]:
    """Cut the series, one after the other, into groups of `ROW_GROUP` rows of (series, start, end)."""
    group: list[tuple[int, int, int]] = []
    room = ROW_GROUP
    for i, rows in enumerate(series):
        start = 0
        while start < len(rows):
            end = min(len(rows), start + room)
            group.append((i, start, end))
            room -= end - start
            start = end
            if not room:
                yield group
                group, room = [], ROW_GROUP
    if group:
        yield group


def _text_buffers(texts: list[str]) -> tuple[pa.Buffer, pa.Buffer]:
    encoded = [text.encode("utf-8") for text in texts]
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))


def _array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
