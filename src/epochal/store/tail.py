"""Follow the segments that one process writes: read what is new, remember where it ended, step over damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from epochal.store.arrow import Column
from epochal.store.arrowread import Batch, ForeignStreamError, StreamReader
from epochal.store.segments import list_segments

__all__ = ["SegmentTail", "SegmentsReplacedError"]


class SegmentsReplacedError(Exception):
    """A segment that was there is gone: it was compacted meanwhile, and all must be read anew."""


class SegmentTail:
    """Reads a folder of segments incrementally. Not thread-safe.

    `take(batches, names, path)` is called with the whole batches of one segment; `names` is the dictionary.
    `lost` counts rows that damage took, as far as that is known; `damaged` the bytes.
    """

    def __init__(
        self,
        folder: Path,
        columns: tuple[Column, ...],
        *,
        take: Callable[[list[Batch], list[str], Path], None],
        skip: frozenset[str] = frozenset(),
        rows_end: int = 0,
        foreign: Callable[[Path], None] | None = None,
    ) -> None:
        self.folder = folder
        self.rows_end = rows_end
        self.lost = 0
        self._columns = columns
        self._take = take
        self._skip = skip
        self._foreign = foreign
        self._done: set[str] = set()
        self._current = ""
        self._following = max((_number(name) + 1 for name in skip), default=0)
        self._reader = StreamReader(columns, rows_end=rows_end)
        self._damaged = 0

    @property
    def damaged(self) -> int:
        """Bytes that could not be read, in segments that are closed or before whole messages."""
        return self._damaged + self._reader.damaged

    @property
    def torn(self) -> int:
        """Bytes at the end of the newest segment that are no whole message (yet)."""
        return self._reader.torn

    def refresh(self) -> bool:
        """Read what is new; say whether there was anything.

        Raises SegmentsReplacedError when a segment that was read in part is no longer there.
        """
        names = [name for name in list_segments(self.folder) if name not in self._skip]
        if self._current and self._current not in names:
            raise SegmentsReplacedError
        changed = False
        for name in names:
            if name < self._current or name in self._done:
                continue
            if name != self._current:
                doubtful = self._leave() or _number(name) != self._following
                self._current, self._following = name, _number(name) + 1
                self._reader = StreamReader(self._columns, rows_end=self.rows_end, after_damage=doubtful)
            changed |= self._read(self.folder / name)
        return changed

    def _leave(self) -> bool:
        """Close the books on a segment that has a successor; say whether its end is missing.

        What is torn there now will never become whole.
        """
        if not self._current or self._current in self._done:
            return False
        self._damaged += self._reader.damaged + self._reader.torn
        self._done.add(self._current)
        return self._reader.torn > 0 or not self._reader.offset

    def _read(self, path: Path) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SegmentsReplacedError from None
        except OSError:
            return False
        try:
            size = os.fstat(fd).st_size
            reader = self._reader
            if size <= reader.offset + reader.torn and not (reader.torn and size < reader.offset + reader.torn):
                return False
            data = os.pread(fd, max(0, size - reader.offset), reader.offset)
        except OSError:  # an unreadable sector: the rest of the run is still good
            self._damaged += size - reader.offset + reader.damaged
            self._done.add(self._current)
            return False
        finally:
            os.close(fd)
        try:
            batches = reader.feed(data)
        except ForeignStreamError:
            if self._foreign is None or self._current in self._done:
                raise
            self._foreign(path)
            self._done.add(self._current)
            return True
        if not batches:
            return False
        self.lost += sum(batch.lost for batch in batches)
        self.rows_end = max(self.rows_end, reader.rows_end)
        self._take(batches, reader.names, path)
        return True


def _number(name: str) -> int:
    """Return the number in a segment's name, -1 when it has none."""
    stem = name.partition(".")[0]
    return int(stem) if stem.isascii() and stem.isdigit() else -1
