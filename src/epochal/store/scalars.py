"""The scalars of one process's part of a run: compacted file, then segments, then journal, each row once."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from epochal.store.arrow import SCALAR_COLUMNS
from epochal.store.arrowread import Batch
from epochal.store.columns import Floats, GrowingSeries, Steps
from epochal.store.journal import JournalReader, Records, empty_records
from epochal.store.layout import RunFolder, WriterFolder
from epochal.store.segments import list_segments
from epochal.store.tail import SegmentsReplacedError, SegmentTail

__all__ = ["ScalarTail"]

ROUNDS = 4
BYTES_PER_ROW = 28
SORT_BELOW_ROWS = 300


class ScalarTail:
    """Reads one writer's scalars and keeps up with them. Not thread-safe.

    The journal is read before the stream: a row folded between the two looks is then seen twice, never missed, and
    `rows_end` tells which.
    """

    def __init__(self, run: RunFolder, folder: WriterFolder) -> None:
        self.folder = folder
        self.series: dict[str, GrowingSeries] = {}
        self.revision = 0
        self.unknown = 0
        self._run = run
        self._journal = JournalReader(folder.journal)
        self._complete = False
        self._reset()

    def _reset(self) -> None:
        self.series = {}
        self._pending = empty_records()
        self._journal_seen = 0
        self._journal_names: list[str] = []
        self._names_read = 0
        self._touched: set[str] = set()
        self._compact_stamp = (0, 0)
        self._expected = self._sizes(0)
        skip: frozenset[str] = frozenset()
        rows_end = 0
        if (stamp := self._stamp()) != (0, 0):
            from epochal.store.parquet import read_compact  # pyarrow: only where a run was compacted

            compact = read_compact(self.compact_path)
            self._expected = self._sizes(compact.rows)
            for name, steps, t, v in compact.series:
                self._of(name).add(steps, t, v)
            skip, rows_end = compact.replaces, compact.rows_end
        self._compact_stamp = stamp  # only now: what could not be read is tried again at the next look
        self._tail = SegmentTail(
            self.folder.scalars, SCALAR_COLUMNS, take=self._take, skip=skip, rows_end=rows_end, foreign=self._foreign
        )

    @property
    def compact_path(self) -> Path:
        """Where this writer's compacted scalars lie, if they were compacted."""
        return self._run.compact / f"{self.folder.name}.parquet"

    def _sizes(self, compacted: int) -> dict[str, int]:
        """Return how many rows each series will have, by the summary: arrays of the right size need no growing."""
        try:
            told = orjson.loads(self.folder.summary.read_bytes())["series"]
            segments = (self.folder.scalars / name for name in list_segments(self.folder.scalars))
            limit = compacted + sum(path.stat().st_size for path in segments) // BYTES_PER_ROW
            return {str(name): min(int(value["n"]), limit) for name, value in told.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = os.stat(self.compact_path)  # noqa: PTH116
        except OSError:
            return (0, 0)
        return (stat.st_mtime_ns, stat.st_ino)

    @property
    def rows_end(self) -> int:
        """Number of the last row read from the stream."""
        return self._tail.rows_end

    @property
    def damaged(self) -> int:
        """Bytes that could not be read."""
        return self._tail.damaged

    @property
    def torn(self) -> int:
        """Bytes of an unfinished message at the end."""
        return self._tail.torn

    @property
    def lost(self) -> int:
        """Rows known to be lost to damage."""
        return self._tail.lost

    def missing(self, known: int) -> int:
        """Return how many rows are not there though their numbers were given: `known` is the largest told elsewhere.

        Of a process that only died it is at most one for each call that was interrupted.
        """
        pending = self._pending["seq"]
        last = max(int(pending[-1]) if len(pending) else 0, self._tail.rows_end)
        return last - self._tail.rows_end - len(pending) + max(0, known - last)

    def refresh(self, *, ended: bool) -> bool:
        """Read what is new; `ended` says that the writer ended cleanly before this call. Say whether rows came."""
        if (stamp := self._stamp()) != self._compact_stamp:
            self._reset()
            self._complete = False
            self._compact_stamp = stamp
        if self._complete:
            return False
        changed = False
        for _ in range(ROUNDS):
            fresh = self._journal.read_after(max(self._tail.rows_end, self._journal_seen))
            try:
                folded = self._tail.refresh()
            except SegmentsReplacedError:
                self._reset()
                changed = True
                continue
            if folded or len(fresh):
                self._merge(fresh)
                changed = True
            if (stamp := self._stamp()) != self._compact_stamp:  # compacted while we looked
                self._reset()
                self._compact_stamp = stamp
            elif not folded:  # otherwise the ring may have been lapped: with the new rows_end, look again
                break
        self._complete = ended
        self.revision += changed
        return changed

    def journal_names(self) -> list[str]:
        """Return the names that the journal's series numbers stand for."""
        self._read_names()
        return list(self._journal_names)

    def _merge(self, fresh: Records) -> None:
        """Put the journal's rows that the stream does not have yet behind it."""
        for name in self._touched:
            self.series[name].drop_journal()
        self._touched = set()
        pending = np.concatenate([self._pending, fresh])
        pending = pending[pending["seq"] > self._tail.rows_end]
        self._pending = pending
        self._journal_seen = int(pending["seq"][-1]) if len(pending) else 0
        if not len(pending):
            return
        if int(pending["series"].max()) >= len(self._journal_names):
            self._read_names()
        rows = pending[np.argsort(pending["series"], kind="stable")]
        self.unknown = 0
        for number, start, end in _groups(rows["series"]):
            if number >= len(self._journal_names):
                self.unknown += end - start
                continue
            name = self._journal_names[number]
            part = rows[start:end]
            self._of(name).add(part["step"], part["t"], part["v"], journal=True)
            self._touched.add(name)

    def _read_names(self) -> None:
        """Read the lines added to `names`; an unfinished last line is no name yet."""
        with contextlib.suppress(OSError), self.folder.names.open("rb") as file:
            file.seek(self._names_read)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            for line in data[:whole].splitlines():
                try:
                    name = str(json.loads(line))
                except (ValueError, RecursionError):
                    name = f"unreadable name {len(self._journal_names)}"
                self._journal_names.append(name.encode("utf-8", "backslashreplace").decode("utf-8"))
            self._names_read += whole

    def _of(self, name: str) -> GrowingSeries:
        found = self.series.get(name)
        if found is None:
            found = self.series[name] = GrowingSeries(self._expected.get(name, 0))
        return found

    def _take(self, batches: list[Batch], names: list[str], path: Path) -> None:
        ids = np.concatenate([batch.column(0) for batch in batches])
        pieces = len(batches) + int(np.count_nonzero(ids[1:] != ids[:-1]))
        if len(ids) >= SORT_BELOW_ROWS * pieces:
            for batch in batches:
                columns = batch.column(1), batch.column(2), batch.column(3)
                self._add_groups(_groups(batch.column(0)), columns, names)
            return
        # Many short pieces: sorting all rows of the segment at once is cheaper than slicing each piece.
        order = np.argsort(ids.astype(np.uint16) if ids.min() >= 0 and ids.max() < 1 << 16 else ids, kind="stable")
        joined = tuple(np.concatenate([batch.column(i) for batch in batches])[order] for i in (1, 2, 3))
        self._add_groups(_groups(ids[order]), joined, names)

    def _add_groups(
        self, groups: list[tuple[int, int, int]], columns: tuple[npt.NDArray[np.generic], ...], names: list[str]
    ) -> None:
        steps: Steps
        t: Floats
        v: Floats
        steps, t, v = columns  # type: ignore[assignment]
        for number, start, end in groups:
            name = self._name(number, names)
            if name is None:
                self.unknown += end - start
            else:
                self._of(name).add(steps[start:end], t[start:end], v[start:end])

    def _name(self, number: int, names: list[str]) -> str | None:
        """Return a series' name: from the dictionary, or, where that was damaged, from the `names` file."""
        if 0 <= number < len(names):
            return names[number]
        if number >= len(self._journal_names):
            self._read_names()
        return self._journal_names[number] if 0 <= number < len(self._journal_names) else None

    def _foreign(self, path: Path) -> None:
        from epochal.store.parquet import read_foreign_scalars  # pyarrow: only for streams another tool wrote

        for name, steps, t, v in read_foreign_scalars(path):
            self._of(name).add(steps, t, v)


def _groups(ids: npt.NDArray[np.generic]) -> list[tuple[int, int, int]]:
    """Return (id, start, end) of each stretch of equal ids."""
    if not len(ids):
        return []
    cuts = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    starts = [0, *cuts.tolist()]
    return list(zip(ids[starts].tolist(), starts, [*starts[1:], len(ids)], strict=True))
