"""Statistics rows between `add_statistics` and their segment: checked, copied, bounded."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.store.arrow import NARROW_STATISTICS_COLUMNS, STATISTICS_COLUMNS
from epochal.store.segments import SegmentWriter

__all__ = ["MEMORY_BYTES", "PendingStatistics"]

MEMORY_BYTES = 32_000_000
_NARROW = 0xFFFF
"""The largest count that narrow columns hold."""
_OPTIONAL = ("dead",)
"""Columns that most rows have nothing to say in."""

Arrays = dict[str, npt.NDArray[Any]]


class PendingStatistics:
    """Collects rows from any thread; `write` appends them as one batch, from the thread that folds."""

    def __init__(self, folder: Path, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self.dropped = 0
        self._lock = threading.RLock()
        self._rows: list[Arrays] = []
        self._bytes = 0
        self._limit = memory_bytes
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._rows_end = 0
        self._columns = NARROW_STATISTICS_COLUMNS
        self._segments = SegmentWriter(folder, self._columns)

    def add(self, columns: Mapping[str, Any]) -> None:
        """Take on rows; raises UsageError when a column is missing or has the wrong shape."""
        series = [str(name) for name in columns["series"]] if "series" in columns else []
        arrays: Arrays = {}
        for column in STATISTICS_COLUMNS:
            if column.kind == "name":
                continue
            if column.name not in columns and column.name not in _OPTIONAL:
                raise UsageError(f"Statistics lack the column {column.name!r}")
            shape = (len(series),) if column.width == 1 else (len(series), column.width)
            try:
                given = np.asarray(columns.get(column.name, np.nan))
                arrays[column.name] = np.array(np.broadcast_to(given, shape), column.dtype)
            except (ValueError, TypeError) as error:
                raise UsageError(f"Statistics column {column.name!r}: {error}, expected shape {shape}") from None
        with self._lock:
            arrays["name"] = np.array([self._number(name) for name in series], "<i4")
            self._rows.append(arrays)
            self._bytes += _size(arrays)

    def _number(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = len(self._names)
            self._names.append(name.encode("utf-8", "backslashreplace").decode("utf-8"))
        return self._ids[name]

    def write(self) -> bool:
        """Append all rows as one batch; say whether there were any. Raises OSError and keeps them when refused."""
        with self._lock:
            rows, names = list(self._rows), list(self._names)
        self._segments.check_present()
        if not rows:
            return False
        arrays = rows[0] if len(rows) == 1 else {k: np.concatenate([r[k] for r in rows]) for k in rows[0]}
        count = len(arrays["name"])
        if count:
            if int(arrays["counts"].max(initial=0)) > _NARROW:
                self._columns = STATISTICS_COLUMNS  # from here on: segments of two kinds in turns would be many
            if self._columns is NARROW_STATISTICS_COLUMNS:
                arrays = {**arrays, "counts": arrays["counts"].astype("<u2")}
            self._segments.write(arrays, names, rows_end=self._rows_end + count, columns=self._columns)
            self._rows_end += count
        with self._lock:
            del self._rows[: len(rows)]
            self._bytes = sum(_size(r) for r in self._rows)
        return True

    def trim(self) -> None:
        """Forget the newest rows above the bound and count them; called while the disk refuses."""
        with self._lock:
            while self._rows and self._bytes > self._limit:
                gone = self._rows.pop()
                self._bytes -= _size(gone)
                self.dropped += len(gone["name"])

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        self._segments.sync()

    def end(self) -> None:
        """Finish the segment."""
        self._segments.end()

    def abandon(self) -> None:
        """Close the segment as it is."""
        self._segments.abandon()


def _size(arrays: Arrays) -> int:
    return sum(a.nbytes for a in arrays.values())
