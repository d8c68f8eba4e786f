"""Bytes of media, kept once under their hash: written in one piece, read only where they are what they say."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from epochal.errors import DamagedError, UsageError
from epochal.facts import BLOB_EXTENSIONS
from epochal.store.files import replace_file

__all__ = [
    "META_LIMIT",
    "Blob",
    "Encodable",
    "Encoded",
    "blob_name",
    "check_blob",
    "find_blob",
    "read_blob",
    "split_blob_name",
    "write_blob",
]

META_LIMIT = 4_000_000
"""So many characters of JSON may be told of a value at most: who reads a run holds them in memory."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, eq=False)
class Blob:
    """Bytes and the extension of the file that will hold them; `sha256` where it is known already."""

    data: bytes
    extension: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """Its file's name, which says what it holds."""
        return blob_name(self.sha256 or hashlib.sha256(self.data).hexdigest(), self.extension)

    def named(self) -> Blob:
        """The same with its hash found once, for bytes that are kept many times."""
        return Blob(self.data, self.extension, hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Encoded:
    """A value as it will lie on disk: its bytes, what its kind tells of it, and further blobs that it refers to.

    `statistics` is a row of the statistics stream, columns as facts.STATISTICS with `lo`, `hi`, `counts` [64]; a value
    that is not `kept` is that row alone. `altered` counts what had to be changed, such as `{"clamped": 3}`, and
    `told` says it in words.
    """

    data: bytes
    extension: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    blobs: tuple[Blob, ...] = ()
    statistics: Mapping[str, Any] | None = None
    kept: bool = True
    altered: Mapping[str, int] = field(default_factory=dict)
    told: str = ""


class Encodable(Protocol):
    """What can be recorded as media: it says how much memory it holds, and becomes bytes on the writer's thread."""

    @property
    def kind(self) -> str:
        """The word for what it is: image, audio, table."""
        ...

    @property
    def caption(self) -> str:
        """What people said of it."""
        ...

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds until it is encoded."""
        ...

    def encode(self) -> Encoded:
        """Its bytes and facts."""
        ...


def blob_name(sha256: str, extension: str) -> str:
    """Return the file name of a blob; raises UsageError unless both parts are as they must be."""
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise UsageError(f"{str(sha256)[:80]!r} is no sha256", hint="it has 64 hexadecimal digits, in lower case")
    if extension not in BLOB_EXTENSIONS:
        raise UsageError(f"{str(extension)[:40]!r} is no extension of media")
    return f"{sha256}.{extension}"


def split_blob_name(name: str) -> tuple[str, str] | None:
    """Return hash and extension of a blob's file name, None when it is no such name."""
    sha256, _, extension = name.partition(".")
    return (sha256, extension) if _SHA256.fullmatch(sha256) and extension in BLOB_EXTENSIONS else None


def write_blob(folder: Path, blob: Blob) -> tuple[str, bool]:
    """Keep a blob unless it is there already; return its name and whether it was written. Raises OSError."""
    name = blob.name
    path = folder / name
    with contextlib.suppress(OSError):
        if os.stat(path).st_size == len(blob.data):  # noqa: PTH116 - one call on a path taken for every value
            return name, False
    try:
        replace_file(path, blob.data)
    except FileNotFoundError:  # the first one; the writer's own folder must be there
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        replace_file(path, blob.data)
    return name, True


def find_blob(run: Path, folders: Iterable[Path], name: str) -> Path:
    """Return the file of a blob in the first folder that has it: a plain file inside the run's folder, no link.

    Raises DamagedError when no folder has one.
    """
    trouble = ""
    for folder in folders:
        path = folder / name
        try:
            if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(run)):
                trouble = "its folder is a link that leads elsewhere"
                continue
            if stat.S_ISREG(os.lstat(path).st_mode):
                return path
            trouble = "it is no plain file"
        except OSError as error:
            trouble = trouble if isinstance(error, FileNotFoundError) else error.strerror or str(error)
    raise DamagedError(
        f"The file {name} of a recorded value cannot be read: {trouble or 'it is missing'}",
        hint="a copy of the run may still hold it",
    )


def check_blob(path: Path) -> None:
    """Hold a blob's bytes against the hash that its name is, without keeping them; raises DamagedError."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
            size = file.tell()
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror or error}") from None
    if found.hexdigest() != path.name.partition(".")[0]:
        raise _changed(path, size)


def _changed(path: Path, size: int) -> DamagedError:
    return DamagedError(
        f"{path.name} does not hold what it held when it was recorded ({size:,} bytes now)",
        hint="a copy of the run may still hold it",
    )


def read_blob(path: Path) -> bytes:
    """Return a blob's bytes, held against the hash that its name is; raises DamagedError when they differ."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != path.name.partition(".")[0]:
        raise _changed(path, len(data))
    return data
