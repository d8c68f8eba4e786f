"""Files of JSON lines that only grow: what a training printed, and its alerts. One object a line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from epochal.store.files import to_json, write_all

__all__ = ["LineFile", "read_lines"]

BLOCK_BYTES = 1 << 16


class LineFile:
    """The file as its writer sees it; made at its first line. Not thread-safe.

    At most `limit_bytes` are written, so that an endless loop does not fill the disk.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self.path = path
        self.size = 0
        self._limit = limit_bytes
        self._fd = -1

    def write(self, documents: Sequence[Mapping[str, Any]], *, beyond: bool = False) -> int:
        """Append documents in order; return how many fitted under the limit (`beyond`: all, the limit does not count).

        Raises OSError, after taking back what was written of them, where the disk refuses.
        """
        lines: list[bytes] = []
        size = self.size
        for document in documents:
            line = to_json(document) + b"\n"
            if size + len(line) > self._limit and not beyond:
                break
            lines.append(line)
            size += len(line)
        if not lines:
            return 0
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self.size = os.fstat(self._fd).st_size
        try:
            write_all(self._fd, b"".join(lines))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self.size += sum(map(len, lines))
        return len(lines)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def read_lines(path: Path, *, last: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """Return the objects of a file in order, or only the `last` ones, and how many whole lines were none.

    A line without its line feed is being written or was torn: it is left out and not counted.
    """
    import orjson  # a training only writes, and does not pay for it

    try:
        data = path.read_bytes() if last is None else _tail(path, last)
    except FileNotFoundError:
        return [], 0
    found: list[dict[str, Any]] = []
    bad = 0
    for line in data.split(b"\n")[:-1]:
        try:
            value = orjson.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            found.append(value)
        else:
            bad += 1
    return found, bad


def _tail(path: Path, lines: int) -> bytes:
    """Return at least the last whole `lines`, beginning at the beginning of one."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        data = b""
        while at > 0 and data.count(b"\n") <= lines:
            step = min(at, max(BLOCK_BYTES, len(data)))
            at -= step
            file.seek(at)
            data = file.read(step) + data
    return b"\n".join(data[: data.rfind(b"\n") + 1].split(b"\n")[-lines - 1 :])
