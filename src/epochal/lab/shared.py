"""A lab whose store is an object store: what its head and the machines of its trials do for that.

Everything is recorded in a folder of the machine that it happens on, and put into the store from there. The head keeps
the lab in a folder of its own, and takes into it what trials on other machines have put: the rest of the lab knows
folders only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from epochal.errors import RemoteError
from epochal.facts.lab import TrialState
from epochal.lab.runner import Task
from epochal.store.cache import own_folder
from epochal.store.labs import LABS_NAME
from epochal.store.mirror import Mirror, is_heavy
from epochal.store.remote import Remote
from epochal.store.segments import expect_streaming
from epochal.store.streaming import Stream

__all__ = ["SharedStore", "at_store", "outcome_files"]

PATIENCE_SECS = 60.0
Say = Callable[[str], None]
_OUTCOMES, _STOP = "outcomes", "stop"


class SharedStore:
    """The store of a lab as its head sees it. `root` is the folder that it keeps up to date with the store.

    Raises RemoteError where the store does not answer, or cannot be written to.
    """

    def __init__(self, address: str, root: str | os.PathLike[str] | None, *, say: Say) -> None:
        remote = Remote(address)
        remote.check()
        self.address = remote.address
        self.root = Path(root) if root is not None else own_folder("labs", remote.address)
        self._mirror = Mirror(self.root, remote)
        self._say = say
        self._stream: Stream | None = None
        self._lab = ""
        self._follows = True
        self._told = False
        self.lost: list[str] = []

    # ---- before the lab runs

    def take_labs(self, project: str | None = None) -> None:
        """Bring the labs that lie in the store here, so that one of them can be gone on with."""
        found: dict[str, list[object]] = {}
        with self._mirror.held():
            entries = self._mirror.remote.entries("" if project is None else f"{project}/{LABS_NAME}")
            for entry in entries:
                parts = entry.key.split("/")
                if len(parts) > 3 and parts[1] == LABS_NAME and parts[3] not in (_OUTCOMES, _STOP):
                    found.setdefault("/".join(parts[:3]), []).append(entry)
            for folder, of_it in found.items():
                self._mirror.pull(folder, entries=of_it)  # type: ignore[arg-type]

    def take_whole(self, project: str, run_id: str) -> None:
        """Bring a run here that is gone on with on this machine; what is here already goes on without the store."""
        with self._patient():
            self._take(f"{project}/{run_id}", light=False)

    # ---- while it runs

    @property
    def follows_runs(self) -> bool:
        """Whether trials are recorded on this machine."""
        return self._follows

    def begin(self, path: Path, *, follows_runs: bool) -> None:
        """Keep the lab in `path` up to date in the store, and, where they are recorded here, its runs."""
        self._lab = path.relative_to(self.root).as_posix()
        self._follows = follows_runs
        self._stream = Stream(self.address, self.root, say=self._say)
        self._stream.follow(self._lab, soon=True, skip=[_OUTCOMES])

    def begun(self, task: Task) -> None:
        """A trial begins."""
        if self._stream is not None and self._follows:
            self._stream.follow(f"{task.project}/{task.run_id}")

    def ended(self, task: Task) -> None:
        """What a trial has left was taken note of."""
        if self._stream is not None and self._follows:
            self._stream.settle(f"{task.project}/{task.run_id}")
        else:
            with self._patient():
                self._mirror.remote.delete([f"{self._lab}/{_OUTCOMES}/{name}" for name in outcome_files(task)])

    def bring(self, task: Task) -> None:
        """Bring here what a trial on another machine has put so far: its run but for snapshots, and its word."""
        with self._patient():
            self._take(f"{task.project}/{task.run_id}", light=True)
            folder = Path(task.lab_path) / _OUTCOMES
            folder.mkdir(exist_ok=True)
            for name in outcome_files(task):
                data = self._mirror.remote.get(f"{self._lab}/{_OUTCOMES}/{name}")
                if data is not None:
                    (folder / name).write_bytes(data)

    def close(self) -> None:
        """Put what is left; says what could not be."""
        if self._stream is None:
            return
        if left := self._stream.close():
            self.lost = left
            self._say(
                f"not all of {', '.join(left[:4])}{' and others' if len(left) > 4 else ''} is in {self.address}: "
                f"it lies in {self.root}; put it there with: epochal push {self.root} {self.address}"
            )

    def _take(self, folder: str, *, light: bool) -> None:
        with self._mirror.held():
            self._mirror.pull(folder, wanted=(lambda name: not is_heavy(name)) if light else (lambda name: True))

    @contextlib.contextmanager
    def _patient(self) -> Iterator[None]:
        """A store that does not answer now is asked again later."""
        try:
            yield
        except RemoteError as error:
            if not self._told:
                self._told = True
                self._say(f"{error.message}; it is asked again")


def outcome_files(task: Task) -> tuple[str, str]:
    """What an attempt leaves beside its run: word of how it ended, and of where it runs."""
    stem = f"{task.trial.number:06d}-{task.attempt}"
    return f"{stem}.json", f"{stem}.node"


def at_store(task: Task, train: Callable[[Task], TrialState]) -> tuple[TrialState, str]:
    """Train on a machine that sees the lab's store alone: in a folder of its own, which is streamed.

    Returns how it ended, and where what could not be put lies (empty where nothing is missing).
    """
    assert task.store is not None  # noqa: S101 - the caller has looked
    remote = _answering(task.store)
    scratch = Path(tempfile.mkdtemp(prefix="epochal-trial-"))
    lab = Path(task.lab_path).relative_to(task.root).as_posix()
    run = f"{task.project}/{task.run_id}"
    if task.restore:
        Mirror(scratch, remote).pull(run)
    expect_streaming()
    said: list[str] = []
    stream = Stream(task.store, scratch, say=said.append, passing=True)
    left: list[str] = [run]
    try:
        own = replace(task, root=str(scratch), lab_path=str(scratch / lab))
        stop = f"{_STOP}/{task.trial.number:06d}-{task.attempt}.json"
        (scratch / lab / _OUTCOMES).mkdir(parents=True)
        stream.follow(lab, soon=True, skip=[_STOP])
        stream.follow(run)
        stream.fetch(f"{lab}/{stop}", scratch / lab / stop)
        state = train(own)
    finally:
        left = stream.close()
        if not left:
            shutil.rmtree(scratch, ignore_errors=True)
    return state, f"{scratch} ({said[-1]})" if left and said else str(scratch) if left else ""


def _answering(address: str) -> Remote:
    """The store, once it answers: a machine may be given a trial while it does not."""
    remote = Remote(address)
    deadline = time.monotonic() + PATIENCE_SECS
    while True:
        try:
            remote.get("none")
        except RemoteError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
        else:
            return remote
