"""All runs of a library as rows, read again only where something changed."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from epochal.errors import EpochalError, NotFoundError
from epochal.facts import Notice, RunInfo
from epochal.store.library import Library
from epochal.store.reader import StoredRun
from epochal.views.runs import RunFacts

__all__ = ["ENDED", "RunsTable", "lies_inside", "read_facts"]

ENDED = ("finished", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, ...]
    facts: RunFacts


class RunsTable:
    """The rows of a library's runs. Every method may be called from any thread.

    A run that ended changes only by its own folder, by `w` (when it is resumed) and by meta.json, so a look at these
    three is all that it costs then; one that runs, or whose process vanished, is asked itself.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._known: dict[Path, _Known] = {}
        self._inside: set[Path] = set()

    def refresh(self) -> tuple[list[RunFacts], list[Notice]]:
        """All rows, newest first, and what to tell of runs that cannot be read."""
        with self._lock:
            notices: list[Notice] = []
            if not self._library.root.is_dir():
                message = f"the folder of runs {self._library.root} is not there"
                notices.append(Notice(code="root_missing", message=message, hint="it is made by the first run"))
            rows: list[RunFacts] = []
            runs = self._library.runs()
            for run in runs:
                if not self._is_inside(run):
                    notices.append(_outside(run))
                    continue
                try:
                    rows.append(self._of(run))
                except NotFoundError:
                    continue  # deleted a moment ago
                except (EpochalError, OSError) as error:
                    notices.append(_unreadable(run, error))
            if len(self._known) > len(runs):
                here = {run.path for run in runs}
                self._known = {path: known for path, known in self._known.items() if path in here}
            return sorted(rows, key=lambda f: (f.info.created, f.info.run_id), reverse=True), notices

    def one(self, run: StoredRun, *, newest: bool = False) -> RunFacts:
        """One run's row; with `newest` of numbers too that were logged a moment ago and are in no summary yet."""
        known = self._known.get(run.path)
        if newest and (known is None or known.facts.info.status not in ENDED):
            run.refresh()  # outside of the lock: the first time it reads the whole run
        with self._lock:
            return self._of(run)

    def _is_inside(self, run: StoredRun) -> bool:
        if run.path not in self._inside:
            if not lies_inside(self._library.root, run):
                return False
            self._inside.add(run.path)
        return True

    def _of(self, run: StoredRun) -> RunFacts:
        stamp = _stamp(run)
        known = self._known.get(run.path)
        if known is not None and known.stamp == stamp and known.facts.info.status in ENDED:
            return known.facts
        version = run.version()
        same = known is not None and known.facts.version == version
        facts = known.facts if known is not None and same else read_facts(run, version=version)
        self._known[run.path] = _Known(stamp, facts)
        return facts


def _stamp(run: StoredRun) -> tuple[int, ...]:
    try:
        folder, writers = os.stat(run.path), os.stat(run.folder.writers_path)  # noqa: PTH116 - twice as quick as Path's
    except OSError:
        return ()
    try:
        meta = os.stat(run.folder.meta_json)  # noqa: PTH116
    except OSError:
        return (folder.st_mtime_ns, folder.st_ino, writers.st_mtime_ns)
    return (folder.st_mtime_ns, folder.st_ino, writers.st_mtime_ns, meta.st_mtime_ns, meta.st_ino, meta.st_size)


def lies_inside(root: Path, run: StoredRun) -> bool:
    """Whether a run really lies below the root: a link there may lead anywhere on the disk."""
    try:
        return run.path.resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except OSError:
        return False


def read_facts(run: StoredRun, *, version: str | None = None) -> RunFacts:
    """What a run's row says; `version` is the run's where it is known already."""
    # The version is asked first: what comes to the run in between is then read again, never missed.
    version = run.version() if version is None else version
    info = run.info()
    return RunFacts(info=info, summaries=run.summaries(), version=version, parameters=_parameter_count(run, info))


def _parameter_count(run: StoredRun, info: RunInfo) -> int | None:
    """Numbers in all weights and biases: as the recorder said, else counted in the newest snapshot."""
    said = info.recorder.get("parameters")
    if isinstance(said, int) and not isinstance(said, bool):
        return said
    steps = run.snapshot_steps()
    if not steps:
        return None
    try:
        tensors = run.snapshot_header(steps[-1]).tensors
    except (EpochalError, OSError):
        return None
    return sum(math.prod(place.shape) for place in tensors.values())


def _outside(run: StoredRun) -> Notice:
    message = f"run {run.project}/{run.run_id} is not shown: it is a link that leads out of the folder of runs"
    return Notice(code="outside", message=message, hint="move the run there, or view the folder that it lies in")


def _unreadable(run: StoredRun, error: EpochalError | OSError) -> Notice:
    name = f"{run.project}/{run.run_id}"
    if isinstance(error, EpochalError):
        return Notice(code=error.code, message=f"run {name} cannot be shown: {error.message}", hint=error.hint)
    return Notice(code="unreadable", message=f"run {name} cannot be read: {error.strerror or error}")
