"""All runs of a library as rows, read again only where something changed."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from epochal.errors import EpochalError
from epochal.facts import Notice, RunInfo
from epochal.store.library import Library
from epochal.store.reader import StoredRun
from epochal.store.table import LibraryRow
from epochal.views.runs import RunFacts, StoredSummaries

__all__ = ["ENDED", "RunsTable", "lies_inside"]

ENDED = ("finished", "failed", "stopped")
"""How a run can stand that nothing is added to by itself any more."""

_COUNTED_AT_ONCE = 24


@dataclass(slots=True)
class _Known:
    row: LibraryRow
    facts: RunFacts
    counted: bool
    stamp: tuple[int, ...] | None = None


class RunsTable:
    """The rows of a library's runs. Every method may be called from any thread.

    A run that ended changes only by a file that comes to its own folder or a writer that comes to `w`, so a look at
    these two is all that it costs then; one that runs, or whose process vanished, is asked itself.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.RLock()
        self._known: dict[Path, _Known] = {}
        self._inside: set[Path] = set()
        self._parameters: dict[Path, int | None] = {}

    def refresh(self) -> tuple[list[RunFacts], list[Notice]]:
        """All rows, newest first, and what to tell of runs that cannot be read."""
        with self._lock:
            notices: list[Notice] = []
            if not self._library.root.is_dir():
                message = f"the folder of runs {self._library.root} is not there"
                notices.append(Notice(code="root_missing", message=message, hint="it is made by the first run"))
            known: dict[Path, _Known] = {}
            to_count = _COUNTED_AT_ONCE
            for row in self._library.rows():
                path = row.run.path
                if not self._is_inside(row.run):
                    notices.append(_outside(row.run))
                    continue
                before = self._known.get(path)
                if before is not None and before.row is row and before.counted:
                    known[path] = before
                    continue
                # Counting opens a file of each run: a few at each look, so that a long table comes at once.
                counted = path in self._parameters or to_count > 0
                to_count -= path not in self._parameters
                parameters = self._parameter_count(row.run, row.info) if counted else None
                if before is not None and before.row is row and before.facts.parameters == parameters:
                    before.counted = counted
                    known[path] = before
                    continue
                stamp = None if before is None else before.stamp
                known[path] = _Known(row, _facts(row, parameters), counted, stamp)
            self._known = known
            rows = [k.facts for k in known.values()]
            rows.sort(key=lambda f: (f.info.created, f.info.run_id), reverse=True)
            return rows, [*notices, *self._library.notices()]

    def one(self, run: StoredRun, *, newest: bool = False) -> RunFacts:
        """One run's row; with `newest` of numbers too that were logged a moment ago and are in no summary yet."""
        known = self._known.get(run.path)
        if newest and (known is None or known.facts.info.status not in ENDED):
            run.refresh()  # outside of the lock: the first time it reads the whole run
        with self._lock:
            return self._of(run)

    def forget(self, run: StoredRun) -> None:
        """Read a run again at the next look: two changes within the clock's grain look the same from outside."""
        with self._lock:
            self._known.pop(run.path, None)

    def _is_inside(self, run: StoredRun) -> bool:
        if run.path not in self._inside:
            if not lies_inside(self._library.root, run):
                return False
            self._inside.add(run.path)
        return True

    def _of(self, run: StoredRun) -> RunFacts:
        stamp = _stamp(run)
        known = self._known.get(run.path)
        if known is None or (known.facts.info.status in ENDED and known.stamp != stamp):
            self.refresh()
            known = self._known.get(run.path)
            if known is not None:
                known.stamp = stamp  # taken before the row was read: a change in between is seen at the next look
        if known is not None and known.facts.info.status in ENDED:
            return known.facts
        version = run.version()
        if known is not None and known.facts.version == version:
            return known.facts
        info = run.info()
        parameters = self._parameter_count(run, info)
        facts = RunFacts(info=info, summaries=run.summaries(), version=version, parameters=parameters)
        if known is not None:
            known.facts = facts
        return facts

    def _parameter_count(self, run: StoredRun, info: RunInfo) -> int | None:
        """Numbers in all weights and biases: as the recorder said, else counted in a snapshot."""
        said = info.recorder.get("parameters")
        if isinstance(said, int) and not isinstance(said, bool):
            return said
        if run.path not in self._parameters:
            try:
                steps = run.snapshot_steps()
                tensors = run.snapshot_header(steps[-1]).tensors if steps else {}
            except (EpochalError, OSError):
                return None
            count = sum(math.prod(place.shape) for place in tensors.values()) or None
            if count is None and info.status not in ENDED:
                return None  # its first snapshot may be on its way
            self._parameters[run.path] = count
        return self._parameters[run.path]


def lies_inside(root: Path, run: StoredRun) -> bool:
    """Whether a run really lies below the root: a link there may lead anywhere on the disk."""
    path = str(run.path)
    try:
        # Two looks settle nearly all cases; following every part of a path is twenty times as slow.
        if not os.path.islink(path) and not os.path.islink(os.path.dirname(path)):  # noqa: PTH114, PTH120
            return True
        return run.path.resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except OSError:
        return False


def _facts(row: LibraryRow, parameters: int | None) -> RunFacts:
    return RunFacts(info=row.info, summaries=StoredSummaries(row), version=row.version, parameters=parameters)


def _stamp(run: StoredRun) -> tuple[int, ...]:
    try:
        own, writers = os.stat(run.path), os.stat(run.folder.writers_path)  # noqa: PTH116 - at every question
    except OSError:
        return ()
    return (own.st_mtime_ns, own.st_ino, writers.st_mtime_ns)


def _outside(run: StoredRun) -> Notice:
    message = f"run {run.project}/{run.run_id} is not shown: it is a link that leads out of the folder of runs"
    return Notice(code="outside", message=message, hint="move the run there, or view the folder that it lies in")
