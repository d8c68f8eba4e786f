"""The journal: a memory-mapped ring that each logged number is put into before `log()` returns.

The page cache outlives the process, so a number in the ring survives SIGKILL. A record is valid by itself: its
sequence number is stored last, and a slot's number says which record it is (slot = (seq - 1) % capacity).

Why each record is torn-proof against the process's death: `pack_into` first zeroes the 40 bytes, then fills them
from front to back. A kill in between leaves a number that is 0, or the low bytes of the new one, which in this slot
can only be a record that was folded into the stream long ago.

A power cut may leave the two pages that a record lies on as they were at different moments. So the low half of the
number stands near the front too: where the halves differ, the record is none.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["CAPACITY", "JOURNAL_TYPE", "RECORD", "JournalFile", "JournalReader", "copy_journal"]

CAPACITY = 65_536
HEADER_SIZE = 64
# An interrupted call leaves one gap in the ring; half as many as this in a row do not happen between two folds.
LOOK_SLOTS = 64
MOST_SLOTS = 16_384
MAGIC = b"EPOCHALJ"
VERSION = 2
"""In version 1 the low half of the number did not stand in front: it was 0."""
LOW_HALF = 0xFFFFFFFF
HEADER = struct.Struct("<8sIIQ")
RECORD = struct.Struct("<IIqddQ")
JOURNAL_TYPE = np.dtype(
    [("series", "<u4"), ("low", "<u4"), ("step", "<i8"), ("t", "<f8"), ("v", "<f8"), ("seq", "<u8")]
)

Records = npt.NDArray[np.void]


def empty_records() -> Records:
    """Return no records."""
    return np.empty(0, JOURNAL_TYPE)


class JournalFile:
    """The ring as its writer sees it. The file is filled before it is mapped: a hole on a full disk would be SIGBUS."""

    def __init__(self, path: Path, *, capacity: int | None = None) -> None:
        capacity = CAPACITY if capacity is None else capacity
        if capacity <= 0 or capacity & (capacity - 1):
            raise ValueError(f"capacity {capacity} is not a power of two")
        self.path = path
        self.capacity = capacity
        size = HEADER_SIZE + capacity * RECORD.size
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _allocate(fd, size)
            self.buffer = mmap.mmap(fd, size)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        finally:
            os.close(fd)
        HEADER.pack_into(self.buffer, 0, MAGIC, VERSION, RECORD.size, capacity)

    def records(self, first: int, last: int) -> Records:
        """Return a copy of the valid records numbered first..last; a call that was interrupted left none."""
        return _valid(self._copy(first, last), first)

    def _copy(self, first: int, last: int) -> Records:
        count = last - first + 1
        if count <= 0:
            return empty_records()
        begin = (first - 1) % self.capacity
        straight = min(count, self.capacity - begin)
        out = np.empty(count, JOURNAL_TYPE)
        out[:straight] = np.frombuffer(self.buffer, JOURNAL_TYPE, straight, HEADER_SIZE + begin * RECORD.size)
        if straight < count:
            out[straight:] = np.frombuffer(self.buffer, JOURNAL_TYPE, count - straight, HEADER_SIZE)
        return out

    def close(self) -> None:
        """Unmap; the file stays."""
        with contextlib.suppress(BufferError):
            self.buffer.close()

    def remove(self) -> None:
        """Unmap and delete the file."""
        self.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _allocate(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:  # no such call on macOS and Windows
        blank = bytes(1 << 16)
        for at in range(0, size, len(blank)):
            os.pwrite(fd, blank[: size - at], at) if hasattr(os, "pwrite") else os.write(fd, blank[: size - at])


def _valid(records: Records, first: int) -> Records:
    expected = np.arange(first, first + len(records), dtype="<u8")
    good = _whole(records, expected)
    return records if good.all() else records[good]


def _whole(records: Records, expected: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which records have these numbers, at both ends."""
    whole: npt.NDArray[np.bool_] = (records["seq"] == expected) & (records["low"] == expected.astype("<u4"))
    return whole


class JournalReader:
    """The ring as another process sees it, read with `pread` only. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._newest = 0

    def newest(self) -> int:
        """Return the number of the newest record, 0 when there is none; cheap when asked again."""
        if len(fresh := self.read_after(self._newest)):
            self._newest = int(fresh["seq"][-1])
            return self._newest
        with contextlib.suppress(OSError):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                capacity, _ = _layout(fd)
                if capacity:
                    there = _slots(fd, (self._newest - 1) % capacity, 1)
                    # Lapped since the last look, or the first look, or a copy, which need not begin at its first slot.
                    unknown = not self._newest and capacity <= MOST_SLOTS
                    if len(there) and (there["seq"][0] != self._newest or unknown):
                        self._newest = int(_slots(fd, 0, capacity)["seq"].max())
            finally:
                os.close(fd)
        return self._newest

    def read_after(self, seq: int) -> Records:
        """Return the records numbered above `seq`, in order, each seen equal twice; none when there is no journal.

        Cheap when nothing is new: it opens the file and looks at the next slots only.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return empty_records()
        try:
            capacity, version = _layout(fd)
            if not capacity:
                return empty_records()
            found = []
            count = LOOK_SLOTS
            while len(chunk := _stable(fd, seq + 1, min(count, capacity), capacity, version)):
                found.append(chunk)
                begin, seq = seq, int(chunk["seq"][-1])
                if seq <= begin + count - LOOK_SLOTS // 2:  # the rest of what was looked at is empty
                    break
                count = min(8 * count, MOST_SLOTS)
            return np.concatenate(found) if found else empty_records()
        finally:
            os.close(fd)


def _layout(fd: int) -> tuple[int, int]:
    """The capacity and version of a journal; a capacity of 0 where it is none."""
    head = os.pread(fd, HEADER_SIZE, 0)
    if len(head) < HEADER_SIZE:
        return 0, 0
    magic, version, size, capacity = HEADER.unpack_from(head)
    if magic != MAGIC or version not in (1, VERSION) or size != RECORD.size or not 0 < capacity <= 1 << 26:
        return 0, 0
    return int(capacity), int(version)


def _slots(fd: int, begin: int, count: int) -> Records:
    data = os.pread(fd, count * RECORD.size, HEADER_SIZE + begin * RECORD.size)
    return np.frombuffer(data, JOURNAL_TYPE, len(data) // RECORD.size)


def _equal(a: Records, b: Records) -> npt.NDArray[np.bool_]:
    n = min(len(a), len(b))
    rows = a[:n].view(np.uint8).reshape(n, -1) == b[:n].view(np.uint8).reshape(n, -1)
    same = np.zeros(len(a), np.bool_)
    same[:n] = rows.all(axis=1)
    return same


def _stable(fd: int, first: int, count: int, capacity: int, version: int) -> Records:
    """Return the valid records of first..first+count-1 that two reads, one after the other, saw equal."""
    begin = (first - 1) % capacity
    straight = min(count, capacity - begin)

    def read() -> Records:
        slots = _slots(fd, begin, straight)
        return slots if straight == count else np.concatenate([slots, _slots(fd, 0, count - straight)])

    once = read()
    expected = np.arange(first, first + len(once), dtype="<u8")
    good = _whole(once, expected) if version > 1 else once["seq"] == expected
    if not good.any():
        return empty_records()
    twice = read()[: len(once)]
    good &= _equal(once, twice)
    # The first read may have passed a slot just before it was filled and still seen the ones after it:
    # take nothing from there on, the next look will find them all.
    late = np.flatnonzero(~good[: len(twice)] & (twice["seq"] == expected[: len(twice)]))
    if late.size:
        good[late[0] :] = False
    stable: Records = once[good]
    return stable


def copy_journal(path: Path, *, after: int) -> bytes | None:
    """Return a journal file of what is numbered above `after` and, always, the newest; None where there is none.

    The ring may be written to meanwhile: no torn record comes in, and none before which another one is missing.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        capacity, version = _layout(fd)
        if not capacity:
            return None
        once, twice = _slots(fd, 0, capacity), _slots(fd, 0, capacity)
    finally:
        os.close(fd)
    count = min(len(once), len(twice))
    once, twice = once[:count], twice[:count]
    good, later = (_in_place(records, capacity, version) for records in (once, twice))
    good &= _equal(once, twice)
    if (fresh := twice["seq"][later & ~good]).size:  # filled between the two looks: so may be what stands before
        good &= once["seq"] < fresh.min()
    kept = np.sort(once[good], order="seq")
    kept = kept[min(int(np.searchsorted(kept["seq"], after, side="right")), max(0, len(kept) - 1)) :]
    kept = kept[kept["seq"] + np.uint64(capacity) > kept["seq"][-1]] if len(kept) else kept
    span = int(kept["seq"][-1] - kept["seq"][0]) + 1 if len(kept) else 0
    size = 1 << max(LOOK_SLOTS - 1, span - 1).bit_length()
    ring = np.zeros(size, JOURNAL_TYPE)
    kept["low"] = kept["seq"].astype("<u4")
    ring[((kept["seq"] - 1) % size).astype(np.int64)] = kept
    return HEADER.pack(MAGIC, VERSION, RECORD.size, size).ljust(HEADER_SIZE, b"\0") + ring.tobytes()


def _in_place(records: Records, capacity: int, version: int) -> npt.NDArray[np.bool_]:
    """Which slots of a whole ring hold a record that belongs there."""
    seq = records["seq"]
    good: npt.NDArray[np.bool_] = (seq > 0) & ((seq - 1) % capacity == np.arange(len(records), dtype="<u8"))
    return good & (records["low"] == seq.astype("<u4")) if version > 1 else good
