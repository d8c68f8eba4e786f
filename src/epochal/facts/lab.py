"""Facts about a lab: a family of trainings, each with its own parameters, and how they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TrialStatus = Literal["waiting", "running", "finished", "failed", "stopped"]
"""`stopped` was ended before its time: by a pruner, a time budget, Ctrl-C, or the death of the process that ran it."""

Mode = Literal["min", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training that a lab asks for.

    `configuration` says which point of the space it is, `repeat` which of the trainings of that point (from 0);
    trials of one configuration have equal parameters and other seeds. Numbers count from 0.
    """

    number: int
    configuration: int
    repeat: int
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialState:
    """How a trial stands: `run` is its run's id in the lab's project, `attempt` counts from 1 (0: never begun).

    `metrics` are flat, as in `epochal demo --json`; `seconds` is the time of the last attempt. `resumable` says that it
    was broken off from outside, so that a lab that is gone on with takes it up again.
    """

    trial: Trial
    status: TrialStatus = "waiting"
    run: str | None = None
    attempt: int = 0
    error: str | None = None
    traceback: str | None = None
    seconds: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    resumable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabInfo:
    """What a lab is. `source` is the text of its lab.toml (empty where it was made in Python), `path` its folder.

    Where `train` is given, that function trains; otherwise `model` is trained on `data`. `trials` holds what was
    planned until now; a lab whose sampler proposes as it goes has more of them later.
    """

    id: str
    name: str
    project: str
    created: float
    model: str | None = None
    data: str | None = None
    objective: str = "val_accuracy"
    mode: Mode = "max"
    repeats: int = 1
    source: str = ""
    trials: tuple[Trial, ...] = ()
    train: str | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
