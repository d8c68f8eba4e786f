"""The snapshots of a run: which steps there are, one tensor at a step, one tensor through all steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError
from epochal.store.boots import Boot, shown_before
from epochal.store.layout import WriterFolder, snapshot_step
from epochal.store.safetensors import SnapshotHeader, TensorPlace, find_tensor, read_header, read_tensor

__all__ = ["SnapshotSet"]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A snapshot file and what tells one version of it from another."""

    path: Path
    stamp: tuple[int, int]


class SnapshotSet:
    """Snapshots of one kind over all writers of the lowest rank that has any. Not thread-safe.

    As with scalars, a later boot's snapshots hide those of earlier boots from its first one on, and from the step on
    that it went back to.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.hidden = 0
        self.damaged: dict[_Listed, int] = {}
        """Files that could not be read, as far as anybody asked, with their steps."""
        self._gone: set[int] = set()
        """Steps that had a snapshot when it was looked for before: the writer let go of it to make room."""
        self._folders: list[tuple[WriterFolder, int, int | None]] = []
        self._files: dict[int, _Listed] = {}
        self._headers: dict[_Listed, SnapshotHeader] = {}

    def refresh(self, ranks: list[list[Boot]]) -> bool:
        """Look at the folders of the boots of each rank, in the order they began."""
        boots = [[(boot.folder, end) for boot, end in shown_before(rank)] for rank in ranks]
        stamps = [(folder, _stamp(folder.snapshots(self.kind)), end) for rank in boots for folder, end in rank]
        if stamps == self._folders:
            return False
        self._folders = stamps
        files: dict[int, _Listed] = {}
        self.hidden = 0
        for rank in boots:
            for folder, end in rank:
                every = _listing(folder.snapshots(self.kind))
                listed = every if end is None else {step: file for step, file in every.items() if step < end}
                self.hidden += len(every) - len(listed)
                if listed:
                    first = min(listed)
                    self.hidden += sum(step >= first for step in files)
                    files = {step: file for step, file in files.items() if step < first} | listed
            if files:
                break
        self._gone = (self._gone | self._files.keys()) - files.keys()
        self._files = dict(sorted(files.items()))
        live = set(self._files.values())
        self._headers = {file: header for file, header in self._headers.items() if file in live}
        self.damaged = {file: step for file, step in self.damaged.items() if file in live}
        return True

    @property
    def steps(self) -> list[int]:
        """Steps at which there is a snapshot, growing."""
        return list(self._files)

    @property
    def stamp(self) -> tuple[int, ...]:
        """Changes whenever a snapshot is added."""
        return tuple(stamp for _, stamp, _ in self._folders)

    def header(self, step: int) -> SnapshotHeader:
        """Return the header of the snapshot at a step; raises NotFoundError naming the nearest steps."""
        file = self._file(step)
        try:
            return self._header(file)
        except FileNotFoundError:
            raise self._vanished(step) from None

    def _header(self, file: _Listed) -> SnapshotHeader:
        if file not in self._headers:
            self._headers[file] = read_header(file.path)
        return self._headers[file]

    def path(self, step: int) -> Path:
        """Return the file of the snapshot at a step."""
        return self._file(step).path

    def _file(self, step: int) -> _Listed:
        if step in self._files:
            return self._files[step]
        raise self._missing(step)

    def _missing(self, step: int) -> NotFoundError:
        near = sorted(self._files, key=lambda s: abs(s - step))[:4]
        return NotFoundError(
            f"there is no snapshot at step {step}" + (" any more" if step in self._gone else ""),
            hint=f"nearest: {', '.join(map(str, sorted(near)))}" if near else "no snapshots were recorded",
        )

    def _vanished(self, step: int) -> NotFoundError:
        """A file that was listed is gone: forget it, and list all anew the next time."""
        self._files.pop(step, None)
        self._gone.add(step)
        self._folders = []
        return self._missing(step)

    def read(self, step: int) -> dict[str, npt.NDArray[Any]]:
        """Return all tensors at a step."""
        header = self.header(step)
        try:
            return _read(self._file(step).path, header.tensors)
        except FileNotFoundError:
            raise self._vanished(step) from None

    def tensor(self, name: str, step: int) -> npt.NDArray[Any]:
        """Return one tensor at a step."""
        place = find_tensor(self.header(step), name)
        try:
            return _read(self._file(step).path, {name: place})[name]
        except FileNotFoundError:
            raise self._vanished(step) from None

    def film(self, name: str, steps: list[int] | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the steps at which a tensor was kept and its frames [T, ...].

        Snapshots that cannot be read, lack the tensor, hold it in another shape or were let go of by now are left out;
        raises NotFoundError when none is left.
        """
        wanted = [s for s in (self.steps if steps is None else sorted(set(steps))) if s not in self._gone]
        kind: tuple[str, tuple[int, ...]] | None = None
        frames = np.empty(0)
        kept: list[int] = []
        for step in wanted:
            file = self._file(step)
            try:
                place = self._header(file).tensors.get(name)
                if place is None or kind not in (None, _kind(place)):
                    continue
                frame = _read(file.path, {name: place})[name]
            except FileNotFoundError:
                self._vanished(step)
                continue
            except (OSError, DamagedError):
                self.damaged[file] = step
                continue
            if kind is None:
                kind, frames = _kind(place), np.empty((len(wanted), *frame.shape), frame.dtype)
            frames[len(kept)] = frame
            kept.append(step)
        if not kept:
            if there := [s for s in wanted if s in self._files]:
                find_tensor(self.header(there[-1]), name)
            raise NotFoundError(f"Tensor {name!r} is in no snapshot", hint="was the run recorded with watch(model)?")
        # Frames that turned out to be missing leave room at the end: a copy only where there are any.
        return np.array(kept, np.int64), frames if len(kept) == len(frames) else frames[: len(kept)].copy()


def _kind(place: TensorPlace) -> tuple[str, tuple[int, ...]]:
    return place.dtype, place.shape


def _read(path: Path, places: Mapping[str, TensorPlace]) -> dict[str, npt.NDArray[Any]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return {name: read_tensor(fd, place) for name, place in places.items()}
    finally:
        os.close(fd)


def _stamp(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _listing(folder: Path) -> dict[int, _Listed]:
    found: dict[int, _Listed] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                step = snapshot_step(entry.name)
                if step is None:
                    continue
                try:
                    stat = entry.stat()
                except OSError:  # let go of while we list
                    continue
                found[step] = _Listed(Path(entry.path), (stat.st_mtime_ns, stat.st_size))
    except OSError:
        return {}
    return found
