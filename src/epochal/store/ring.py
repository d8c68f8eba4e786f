"""The hot path: `append` puts one number into the journal in about a quarter of a microsecond.

All that a call needs lies in closure cells: no attribute look-ups, one lock per call. The lock is re-entrant because a
signal handler may log in the middle of a `log()` of the same thread. Sequence numbers are claimed before the record is
written, so an interrupted call leaves a gap and never a half-written number under a valid one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from epochal.errors import UsageError
from epochal.store.journal import HEADER_SIZE, JOURNAL_TYPE, LOW_HALF, RECORD, JournalFile, Records

__all__ = ["MEMORY_ROWS", "Ring"]

MEMORY_ROWS = 262_144
ROOM_WAIT_SECS = 0.25


class Ring:
    """Numbers on their way from `log()` to the stream: the journal and, when that is full, a bounded list in memory.

    `append(name, step, t, value)` and `append_many(items, step, t)` are the hot path. `take` and `release` belong to
    the one thread that folds. `intern` gives a new series its number (called under the lock), `wake` asks for a fold.
    """

    append: Callable[[str, int, float, float], None]
    append_many: Callable[[Mapping[str, float], int, float], None]
    _put: Callable[[int, int, float, float], None]
    _claim: Callable[[], int]
    _end: Callable[[], int]
    _set_limit: Callable[[int], None]
    _set_lock: Callable[[threading.RLock], None]

    def __init__(
        self,
        journal: JournalFile,
        *,
        ids: dict[str, int],
        intern: Callable[[str], int],
        wake: Callable[[], None],
        memory_rows: int = MEMORY_ROWS,
    ) -> None:
        self.journal = journal
        self.waits = 0
        self.dropped: dict[str, int] = {}
        self.failing = False
        self.closed = ""
        self.lock = threading.RLock()
        self.folded = 0
        self._room = threading.Condition(self.lock)
        self._wake = wake
        self._ids = ids
        self._memory_rows = memory_rows
        self._spilled: list[bytes] = []
        self._spill_first = 0
        self._on_forked_use: Callable[[], None] = lambda: None
        self._bind(ids, intern)

    def _bind(self, ids: dict[str, int], intern: Callable[[str], int]) -> None:
        buffer, mask, slow, lock = self.journal.buffer, self.journal.capacity - 1, self._slow, self.lock
        pack, size, base, low = RECORD.pack_into, RECORD.size, HEADER_SIZE, LOW_HALF
        seq = 0
        limit = self.journal.capacity // 2

        def append(name: str, step: int, t: float, value: float) -> None:
            nonlocal seq
            with lock:
                series = ids[name] if name in ids else intern(name)
                if seq >= limit:
                    slow(name, series, step, t, value)
                else:
                    seq = n = seq + 1
                    pack(buffer, base + ((n - 1) & mask) * size, series, n & low, step, t, value, n)

        def append_many(items: Mapping[str, float], step: int, t: float) -> None:
            nonlocal seq
            with lock:
                for name, value in items.items():
                    series = ids[name] if name in ids else intern(name)
                    if seq >= limit:
                        slow(name, series, step, t, value)
                    else:
                        seq = n = seq + 1
                        pack(buffer, base + ((n - 1) & mask) * size, series, n & low, step, t, value, n)

        def put(series: int, step: int, t: float, value: float) -> None:
            nonlocal seq
            seq = n = seq + 1
            pack(buffer, base + ((n - 1) & mask) * size, series, n & low, step, t, value, n)

        def claim() -> int:
            nonlocal seq
            seq += 1
            return seq

        def set_limit(rows: int) -> None:
            nonlocal limit
            limit = rows

        def set_lock(fresh: threading.RLock) -> None:
            nonlocal lock
            lock = fresh

        self.append, self.append_many = append, append_many
        self._put, self._claim, self._set_limit, self._set_lock = put, claim, set_limit, set_lock
        self._end = lambda: seq

    @property
    def end(self) -> int:
        """Sequence number of the last number that was taken on."""
        with self.lock:
            return self._end()

    def _slow(self, name: str, series: int, step: int, t: float, value: float) -> None:
        """Take on a number when the ring is half full, full, or closed. Called under the lock."""
        if self._is_closed():
            self._refuse(name)
            return
        hard = self.folded + self.journal.capacity
        if not self._spilled:
            if self._end() < hard:
                self._set_limit(hard)
                self._wake()
                self._put(series, step, t, value)
                return
            if self._wait_for_room():
                self._put(series, step, t, value)
                return
        if self._is_closed():  # meanwhile
            self._refuse(name)
        elif len(self._spilled) >= self._memory_rows:
            self.dropped[name] = self.dropped.get(name, 0) + 1
        else:
            following = self._end() + 1
            record = RECORD.pack(series, following & LOW_HALF, step, t, value, following)
            seq = self._claim()
            if not self._spilled:
                self._spill_first = seq
                self._set_limit(-1)
            self._spilled.append(record)

    def _is_closed(self) -> bool:
        return bool(self.closed)

    def _wait_for_room(self) -> bool:
        """Wait a moment for the writer thread; say whether there is a free slot now."""
        if self.failing:
            return False
        self.waits += 1
        deadline = time.monotonic() + ROOM_WAIT_SECS
        while not self.closed and not self.failing and not self._spilled:
            if self._end() < self.folded + self.journal.capacity:
                return True
            self._wake()
            left = deadline - time.monotonic()
            if left <= 0 or not self._room.wait(left):
                break
        return not self.closed and not self._spilled and self._end() < self.folded + self.journal.capacity

    def _refuse(self, name: str) -> None:
        if self.closed == "forked":
            self.dropped[name] = self.dropped.get(name, 0) + 1
            self._on_forked_use()
            return
        raise UsageError(f"Series {name!r} was logged after the run was finished", hint="start a new run")

    def take(self) -> tuple[Records, int, int]:
        """Return the numbers not folded yet, the sequence number of the last, and how many came from memory."""
        with self.lock:
            end, spilled = self._end(), list(self._spilled)
            last = self._spill_first - 1 if spilled else end
        records = self.journal.records(self.folded + 1, last)
        if spilled:
            records = np.concatenate([records, np.frombuffer(b"".join(spilled), JOURNAL_TYPE)])
        return records, end, len(spilled)

    def release(self, end: int, spilled: int) -> None:
        """Free what `take` returned, after it was written to the stream."""
        with self.lock:
            self.folded = end
            if spilled:
                del self._spilled[:spilled]
                self._spill_first = end + 1
            if not self._spilled and not self.closed:
                self._set_limit(end + self.journal.capacity // 2)
            self._room.notify_all()

    def fail(self, *, failing: bool) -> None:
        """Say whether folding fails at present: then calls do not wait for room."""
        with self.lock:
            self.failing = failing
            self._room.notify_all()

    def give_up(self) -> None:
        """Count what is only in memory as lost: the run ends and the disk never took it."""
        with self.lock:
            if self._spilled:
                names = {number: name for name, number in self._ids.items()}
                for record in self._spilled:
                    name = names[RECORD.unpack(record)[0]]
                    self.dropped[name] = self.dropped.get(name, 0) + 1

    def close(self) -> None:
        """Take on nothing more: from here on a call raises UsageError."""
        with self.lock:
            self.closed = self.closed or "finished"
            self._set_limit(-1)
            self._room.notify_all()

    def detach_in_child(self, on_use: Callable[[], None]) -> None:
        """Never touch the parent's journal from a forked child; the lock may be held by a thread that is not here."""
        self.closed = "forked"
        self._on_forked_use = on_use
        self.lock = threading.RLock()
        self._room = threading.Condition(self.lock)
        self._set_lock(self.lock)
        self._set_limit(-1)
