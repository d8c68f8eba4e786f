"""Trainings that trials of the tests run, by name, in processes of their own."""

from __future__ import annotations

import ctypes
import importlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from epochal import Run

_seen: list[int] = []


def curve(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    """A loss that falls by a factor each epoch, with a little noise out of the seed."""
    rng = np.random.default_rng(seed)
    rate, epochs = float(parameters.get("rate", 0.5)), int(parameters.get("epochs", 4))
    loss = 1.0
    for epoch in range(epochs):
        loss *= rate
        value = float("nan") if parameters.get("nan_at") == epoch else loss + 0.001 * rng.normal()
        run.log({"train/loss": value, "val/accuracy": 1.0 - loss}, step=epoch, epoch=epoch)
        time.sleep(float(parameters.get("sleep", 0.0)))
    return {"final": loss}


def endless(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    """Logs until it is ended."""
    step = 0
    while True:
        run.log({"loss": 1.0 / (step + 1), "pid": float(os.getpid())}, step=step)
        step += 1
        time.sleep(0.02)


def polite(run: Run, parameters: Mapping[str, Any], seed: int, should_stop: Callable[[], bool]) -> dict[str, float]:
    """Logs until it is asked to stop, and then still tells what it has."""
    step = 0
    while not should_stop():
        run.log({"loss": 1.0 / (step + 1)}, step=step)
        step += 1
        time.sleep(0.02)
    return {"steps": float(step)}


def imports(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Needs a large library, and tells whether it was there already."""
    there = "sklearn" in sys.modules
    importlib.import_module("sklearn.datasets")
    return {"there": float(there)}


def silent(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    """Hears of nothing."""
    run.log({"pid": float(os.getpid())})
    time.sleep(600)


def wrong(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    run.log({"loss": 1.0}, step=0)
    filters, kernels = parameters["filters"], parameters["kernels"]
    raise ValueError(f"{len(filters)} filters for {len(kernels)} kernels")


def killed(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    run.log({"loss": 0.25}, step=0)
    os.kill(os.getpid(), int(parameters.get("signal", signal.SIGKILL)))
    time.sleep(60)


def crashes(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    ctypes.string_at(0)


def exits(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    sys.exit(int(parameters.get("code", 3)))


def chatters(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    print("the first line")
    line = "x" * 99
    for _ in range(80_000):
        print(line)
    os.write(1, b"y" * 3_000_000)
    run.log({"loss": 0.5}, step=0)
    return {"val_accuracy": 0.5}


def fresh(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    """What is left of the trial before, and what random numbers come first."""
    _seen.append(1)
    drawn = random.random() + float(np.random.random())
    return {"seen": float(len(_seen)), "drawn": drawn, "pid": float(os.getpid())}


def threads(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    cores, began = sorted(os.sched_getaffinity(0)), time.time()
    time.sleep(1.0)
    return {
        "cores": float(len(cores)),
        "first": float(cores[0]),
        "threads": float(os.environ["OMP_NUM_THREADS"]),
        "began": began,
        "ended": time.time(),
    }


def hungry(run: Run, parameters: Mapping[str, Any], seed: int) -> None:
    kept = np.ones(int(parameters["bytes"]) // 8)
    time.sleep(60)
    run.log({"sum": float(kept.sum())})


def ends_after_its_word(run: Run, parameters: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Is killed right after it has left word of how it ended."""
    assert run.path is not None
    project = run.path.parent

    def wait() -> None:
        while not list(project.glob(".labs/*/outcomes/*.json")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
    run.log({"loss": 0.125}, step=0)
    return {"val_accuracy": 0.75}


def resumes(
    run: Run, parameters: Mapping[str, Any], seed: int, restore: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Adds one to a weight each epoch; goes on from the last snapshot. Each epoch leaves a mark of who trained it."""
    weight = np.zeros(1)
    first = 0
    if restore is not None:
        weight[:] = restore["parameters"]["weight"]
        first = int(restore["step"]) + 1
    run.watch({"weight": weight}, snapshots=1)
    marks = Path(parameters["marks"])
    for step in range(first, int(parameters.get("epochs", 12))):
        weight += 1.0
        run.log({"weight": float(weight[0]), "val/accuracy": step / 100}, step=step, epoch=step)
        (marks / f"{parameters['name']}-{step}-{os.getpid()}").touch()
        time.sleep(float(parameters.get("sleep", 0.1)))
    return {"weight": float(weight[0]), "first": float(first)}


def returns_text(run: Run, parameters: Mapping[str, Any], seed: int) -> Any:
    return {"val_accuracy": "very good"}


def takes_other(run: Run, settings: Mapping[str, Any]) -> None:
    """Does not take what a lab gives."""
