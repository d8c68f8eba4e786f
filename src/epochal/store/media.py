"""Logged values between `log()` and the disk: queued by memory, encoded in a thread of their own, referred to last.

Order keeps a crash harmless: a blob is a whole file under its hash before a row names it, and on the disk for good
before that too, unless the disk takes longer than half a second. A row is written with the next fold, at most a second
later.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.store.arrow import MEDIA_COLUMNS
from epochal.store.blobs import META_LIMIT, Blob, Encodable, Encoded, split_blob_name, write_blob
from epochal.store.files import to_json
from epochal.store.layout import WriterFolder
from epochal.store.segments import SegmentWriter

__all__ = ["QUEUE_BYTES", "PendingMedia"]

QUEUE_BYTES = 256_000_000
PATIENCE_SECS = 3.0
RETRY_SECS = 0.5
SETTLE_SECS = 0.25
HELD_SECS = 0.5
SYNC_SECS = 2.0
FEW = 4
CAPTION_LIMIT = 10_000
ROWS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class _Given:
    series: str
    step: int
    t: float
    index: int
    value: Encodable
    size: int


class PendingMedia:
    """Takes values from any thread; a thread encodes them and writes their bytes; `write` appends the rows.

    `add_statistics` takes the rows of histograms, `drop(code, count, message)` counts what was lost or altered.
    """

    def __init__(
        self,
        folder: WriterFolder,
        *,
        add_statistics: Callable[[Mapping[str, Any]], None],
        drop: Callable[[str, int, str], None],
        queue_bytes: int = QUEUE_BYTES,
        patience_secs: float = PATIENCE_SECS,
    ) -> None:
        self._folder = folder
        self._add_statistics = add_statistics
        self._drop = drop
        self._limit = queue_bytes
        self._patience = patience_secs
        self._changed = threading.Condition()
        self._queue: deque[_Given] = deque()
        self._bytes = 0
        self._stopping = False
        self._refused = ""
        self._impatient = False
        self._thread: threading.Thread | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._held: deque[tuple[float, tuple[Any, ...]]] = deque()
        self._released = 0
        self._unsynced: list[str] = []
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._rows_end = 0
        self._segments = SegmentWriter(folder.media, MEDIA_COLUMNS)

    def add(self, series: str, value: Encodable, *, step: int, t: float, index: int = 0) -> bool:
        """Queue a value; say whether it was taken. A full queue is waited for some seconds, once."""
        given = _Given(series, step, t, index, value, int(value.nbytes) + 500)
        with self._changed:
            if self._queue and self._bytes + given.size > self._limit:
                # A disk that stands still costs the training these seconds once, not at every call.
                wait = 0.0 if self._impatient or self._refused or self._stopping else self._patience
                self._changed.wait_for(lambda: not self._queue or self._bytes + given.size <= self._limit, wait)
                if self._queue and self._bytes + given.size > self._limit:
                    self._impatient = True
                    self._lose(given, "values come faster than they can be written, and the memory for them is full")
                    return False
            self._impatient = False
            self._queue.append(given)
            self._bytes += given.size
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="epochal-media", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return True

    def _lose(self, given: _Given, why: str) -> None:
        self._drop("media", 1, f"{given.value.kind} {given.series!r} of step {given.step} was not recorded: {why}")

    def _loop(self) -> None:
        settled = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._held or self._stopping)
                if not self._queue and not self._held:
                    return
                given = self._queue[0] if self._queue else None
            if given is not None:
                try:
                    self._take(given)
                except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the next value may be good
                    self._lose(given, f"{type(error).__name__}: {error}")
                with self._changed:
                    self._queue.popleft()
                    self._bytes -= given.size
                    self._changed.notify_all()
            if given is None or time.monotonic() - settled >= SETTLE_SECS:
                self._settle()
                settled = time.monotonic()
            del given  # it may hold a large array, and the next may be long in coming

    def _take(self, given: _Given) -> None:
        encoded = given.value.encode()
        if encoded.statistics is not None:
            self._add_statistics({**encoded.statistics, "series": [given.series], "step": given.step, "t": given.t})
        if encoded.kept:
            names = self._keep(given, encoded)
            if not names:
                return
            self._refer(given, encoded, names)
        for code, count in encoded.altered.items():
            if count:
                self._drop(code, count, f"{given.series!r} at step {given.step}: {encoded.told}")

    def _keep(self, given: _Given, encoded: Encoded) -> list[str]:
        """Write the value's blobs, its own first; wait for a disk that refuses, until the run ends."""
        blobs = [Blob(encoded.data, encoded.extension), *encoded.blobs]
        while True:
            try:
                written = [write_blob(self._folder.blobs, blob) for blob in blobs]
            except OSError as error:
                why = f"nothing can be written to {self._folder.blobs}: {error.strerror or error}"
                with self._changed:
                    self._refused = why
                    if self._stopping or self._changed.wait_for(lambda: self._stopping, RETRY_SECS):
                        self._lose(given, why)
                        return []
                continue
            self._refused = ""
            with self._changed:
                self._unsynced.extend(name for name, fresh in written if fresh)
            return [name for name, _ in written]

    def _refer(self, given: _Given, encoded: Encoded, names: list[str]) -> None:
        meta = dict(encoded.meta)
        if names[1:]:
            meta["blobs"] = list(dict.fromkeys(names[1:]))
        sha256, extension = split_blob_name(names[0]) or ("", "")
        caption = str(given.value.caption)[:CAPTION_LIMIT].encode("utf-8", "replace").decode("utf-8")
        text = to_json(meta).decode("ascii") if meta else ""
        if len(text) > META_LIMIT:
            raise ValueError(f"what is told of it (boxes, names of classes) takes {len(text):,} characters of JSON")
        row = (
            given.step, given.t, given.value.kind, given.index, sha256, extension, len(encoded.data), caption, text
        )  # fmt: skip
        with self._changed:
            self._held.append((time.monotonic(), (self._number(given.series), *row)))

    def _settle(self) -> None:
        """Make the blobs written so far survive a power cut, then let their rows be written."""
        with self._changed:
            fresh, self._unsynced = self._unsynced, []
            goal = self._released + len(self._held)
        if fresh:
            _sync_all(self._folder.blobs, fresh)
        with self._changed:
            self._release(lambda _: self._released < goal)
            self._changed.notify_all()

    def _release(self, ripe: Callable[[float], bool]) -> None:
        """Move rows to those that are written, in order, as long as `ripe` says so of their time."""
        while self._held and ripe(self._held[0][0]):
            self._rows.append(self._held.popleft()[1])
            self._released += 1

    def _number(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = len(self._names)
            self._names.append(name.encode("utf-8", "backslashreplace").decode("utf-8"))
        return self._ids[name]

    def write(self) -> bool:
        """Append the rows of what was encoded; say whether there were any. Raises OSError and keeps them if refused."""
        with self._changed:
            # A disk that is slow to sync must not cost a crash more than its last second.
            old = time.monotonic() - HELD_SECS
            self._release(lambda encoded_at: encoded_at <= old)
            rows, names = list(self._rows), list(self._names)
        self._segments.check_present()
        if not rows:
            return False
        columns = zip(*rows, strict=True)
        arrays: dict[str, Any] = {c.name: list(values) for c, values in zip(MEDIA_COLUMNS, columns, strict=True)}
        self._segments.write(arrays, names, rows_end=self._rows_end + len(rows))
        self._rows_end += len(rows)
        with self._changed:
            del self._rows[: len(rows)]
        return True

    def trim(self) -> None:
        """Forget the newest rows above a bound and count them; called while the disk refuses."""
        with self._changed:
            gone = len(self._rows) - ROWS_KEPT
            del self._rows[ROWS_KEPT:]
        if gone > 0:
            self._drop("media", gone, "the memory for values that cannot be written is full: some are lost")

    def wait(self, timeout: float | None) -> bool:
        """Wait until the rows of everything queued can be written; say whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._held, timeout)

    def stop(self) -> None:
        """Encode what waits, then end the thread. What the disk still refuses is counted as lost."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def sync(self) -> None:
        """Make the rows survive a power cut."""
        self._segments.sync()

    def end(self) -> None:
        """Finish the segment."""
        self._segments.end()

    def abandon(self) -> None:
        """Close the segment as it is; rows that could not be written are lost and counted."""
        if self._rows:
            self._drop("media", len(self._rows), f"{len(self._rows)} values could not be written before the run ended")
            self._rows.clear()
        self._segments.abandon()


def _sync_all(folder: Path, names: list[str]) -> None:
    """Sync files and their folder: many at once by one call for the whole file system, where there is such a call.

    A file for which there is no time stays to the system, which writes it within half a minute.
    """
    if len(names) > FEW and _sync_file_system(folder):
        return
    deadline = time.monotonic() + SYNC_SECS
    with contextlib.suppress(OSError):
        for name in names:
            _sync(folder / name)
            if time.monotonic() > deadline:
                break
        _sync(folder)


def _sync_file_system(folder: Path) -> bool:
    """Sync the file system of a folder; False where that cannot be done.

    A thousand small files take seconds one by one, and a tenth of one in this way.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, AttributeError):
        return False
    try:
        return bool(syncfs(fd) == 0)
    finally:
        os.close(fd)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
