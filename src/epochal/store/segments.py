"""Append-only segments of Arrow streams: each flush is one write, cut back when the disk took only a part of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from epochal.store.arrow import END_OF_STREAM, FORMAT_KEY, Column, encode_batch, encode_dictionary, encode_schema
from epochal.store.files import sync_folder
from epochal.store.layout import FORMAT_VERSION

__all__ = ["SEGMENT_BYTES", "SEGMENT_ROWS", "STREAMED_BYTES", "SegmentWriter", "expect_streaming", "list_segments"]

SEGMENT_BYTES = 8_000_000
SEGMENT_ROWS = 250_000
STREAMED_BYTES = 500_000
"""Where what is recorded is put into an object store: the newest segment is put again each time it has grown."""

_bytes = SEGMENT_BYTES


def expect_streaming() -> None:
    """Begin new segments earlier in this process from now on: what it records is put into an object store."""
    global _bytes
    _bytes = STREAMED_BYTES


def list_segments(folder: Path) -> list[str]:
    """Return the names of a folder's segments in the order they were written."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".arrows") and not e.name.startswith("."))
    except OSError:
        return []


class SegmentWriter:
    """Writes one kind of rows as numbered segments. Belongs to one thread at a time."""

    def __init__(
        self,
        folder: Path,
        columns: Sequence[Column],
        *,
        segment_bytes: int | None = None,
        segment_rows: int = SEGMENT_ROWS,
        first: int = 0,
    ) -> None:
        self.folder = folder
        self.bytes_written = 0
        self._columns = tuple(columns)
        self._limits = _bytes if segment_bytes is None else segment_bytes, segment_rows
        self._next = first
        self._fd = -1
        self._path = folder
        self._size = 0
        self._rows = 0
        self._names_sent = 0
        self._named = True

    def write(
        self,
        arrays: Mapping[str, npt.NDArray[np.generic] | Sequence[str]],
        names: Sequence[str],
        *,
        rows_end: int,
        columns: tuple[Column, ...] | None = None,
    ) -> None:
        """Append rows; `names` are the series' names, only ever longer than before.

        Other `columns` than those so far begin a new segment.

        Raises OSError when they could not be written whole; then nothing of them is in the file.
        """
        rows = len(arrays["step"])
        if columns is not None and columns != self._columns:
            self.end()
            self._columns = columns
        if self._size >= self._limits[0] or self._rows >= self._limits[1]:
            self.end()
        if self._fd < 0:
            self._open()
        parts = []
        if not self._size:
            parts.append(encode_schema(self._columns, {FORMAT_KEY: str(FORMAT_VERSION)}))
        if self._names_sent < len(names) or not self._size:
            parts.append(encode_dictionary(names))
        parts.append(encode_batch(self._columns, arrays, rows_end=rows_end))
        self._append(b"".join(parts))
        self._names_sent = len(names)
        self._rows += rows

    def _open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._path = self.folder / f"{self._next:08d}.arrows"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o666)
        self._next += 1
        self._names_sent = 0
        self._named = False

    def _append(self, data: bytes) -> None:
        self.check_present()
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError:
            self._cut_back()
            raise
        self._size += len(data)
        self.bytes_written += len(data)

    def _cut_back(self) -> None:
        """Take a partial write out of the file again; a file where that fails gets a successor."""
        try:
            os.ftruncate(self._fd, self._size)
            if not self._size:  # an empty file is no Arrow stream
                self._path.unlink()
                self._next -= 1
                self.abandon()
        except OSError:
            self.abandon()

    def check_present(self) -> None:
        """Raise FileNotFoundError when the open segment is no longer at its path: deleted or moved away."""
        if self._fd >= 0:
            there, ours = os.stat(self._path), os.fstat(self._fd)  # noqa: PTH116
            if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
                raise FileNotFoundError(2, "the segment was replaced by another file", str(self._path))

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        if self._fd >= 0:
            (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(self._fd)
            if not self._named:  # a file is only there after a power cut if its name is
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
                self._named = True

    def end(self) -> None:
        """Finish the open segment; the next rows begin a new one.

        The end-of-stream mark is a courtesy to other readers: a disk that has no room for it loses nothing.
        """
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            self._append(END_OF_STREAM)
            self.sync()
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
            self._size = self._rows = 0
