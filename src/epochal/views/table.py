"""All runs of a library as rows, read again only where something changed."""

from __future__ import annotations

import math
import threading
from pathlib import Path

from epochal.errors import EpochalError, NotFoundError
from epochal.facts import Notice, RunInfo
from epochal.store.library import Library
from epochal.store.reader import StoredRun
from epochal.views.runs import RunFacts

__all__ = ["RunsTable", "lies_inside", "read_facts"]


class RunsTable:
    """The rows of a library's runs. Every method may be called from any thread."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._facts: dict[Path, RunFacts] = {}
        self._inside: set[Path] = set()

    def refresh(self) -> tuple[list[RunFacts], list[Notice]]:
        """All rows, newest first, and what to tell of runs that cannot be read."""
        with self._lock:
            fresh: dict[Path, RunFacts] = {}
            notices: list[Notice] = []
            if not self._library.root.is_dir():
                message = f"the folder of runs {self._library.root} is not there"
                notices.append(Notice(code="root_missing", message=message, hint="it is made by the first run"))
            for run in self._library.runs():
                if not self._is_inside(run):
                    notices.append(_outside(run))
                    continue
                try:
                    fresh[run.path] = self._of(run)
                except NotFoundError:
                    continue  # deleted a moment ago
                except (EpochalError, OSError) as error:
                    notices.append(_unreadable(run, error))
            self._facts = fresh
            return sorted(fresh.values(), key=lambda f: (f.info.created, f.info.run_id), reverse=True), notices

    def one(self, run: StoredRun) -> RunFacts:
        """One run's row."""
        with self._lock:
            facts = self._facts[run.path] = self._of(run)
            return facts

    def _is_inside(self, run: StoredRun) -> bool:
        if run.path not in self._inside:
            if not lies_inside(self._library.root, run):
                return False
            self._inside.add(run.path)
        return True

    def _of(self, run: StoredRun) -> RunFacts:
        version = run.version()
        known = self._facts.get(run.path)
        return known if known is not None and known.version == version else read_facts(run, version=version)


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
