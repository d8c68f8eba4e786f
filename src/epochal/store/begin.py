"""The beginning of a run: make its folder, or join one that is there; processes never get in each other's way."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.errors import DamagedError, FormatVersionError, NotFoundError, RunExistsError, StorageFullError, UsageError
from epochal.store.files import read_json, to_json, write_all
from epochal.store.layout import (
    FORMAT_VERSION,
    RunFolder,
    WriterFolder,
    check_name,
    default_name,
    new_boot_id,
    new_run_id,
)
from epochal.store.process import identity, is_alive

__all__ = ["Joining", "begin", "check_version", "undo"]

ATTEMPTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """How a process takes part in a run: `resume` is `never`, `allow` or `must`.

    `rewind_to` is the step that an existing run is taken back to. A process of a rank above 0 waits up to `wait_secs`
    for rank 0 to make the run.
    """

    resume: str = "never"
    rewind_to: int | None = None
    rank: int = 0
    world_size: int = 1
    wait_secs: float = 0.0

    def check(self, run_id: str | None) -> None:
        """Raise UsageError for what cannot be."""
        if self.resume not in ("never", "allow", "must"):
            raise UsageError(f"resume is {self.resume!r}", hint="use 'never', 'allow' or 'must'")
        if run_id is None and self.resume == "must":
            raise UsageError("resume='must' needs the id of the run to go on with", hint="pass id=")
        if not 0 <= self.rank < 1_000_000:
            raise UsageError(f"rank is {self.rank}, expected 0 or more")
        step = self.rewind_to
        if step is None:
            return
        if type(step) is not int or not 0 <= step < 2**62:
            raise UsageError(f"rewind_to is {step!r}", hint="give the last step to keep: a whole number from 0 on")
        if self.resume == "never" or run_id is None:
            raise UsageError("rewind_to needs a run to go back in", hint="pass id= and resume='must' (or 'allow')")


def begin(
    root: Path, *, project: str, run_id: str | None, joining: Joining, facts: Mapping[str, Any]
) -> tuple[RunFolder, WriterFolder, dict[str, Any], str]:
    """Make or join a run; return its folder, this process's folder, its first state and a warning ('' for none)."""
    check_name(project, what="project")
    if run_id is not None:
        check_name(run_id, what="run id")
    joining.check(run_id)
    try:
        return _begin(root, project=project, run_id=run_id, joining=joining, facts=facts)
    except OSError as error:
        raise StorageFullError(
            f"No run can be recorded below {root}: {error.strerror or error}",
            hint="free some space there, or name another folder with dir= or EPOCHAL_DIR",
        ) from error


def _begin(
    root: Path, *, project: str, run_id: str | None, joining: Joining, facts: Mapping[str, Any]
) -> tuple[RunFolder, WriterFolder, dict[str, Any], str]:
    now = time.time()
    if run_id is None:
        run = _fresh(root, project, now)
    else:
        run = RunFolder.of(root, project, run_id)
        if joining.rank:
            _await_run(run, joining.wait_secs)
        _check_joinable(run, resume=joining.resume, rank=joining.rank)
        run.path.mkdir(parents=True, exist_ok=True)
    there = run.run_json.exists()
    try:
        return _join(run, joining=joining, facts=facts, now=now)
    except OSError:
        if not there:
            _leave(run)
        raise


def _join(
    run: RunFolder, *, joining: Joining, facts: Mapping[str, Any], now: float
) -> tuple[RunFolder, WriterFolder, dict[str, Any], str]:
    rank = joining.rank
    made = _write_run_json(run, now=now, facts=facts)
    states = {folder.name: _state(folder) for folder in run.writers()}
    # Boots are told apart by when they started; a clock that went back must not turn their order round.
    started = max([now, *(_last_sign(state, now) + 0.001 for state in states.values())])
    run.writers_path.mkdir(exist_ok=True)
    folder = _writer_folder(run, rank)
    state = {
        "format_version": FORMAT_VERSION,
        "rank": rank,
        "world_size": joining.world_size,
        "boot": folder.name.partition("-")[2],
        **identity(),
        "started": started,
        "heartbeat": now,
        "status": "running",
        "last_step": None,
        "last_epoch": None,
        "defines": {},
        "recorder": {},
        "dropped": {},
    }
    ranks = {run.writer(name).rank for name in states}
    if states and joining.rewind_to is not None:
        state["rewind_to"] = state["last_step"] = joining.rewind_to
    # Settings of a process that goes on with the run; of the ranks of one training, the lowest speaks for all.
    if facts["config"] and not made and (rank == 0 or min(ranks, default=0) == rank):
        state["config"] = facts["config"]
    # Readers that look at finished runs seldom look at the run's folder only: tell them.
    with contextlib.suppress(OSError):
        os.utime(run.path)
    return run, folder, state, _other_writer(states, rank=rank, now=now, run=run)


def undo(run: RunFolder, folder: WriterFolder) -> None:
    """Take away what a beginning left that could not go on, so that no empty run is listed."""
    shutil.rmtree(folder.path, ignore_errors=True)
    _leave(run)


def _leave(run: RunFolder) -> None:
    """Take away a run that this process made, unless another writes into it: then the writers' folder is not empty."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            run.writers_path.rmdir()
        run.run_json.unlink(missing_ok=True)
        run.path.rmdir()


def _fresh(root: Path, project: str, now: float) -> RunFolder:
    for _ in range(ATTEMPTS):
        run = RunFolder.of(root, project, new_run_id(now))
        run.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            run.path.mkdir()
            return run
    raise RunExistsError(f"No free run id was found in {root / project}")


def _await_run(run: RunFolder, secs: float) -> None:
    """Wait for rank 0 to make the run; where it does not, this process makes it."""
    deadline = time.monotonic() + secs
    while not run.run_json.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _check_joinable(run: RunFolder, *, resume: str, rank: int) -> None:
    there = run.run_json.exists()
    if there:
        try:
            check_version(read_json(run.run_json), run.path)
        except FileNotFoundError:
            there = False
    if resume == "must" and not there:
        raise NotFoundError(
            f"There is no run {run.project}/{run.run_id} to go on with",
            hint=f"looked in {run.path}; resume='allow' begins it when it is not there",
        )
    if resume == "never" and there and any(folder.rank == rank for folder in run.writers()):
        raise RunExistsError(
            f"Run {run.project}/{run.run_id} is there already",
            hint="resume='allow' goes on with it; without an id a new run gets its own",
        )


def check_version(document: Mapping[str, Any], path: Path) -> int:
    """Return the format version of a run.json; raise FormatVersionError when this package is too old for it."""
    version = document.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise DamagedError(f"{path / 'run.json'} says format_version {version!r}, expected a whole number from 1 on")
    if version > FORMAT_VERSION:
        raise FormatVersionError(
            f"The run at {path} has format version {version}, this Epochal reads up to {FORMAT_VERSION}",
            hint="upgrade it: pip install --upgrade epochal",
        )
    return version


def _write_run_json(run: RunFolder, *, now: float, facts: Mapping[str, Any]) -> bool:
    """Write run.json unless another process did: whole, or not at all. Say whether this one did."""
    if run.run_json.exists():
        return False
    document = {"format_version": FORMAT_VERSION, "run_id": run.run_id, "project": run.project, "created": now, **facts}
    document["name"] = document["name"] or default_name(run.project, run.run_id)
    temporary = run.path / f".run.json.{os.getpid()}.{new_boot_id()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_all(fd, to_json(document, indent=1))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(temporary, run.run_json)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            temporary.replace(run.run_json)
        return True
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _writer_folder(run: RunFolder, rank: int) -> WriterFolder:
    for _ in range(ATTEMPTS):
        folder = run.writer(f"r{rank:03d}-{new_boot_id()}")
        with contextlib.suppress(FileExistsError):
            folder.path.mkdir()
            return folder
    raise RunExistsError(f"No free folder was found in {run.writers_path}")


def _state(folder: WriterFolder) -> dict[str, Any]:
    for path in (folder.state, folder.first_state):
        with contextlib.suppress(OSError, DamagedError):
            return read_json(path)
    return {}


def _last_sign(state: Mapping[str, Any], now: float) -> float:
    """Return the latest moment that a writer wrote down; of one that still lives, only when it started."""
    alive = state.get("status") == "running" and is_alive(state, now)
    return max(float(state.get(key) or 0.0) for key in (("started",) if alive else ("started", "heartbeat", "ended")))


def _other_writer(states: Mapping[str, Mapping[str, Any]], *, rank: int, now: float, run: RunFolder) -> str:
    for state in states.values():
        if state.get("rank") == rank and state.get("status") == "running" and is_alive(state, now):
            return (
                f"process {state.get('pid')} on {state.get('host')} writes into run {run.project}/{run.run_id} too; "
                "both are kept on disk, but of a series that both log, readers show the earlier process's numbers only "
                "up to the step where the later one begins"
            )
    return ""
