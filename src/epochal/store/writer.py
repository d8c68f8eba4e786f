"""A run as the process that records it sees it: numbers, statistics, snapshots and files go in, nothing comes out."""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from epochal.errors import StorageFullError, UsageError
from epochal.facts import Better
from epochal.store.begin import Joining, begin, undo
from epochal.store.blobs import Encodable
from epochal.store.drain import Drain
from epochal.store.files import replace_file
from epochal.store.layout import RunFolder, WriterFolder
from epochal.store.lines import LineFile
from epochal.store.safetensors import RawTensor, write_snapshot
from epochal.store.thinning import Shelf
from epochal.store.threads import Workers

__all__ = ["Resume", "RunWriter"]

Resume = Literal["never", "allow", "must"]
Tensors = Mapping[str, npt.NDArray[Any] | RawTensor]
EndStatus = Literal["finished", "failed", "stopped"]


class RunWriter:
    """Writes one process's part of a run. Every method may be called from any thread.

    `append(name, step, t, value)` and `append_many(items, step, t)` are the hot path: values are floats already.
    """

    append: Callable[[str, int, float, float], None]
    append_many: Callable[[Mapping[str, float], int, float], None]

    def __init__(
        self, run: RunFolder, folder: WriterFolder, state: dict[str, Any], *, on_problem: Callable[[str], None] | None
    ) -> None:
        self._run = run
        self._folder = folder
        self._finished = False
        self._listeners: list[Callable[[], None]] = []
        self._pid = os.getpid()
        self._drain = Drain(folder, state, on_problem=on_problem, wake=lambda: self._workers.wake())
        self._workers = Workers(self._drain)
        self.shelf = Shelf(folder, None, told=lambda facts: self._drain.set_state({"thinned": facts}))
        """The snapshots of watched models on the disk."""
        self.append, self.append_many = self._drain.ring.append, self._drain.ring.append_many
        _LIVE.add(self)
        _register_hooks()
        self._workers.start()

    @classmethod
    def create(
        cls,
        root: str | os.PathLike[str],
        *,
        project: str,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        group: str | None = None,
        parent: str | None = None,
        parent_step: int | None = None,
        tags: Sequence[str] = (),
        notes: str = "",
        run_id: str | None = None,
        resume: Resume = "never",
        rewind_to: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        wait_secs: float = 0.0,
        code: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> RunWriter:
        """Begin a run, or this process's part of one, and return its writer.

        `rewind_to` takes a run that is gone on with back to a step: readers hide what it has of later steps. Of the
        `world_size` processes of a run, those of a rank above 0 wait up to `wait_secs` for the first to make it.
        `on_problem` is called with one sentence whenever something cannot be recorded, from any thread; the default
        warns with RecordingWarning. Raises UsageError for a bad name, RunExistsError, NotFoundError (`resume="must"`),
        FormatVersionError, and StorageFullError where the folder cannot be written.
        """
        facts = {
            "name": name,
            "config": dict(config or {}),
            "group": group,
            "parent": parent,
            "parent_step": parent_step,
            "tags": [str(tag) for tag in tags],
            "notes": notes,
            "code": dict(code or {}),
            "environment": dict(environment or {}),
        }
        joining = Joining(resume=resume, rewind_to=rewind_to, rank=rank, world_size=world_size, wait_secs=wait_secs)
        run, folder, state, warning = begin(Path(root), project=project, run_id=run_id, joining=joining, facts=facts)
        try:
            writer = cls(run, folder, state, on_problem=on_problem)
        except OSError as error:
            undo(run, folder)
            raise StorageFullError(
                f"The run cannot be recorded at {folder.path}: {error.strerror or error}",
                hint="free some space there, or name another folder with dir= or EPOCHAL_DIR",
            ) from error
        if warning:
            writer._drain.problem(warning)
        return writer

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run.run_id

    @property
    def project(self) -> str:
        """Project of the run."""
        return self._run.project

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self._run.path

    @property
    def folder(self) -> Path:
        """Folder of this process's part, below `path`."""
        return self._folder.path

    @property
    def finished(self) -> bool:
        """Whether `finish` was called."""
        return self._finished

    @property
    def ring_waits(self) -> int:
        """How often a call found the journal full and waited for the writer thread."""
        return self._drain.ring.waits

    def log(self, data: Mapping[str, float], step: int, t: float | None = None) -> None:
        """Record numbers at a step; each is safe from the process's death when this returns."""
        floats = {name: float(value) for name, value in data.items()}
        self.append_many(floats, int(step), time.time() if t is None else float(t))

    def add_statistics(self, columns: Mapping[str, Any]) -> None:
        """Record statistics rows given as columns: `series` [k] of str and every field of facts.StatisticsRow.

        `step`, `t` and any other field may be one number for all rows. The arrays are copied.
        """
        self._drain.add_statistics(columns)

    def add_media(self, series: str, value: Encodable, *, step: int, t: float, index: int = 0) -> bool:
        """Record a value that is no number, such as a picture; say whether it was taken.

        The calling thread only queues it; it is encoded and written in another one. `index` is its place in a list.
        Where values come faster than they can be written, this waits for some seconds, then gives it up and counts it.
        """
        return (
            not self._foreign
            and not self._finished
            and self._drain.media.add(series, value, step=step, t=t, index=index)
        )

    def add_snapshot(
        self,
        kind: Literal["params", "grads"],
        tensors: Tensors,
        *,
        step: int,
        epoch: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        """Write a snapshot now, in the calling thread, and return its file.

        Raises StorageFullError when it cannot be written; that is counted as a loss too.
        """
        path = self._folder.snapshot(kind, step)
        facts = {"step": str(step), **({} if epoch is None else {"epoch": repr(float(epoch))}), **(metadata or {})}
        try:
            path.parent.mkdir(exist_ok=True)
            write_snapshot(path, tensors, metadata=facts)
        except OSError as error:
            message = f"the snapshot of step {step} was not written: {error.strerror or error}"
            self.drop("snapshot", 1, message)
            raise StorageFullError(message, hint=f"free some space at {self._folder.path}") from error
        return path

    def put_file(self, name: str, data: bytes) -> Path:
        """Write a file below this process's folder in one piece, such as `network/graph.json`; return its path."""
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or any(part in ("..", ".") for part in parts):
            raise UsageError(
                f"File name {name!r} leads out of the run's folder", hint="use a name like 'network/x.json'"
            )
        path = self._folder.path / name
        try:
            for folder in reversed(path.parents):
                if folder.is_relative_to(self._folder.path) and folder != self._folder.path:
                    folder.mkdir(exist_ok=True)
            replace_file(path, data, sync=True)
        except OSError as error:
            message = f"{name} was not written: {error.strerror or error}"
            self.drop("file", 1, message)
            raise StorageFullError(message, hint=f"free some space at {self._folder.path}") from error
        return path

    def lines(self, what: Literal["console", "alerts"], *, limit_bytes: int) -> LineFile:
        """Return the file of JSON lines for what is printed, or for alerts; the caller writes and closes it."""
        place = self._folder.console if what == "console" else self._folder.alerts
        return LineFile(place, limit_bytes=limit_bytes)

    def set_state(self, **changes: Any) -> None:
        """Change what state.json says of this process, such as `recorder={...}`."""
        self._drain.set_state(changes)

    def best_steps(self) -> dict[str, int]:
        """Return the step at which each series whose better way is known was best so far."""
        return self._drain.best_steps()

    def define(
        self, series: str, *, better: Better | None = None, x: str | None = None, alert: Sequence[str] | None = None
    ) -> None:
        """Say which way a series is better, what it is drawn over, and which conditions of it raise an alert."""
        facts = {key: value for key, value in (("better", better), ("x", x), ("alert", alert)) if value is not None}
        self._drain.define(series, facts)

    def drop(self, code: str, count: int, message: str = "") -> None:
        """Count something that was not recorded, so that readers are told; `message` is said once for each code."""
        self._drain.drop(code, count, message)

    def on_clock_back(self, listener: Callable[[float], object]) -> None:
        """Have the seconds told, from another thread, by which the clock was set back; the last who asks is."""
        self._drain.clock_went_back = listener

    def submit(self, job: Callable[[], object]) -> None:
        """Run a job in a worker thread, one after the other. Its errors are counted and reported, never raised."""
        if not self._foreign:
            self._workers.submit(job)

    @property
    def pending_jobs(self) -> int:
        """How many submitted jobs have not ended."""
        return self._workers.pending

    def flush(self, timeout: float | None = 30.0) -> bool:
        """Wait until all that was given so far is in the files; say whether that came true in time."""
        return not self._foreign and not self._finished and self._workers.flush(timeout)

    def finish(self, status: EndStatus = "finished", *, error: str | None = None) -> None:
        """Write what is pending and end this process's part of the run. Later calls do nothing."""
        if self._finished or self._foreign:
            return
        self._finished = True
        _LIVE.discard(self)
        try:
            self._workers.stop()
        finally:  # a second Ctrl-C while waiting for a job must not cost the end of the run
            self._drain.end(status, error)
            for listener in self._listeners:
                listener()

    def when_ended(self, listener: Callable[[], None]) -> None:
        """Call `listener` once all is written and the run has said how it ended."""
        self._listeners.append(listener)

    @property
    def _foreign(self) -> bool:
        """Whether this is a forked child of the process that records."""
        return os.getpid() != self._pid


# Strong references: a run that its program let go of without `finish` is still ended well at exit.
_LIVE: set[RunWriter] = set()
_hooked = False


def _register_hooks() -> None:
    """Register once per process, at the first run and not at import: importing does nothing."""
    global _hooked
    if not _hooked:
        _hooked = True
        atexit.register(_stop_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_detach_all)


def _stop_all() -> None:
    for writer in list(_LIVE):
        # The last moment of the process: whatever goes wrong with one run must not keep the others from ending.
        with contextlib.suppress(Exception):
            writer.finish("stopped")


def _detach_all() -> None:
    for writer in list(_LIVE):
        writer._drain.detach_in_child()
