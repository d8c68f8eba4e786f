"""Small files: strict JSON in, JSON out, replaced in one piece so that nobody ever reads half a file."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochal.errors import DamagedError

__all__ = ["from_json_number", "read_json", "replace_file", "sync_folder", "to_json", "write_all"]


def to_json(value: object, *, indent: int | None = None) -> bytes:
    """Return `value` as strict JSON: NaN and infinities become strings that `float()` reads, unknown types `str()`."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=True, indent=indent, default=_plain)
    except (ValueError, TypeError):
        text = json.dumps(_strict(value), allow_nan=False, ensure_ascii=True, indent=indent)
    return text.encode("ascii")


def _plain(value: object) -> object:
    """Turn numpy scalars, arrays, paths and sets into what JSON has."""
    for method in ("tolist", "item"):
        if callable(convert := getattr(value, method, None)):
            return _strict(convert())
    if isinstance(value, set | frozenset):
        return sorted(str(v) for v in value)
    return str(value)


def _strict(value: object) -> object:
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else ("NaN" if value != value else f"{'-' * (value < 0)}Infinity")
    if isinstance(value, Mapping):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    return _plain(value)


def from_json_number(value: object) -> float:
    """Return a number read from JSON as a float: null is NaN, strings are what `to_json` made of non-finite ones."""
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises FileNotFoundError when there is none, DamagedError when it holds something else.
    """
    data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is not JSON: {error}", hint="restore it from a copy, or delete the run") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{path} holds a JSON {type(value).__name__}, expected an object")
    return value


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data`, or raise OSError; a partial write may have happened before the error."""
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(fd, view) :]


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut, as far as the file system lets one ask for it."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def replace_file(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Replace the whole file in one piece: readers see the old bytes or the new ones, never a mixture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)  # noqa: PTH105 - one call less on a path taken each second
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
