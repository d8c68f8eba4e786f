"""All runs below a root: find them, change what people may change, delete and restore them."""

from __future__ import annotations

import contextlib
import difflib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from epochal.errors import DamagedError, EpochalError, NotFoundError, StorageFullError, UsageError
from epochal.facts import Notice
from epochal.store.files import read_json, replace_file, to_json
from epochal.store.index import Index
from epochal.store.layout import INDEX_NAME, TRASH_NAME, RunFolder, resolve_root
from epochal.store.reader import StoredRun
from epochal.store.table import LibraryRow, Table

__all__ = ["Library"]

_CHANGEABLE = ("name", "tags", "notes", "archived")


class Library:
    """The runs below a root folder. Every method may be called from any thread."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = resolve_root(root)
        self._lock = threading.RLock()
        self._opened: dict[tuple[str, str], StoredRun] = {}
        self._table = Table(Index(self.root / INDEX_NAME))

    def __repr__(self) -> str:
        return f"Library({str(self.root)!r})"

    def runs(self, *, include_deleted: bool = False) -> list[StoredRun]:
        """Return all runs, newest first by id; the same objects each time, so that they keep what they have read."""
        with self._lock:
            found = self._list(self.root)
            for key in self._opened.keys() - found.keys():
                del self._opened[key]
            for key, path in found.items():
                if key not in self._opened:
                    self._opened[key] = StoredRun(path)
            runs = [self._opened[key] for key in found]
        if include_deleted:
            runs += [StoredRun(path) for path in self._list(self.root / TRASH_NAME).values()]
        return sorted(runs, key=lambda run: (run.run_id, run.project), reverse=True)

    def rows(self) -> list[LibraryRow]:
        """Return the facts and summaries of all runs, newest first; runs that cannot be read are in `notices`."""
        with self._lock:
            return self._table.rows(self.runs())

    def notices(self) -> list[Notice]:
        """Return what `rows` could not show the last time, and why."""
        with self._lock:
            return list(self._table.notices)

    def deleted(self) -> list[StoredRun]:
        """Return the runs in the trash, newest first."""
        found = [StoredRun(path) for path in self._list(self.root / TRASH_NAME).values()]
        return sorted(found, key=lambda run: (run.run_id, run.project), reverse=True)

    def _list(self, root: Path) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for project in _folders(str(root)):
            for run in _folders(project.path):
                key = (project.name, run.name)
                if key in self._opened or os.path.isfile(f"{run.path}/run.json"):  # noqa: PTH113
                    found[key] = run.path
        return found

    def run(self, name: str = "latest") -> StoredRun:
        """Return the run called `latest`, an id, `project/id`, `project/name`, a name, or a unique beginning of an id.

        Raises NotFoundError naming near ones, UsageError when several fit.
        """
        runs = self.runs()
        if not runs:
            raise NotFoundError(
                f"There are no runs in {self.root}", hint="name another folder with --dir or EPOCHAL_DIR"
            )
        if name == "latest":
            return max(runs, key=_created)
        project, _, rest = name.rpartition("/")
        pool = [run for run in runs if run.project == project] if project else runs
        for fits in (
            lambda run: run.run_id == rest,
            lambda run: _name(run) == rest,
            lambda run: bool(rest) and run.run_id.startswith(rest),
        ):
            if found := [run for run in pool if fits(run)]:
                return self._only(name, found)
        known = [f"{run.project}/{run.run_id}" for run in runs] + [f"{run.project}/{_name(run)}" for run in runs]
        near = difflib.get_close_matches(name, [*known, *(k.rpartition("/")[2] for k in known)], n=3, cutoff=0.4)
        listed = ", ".join(dict.fromkeys(near or known[:3]))
        raise NotFoundError(f"There is no run {name!r} in {self.root}", hint=f"near: {listed}" if listed else "")

    def _only(self, name: str, found: list[StoredRun]) -> StoredRun:
        if len(found) > 1:
            listed = ", ".join(f"{run.project}/{run.run_id}" for run in found[:4])
            raise UsageError(f"{len(found)} runs are called {name!r}", hint=f"say which: {listed}")
        return found[0]

    def change(self, run: StoredRun, **changes: Any) -> None:
        """Change name, tags, notes or archived of a run; None leaves a field as it is."""
        if unknown := sorted(changes.keys() - set(_CHANGEABLE)):
            raise UsageError(f"{unknown[0]!r} of a run cannot be changed", hint=f"can be: {', '.join(_CHANGEABLE)}")
        given = {key: value for key, value in changes.items() if value is not None}
        if "name" in given and not str(given["name"]).strip():
            raise UsageError("A run's name cannot be empty")
        if "tags" in given:
            given["tags"] = list(dict.fromkeys(str(tag) for tag in given["tags"]))
        with self._lock:
            run.info()  # raises when it is gone
            try:
                try:
                    meta = read_json(run.folder.meta_json)
                except (FileNotFoundError, DamagedError):
                    meta = {}
                meta.update(given)
                replace_file(run.folder.meta_json, to_json(meta, indent=1), sync=True)
            except OSError as error:
                raise _refused(run.path, error) from error

    def delete(self, run: StoredRun) -> None:
        """Move a run to the trash, from where `restore` brings it back; nothing is removed."""
        target = self.root / TRASH_NAME / run.project / run.run_id
        with self._lock:
            run.info()
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    target.rename(target.with_name(f"{target.name}.{int(time.time() * 1000)}"))
                run.path.rename(target)
            except OSError as error:
                raise _refused(run.path, error) from error
            self._opened.pop((run.project, run.run_id), None)

    def restore(self, project: str, run_id: str) -> StoredRun:
        """Bring a run back from the trash and return it."""
        target = RunFolder.of(self.root, project, run_id).path
        source = self.root / TRASH_NAME / project / run_id
        with self._lock:
            if not source.is_dir():
                raise NotFoundError(f"Run {project}/{run_id} is not in the trash", hint=f"looked in {source}")
            if target.exists():
                raise UsageError(f"Run {project}/{run_id} cannot be restored: there is a run of that id")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
            except OSError as error:
                raise _refused(target, error) from error
            with contextlib.suppress(OSError):
                source.parent.rmdir()
            stored = self._opened[(project, run_id)] = StoredRun(target)
            return stored


def _folders(path: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [e for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError:
        return []


def _created(run: StoredRun) -> tuple[float, str]:
    try:
        return (run.info().created, run.run_id)
    except EpochalError:
        return (0.0, run.run_id)


def _name(run: StoredRun) -> str:
    try:
        return run.info().name
    except EpochalError:
        return ""


def _refused(path: Path, error: OSError) -> StorageFullError:
    return StorageFullError(
        f"{path} cannot be changed: {error.strerror or error}", hint="is the disk full or read-only?"
    )
