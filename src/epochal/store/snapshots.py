"""The snapshots of a run: which steps there are, one tensor at a step, one tensor through all steps."""

from __future__ import annotations

import os
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
        return self._header(self._file(step))

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
        near = sorted(self._files, key=lambda s: abs(s - step))[:4]
        raise NotFoundError(
            f"there is no snapshot at step {step}",
            hint=f"nearest: {', '.join(map(str, sorted(near)))}" if near else "no snapshots were recorded",
        )

    def read(self, step: int) -> dict[str, npt.NDArray[Any]]:
        """Return all tensors at a step."""
        file = self._file(step)
        header = self._header(file)
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return {name: read_tensor(fd, place) for name, place in header.tensors.items()}
        finally:
            os.close(fd)

    def tensor(self, name: str, step: int) -> npt.NDArray[Any]:
        """Return one tensor at a step."""
        file = self._file(step)
        place = find_tensor(self._header(file), name)
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_tensor(fd, place)
        finally:
            os.close(fd)

    def film(self, name: str, steps: list[int] | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the steps at which a tensor was kept and its frames [T, ...].

        Snapshots that cannot be read, lack the tensor or hold it in another shape are left out; raises NotFoundError
        when none is left.
        """
        wanted = self.steps if steps is None else sorted(set(steps))
        places: list[tuple[int, _Listed, TensorPlace]] = []
        for step in wanted:
            file = self._file(step)
            try:
                place = self._header(file).tensors.get(name)
            except (OSError, DamagedError):
                self.damaged[file] = step
                continue
            if place is not None and (not places or _kind(place) == _kind(places[-1][2])):
                places.append((step, file, place))
        if not places:
            if wanted:
                find_tensor(self.header(wanted[-1]), name)
            raise NotFoundError(f"tensor {name!r} is in no snapshot", hint="was the run recorded with watch(model)?")
        first = _read(places[0][1].path, places[0][2])
        frames = np.empty((len(places), *first.shape), first.dtype)
        frames[0] = first
        for row, (_, file, place) in enumerate(places[1:], start=1):
            frames[row] = _read(file.path, place)
        return np.array([step for step, _, _ in places], np.int64), frames


def _kind(place: TensorPlace) -> tuple[str, tuple[int, ...]]:
    return place.dtype, place.shape


def _read(path: Path, place: TensorPlace) -> npt.NDArray[Any]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_tensor(fd, place)
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
                if step is not None:
                    stat = entry.stat()
                    found[step] = _Listed(Path(entry.path), (stat.st_mtime_ns, stat.st_size))
    except OSError:
        return {}
    return found
