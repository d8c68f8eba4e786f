"""The port through which a lab runs its trials, whatever machine they run on.

A runner starts tasks and tells which have ended. All else goes through the folder of the lab, which every machine sees:
a trial that ends leaves word there of how it ended (so that nothing is lost when its machine or the lab dies a moment
later), and a trial that is asked to stop finds the request there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from epochal.errors import DamagedError
from epochal.facts.lab import Trial, TrialState
from epochal.store.files import read_json, replace_file, to_json

__all__ = ["Ended", "Runner", "StopKind", "Task", "ask_to_stop", "asked_to_stop", "forget_stop"]

StopKind = Literal["pruned", "time", "nan", "budget", "interrupted"]
"""`time` is that of the trial, `budget` that of the lab; a trial ended by the last two is taken up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One attempt at a trial, as the machine that runs it gets it: plain values only.

    `restore` says that the run is there already and goes on from its last snapshot. `sys_path` is where modules are
    looked for besides what is installed. `store` is the object store of the lab, if it has one. `threads` and `memory`
    (bytes) are what the trial may use; None: no bound.
    """

    root: str
    lab_path: str
    lab_id: str
    lab_name: str
    project: str
    trial: Trial
    attempt: int
    run_id: str
    objective: str
    model: str | None = None
    data: str | None = None
    train: str | None = None
    validation: float | None = None
    restore: bool = False
    stop_on_nan: bool = False
    trial_seconds: float | None = None
    threads: int | None = None
    gpus: float = 0.0
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    sys_path: tuple[str, ...] = ()
    store: str | None = None

    def to_json(self) -> str:
        """As one line of text."""
        return to_json(asdict(self)).decode("ascii")

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Out of that line."""
        found: dict[str, Any] = json.loads(text)
        found["trial"] = Trial(**found["trial"])
        found["sys_path"] = tuple(found["sys_path"])
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt ended. `lost`: its machine or its process went away through no fault of the trial's own."""

    state: TrialState
    lost: bool = False


class Runner(Protocol):
    """Runs tasks somewhere. Used from one thread; `close` leaves nothing running."""

    @property
    def slots(self) -> int:
        """How many trials can run at once now."""
        ...

    def start(self, task: Task) -> None:
        """Begin an attempt."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended; waits up to so many seconds for something to end."""
        ...

    def kill(self, number: int) -> None:
        """End the attempt at a trial at once; `wait` tells of it then. Nothing happens where it has ended."""
        ...

    def close(self) -> None:
        """Kill what still runs and give everything back."""
        ...


def ask_to_stop(task: Task, kind: StopKind, reason: str) -> None:
    """Ask an attempt to end: it does when it logs or asks the next time, and keeps what it has."""
    path = _request(task.lab_path, task.trial.number, task.attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, to_json({"kind": kind, "reason": reason}))


def asked_to_stop(task: Task) -> tuple[StopKind, str] | None:
    """Whether this attempt is asked to end: of what kind, and why."""
    path = _request(task.lab_path, task.trial.number, task.attempt)
    if not os.path.exists(path):  # noqa: PTH110 - asked several times a second
        return None
    with contextlib.suppress(FileNotFoundError, DamagedError, KeyError):
        found = read_json(path)
        return found["kind"], str(found["reason"])
    return None


def forget_stop(task: Task) -> None:
    """Take the request away."""
    _request(task.lab_path, task.trial.number, task.attempt).unlink(missing_ok=True)


def _request(lab_path: str, number: int, attempt: int) -> Path:
    return Path(lab_path) / "stop" / f"{number:06d}-{attempt}.json"
