"""One attempt at a trial, in a process of its own: begin its run, train, and leave word of how it ended."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from epochal.errors import EpochalError, MissingExtraError, UsageError
from epochal.facts.lab import TrialState
from epochal.lab.metrics import metrics_of
from epochal.lab.named import find_code
from epochal.lab.pulse import Pulse, StopTrial
from epochal.lab.runner import Task
from epochal.record import Run, init
from epochal.store import RunFolder, StoredRun
from epochal.store.labs import write_outcome
from epochal.store.segments import expect_streaming

__all__ = ["INSIDE", "own_training", "run_trial", "trial_name"]

INSIDE = "EPOCHAL_LAB_TRIAL"
"""Set in the process of a trial: a script that begins a lab must not begin another one in it."""
TRACEBACK_CHARS = 20_000
_SCRIPT = "__epochal_script__"


def trial_name(lab: str, number: int) -> str:
    """What the run of a trial is called."""
    return f"{lab} {number}"


def run_trial(task: Task) -> TrialState:
    """Train, record, and leave word of the outcome; returns it too. Raises nothing that the training raised."""
    os.environ[INSIDE] = f"{task.lab_id}/{task.trial.number}"
    for place in reversed(task.sys_path):
        if place not in sys.path:
            sys.path.insert(0, place)
    if task.store is not None:
        expect_streaming()
    began = time.monotonic()
    state = TrialState(trial=task.trial, status="failed", run=task.run_id, attempt=task.attempt)
    try:
        state = _recorded(task, state)
    except Exception as error:  # noqa: BLE001 - the edge of the trial: whatever went wrong is its outcome
        state = _failed(state, error)
    path = RunFolder.of(Path(task.root), task.project, task.run_id).path
    there = (path / "run.json").is_file()
    metrics = {**metrics_of(path, objective=task.objective), **state.metrics} if there else {}
    state = replace(state, run=task.run_id if there else None, metrics=metrics, seconds=time.monotonic() - began)
    write_outcome(task.lab_path, state)
    return state


def _recorded(task: Task, state: TrialState) -> TrialState:
    trial = task.trial
    run = init(
        task.project,
        name=trial_name(task.lab_name, trial.number),
        config={
            **trial.parameters,
            "lab": task.lab_id,
            "trial": trial.number,
            "configuration": trial.configuration,
            "repeat": trial.repeat,
            "seed": trial.seed,
        },
        dir=task.root,
        group=task.lab_id,
        id=task.run_id,
        resume="allow",
        rank=0,
        world_size=1,
    )
    with run:
        try:
            train = _training(task, run)
            pulse = Pulse(task, asks=train.asks)
            run.overhear(pulse.heard)
            _seed(trial.seed)
            found = _numbers(train.call(pulse))
            stopped = pulse.reason if pulse.kind is not None else ""
            again = pulse.kind in ("interrupted", "budget")
        except StopTrial as stop:
            found, stopped, again = {}, str(stop), pulse.kind in ("interrupted", "budget")
        except EpochalError as error:
            if error.code != "diverged":
                raise
            found, stopped, again = {}, error.message, False
        except SystemExit as leaving:
            if leaving.code:
                raise RuntimeError(f"the training ended its process: sys.exit({leaving.code!r})") from leaving
            found, stopped, again = {}, "", False
        if stopped:
            run.finish("stopped", error=stopped)
            return replace(state, status="stopped", error=stopped, metrics=found, resumable=again)
        run.finish()
    return replace(state, status="finished", metrics=found)


class _Training:
    """The function that trains, called with those of our arguments that it takes."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any], *, asks: bool) -> None:
        self.asks = asks
        self._function = function
        self._arguments = arguments

    def call(self, pulse: Pulse) -> Any:
        """Train."""
        asking = {"should_stop": pulse.should_stop} if self.asks else {}
        return self._function(**self._arguments, **asking)


def _training(task: Task, run: Run) -> _Training:
    trial = task.trial
    parameters = dict(trial.parameters)
    if task.train is None:
        training = own_training()
        if task.stop_on_nan:
            parameters.setdefault("stop_on_nan", True)
        kept = training.read_checkpoint(run.path) if task.restore else None
        arguments = {"run": run, "parameters": parameters, "seed": trial.seed, "restore": kept}
        arguments |= {"model": task.model, "data": task.data, "validation": task.validation}
        return _Training(training.train, arguments, asks=True)
    function = _find(task.train)
    taken = _takes(function, task.train)
    arguments = {"run": run, "parameters": parameters, "seed": trial.seed}
    if "restore" in taken:
        arguments["restore"] = _last_snapshot(run) if task.restore else None
    return _Training(function, arguments, asks="should_stop" in taken)


def own_training() -> Any:
    """The lab's own training. Raises MissingExtraError without PyTorch."""
    try:
        return importlib.import_module("epochal.lab.training")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("Training a model needs PyTorch.", hint="pip install 'epochal[torch]'") from error


def _find(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` means, or `path/to/script.py:function`."""
    where, _, what = name.rpartition(":")
    if not where.endswith(".py"):
        return find_code(name, what="training")
    path = Path(where).resolve()
    if not path.is_file():
        raise UsageError(f"There is no file {where}", hint=f"named by train = {name!r}")
    # Under another name than __main__, so that what the script does when it is run is not done again.
    spec = importlib.util.spec_from_file_location(_SCRIPT, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{where} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_SCRIPT] = module
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    function = getattr(module, what, None)
    if not callable(function):
        raise UsageError(f"{where} has no function {what!r}", hint="it must stand at the top level of the file")
    found: Callable[..., Any] = function
    return found


def _takes(function: Callable[..., Any], name: str) -> set[str]:
    """Those of our further arguments that it takes. Raises UsageError where it does not take the usual ones."""
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return set()
    anything = any(p.kind is p.VAR_KEYWORD for p in known.values())
    if lacking := [each for each in ("run", "parameters", "seed") if each not in known and not anything]:
        raise UsageError(
            f"{name} does not take {' and '.join(lacking)}", hint="define it as def train(run, parameters, seed): ..."
        )
    return {"restore", "should_stop"} & set(known)


def _last_snapshot(run: Run) -> dict[str, Any] | None:
    """What a training of the user's own goes on from: `step`, `epoch` and `parameters` of the last snapshot."""
    if run.path is None:
        return None
    stored = StoredRun(run.path)
    steps = stored.snapshot_steps()
    if not steps:
        return None
    found: dict[str, Any] = {
        "step": steps[-1],
        "epoch": None,
        "parameters": stored.snapshot(steps[-1]),
        "folder": run.path,
    }
    if epoch := stored.snapshot_header(steps[-1]).metadata.get("epoch"):
        found["epoch"] = float(epoch)
    return found


def _seed(seed: int) -> None:
    """Set what draws random numbers without being asked for a seed; a training may set its own again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def _numbers(returned: object) -> dict[str, float]:
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise UsageError(
            f"the training returned a {type(returned).__name__}", hint="return a dictionary of metrics, or nothing"
        )
    found: dict[str, float] = {}
    for name, value in returned.items():
        try:
            found[str(name).replace("/", "_")] = float(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"the training returned {name} = {value!r}, which is no number", hint="log other values with run.log"
            ) from None
    return found


def _failed(state: TrialState, error: Exception) -> TrialState:
    text = "".join(traceback.format_exception(error))
    if len(text) > TRACEBACK_CHARS:
        text = f"{text[: TRACEBACK_CHARS // 2]}\n...\n{text[-TRACEBACK_CHARS // 2 :]}"
    if isinstance(error, EpochalError):
        said = f"{error.message} ({error.hint})" if error.hint else error.message
    else:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return replace(state, status="failed", error=said, traceback=text)
