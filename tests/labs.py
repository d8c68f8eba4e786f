"""Labs as the real writers leave them: known effects, noise of a seed, and trials that failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from epochal.facts.lab import LabInfo, Trial, TrialState
from epochal.record.media import Predictions
from epochal.store.labs import LabLog, new_lab_id
from epochal.store.writer import RunWriter

SOURCE = '[lab]\nname = "small"\nmodel = "epochal:convnet3d"\n'
SPACE: Mapping[str, Sequence[Any]] = {"dropout": [0.2, 0.5], "filters": [[8, 16], [16, 32]], "lr": [0.1, 0.01]}
TRACEBACK = 'Traceback (most recent call last):\n  File "net.py", line 7, in build\nValueError: pooled to nothing\n'


def quality(parameters: Mapping[str, Any]) -> float:
    """Dropout 0.2 is worth 4 points, the wider filters 2, the smaller learning rate 6."""
    worth = {"dropout": (0.2, 0.04), "filters": ([16, 32], 0.02), "lr": (0.01, 0.06)}
    return 0.8 + sum(points for name, (value, points) in worth.items() if parameters[name] == value)


def make_lab(
    root: Path,
    *,
    name: str = "small",
    repeats: int = 2,
    epochs: int = 8,
    failed: int = 1,
    noise: float = 0.004,
    space: Mapping[str, Sequence[Any]] = SPACE,
    of: Callable[[Mapping[str, Any]], float] = quality,
    ended: bool = True,
) -> LabInfo:
    """A lab whose last `failed` trials ended badly; where it is not `ended`, the last trial still waits."""
    points = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    planned = tuple(
        Trial(number=r * len(points) + c, configuration=c, repeat=r, seed=r, parameters=point)
        for r, (c, point) in product(range(repeats), enumerate(points))
    )
    info = LabInfo(
        id=new_lab_id(),
        name=name,
        project=name,
        created=time.time(),
        model="epochal:convnet3d",
        data="epochal:mnist3d",
        repeats=repeats,
        source=SOURCE,
        trials=planned,
    )
    with LabLog(root, info) as log:
        for trial in planned if ended else planned[:-1]:
            _train(root, info, log, trial, epochs, of, noise, bad=trial.number >= len(planned) - failed)
    return info


def _train(
    root: Path,
    info: LabInfo,
    log: LabLog,
    trial: Trial,
    epochs: int,
    of: Callable[[Mapping[str, Any]], float],
    noise: float,
    *,
    bad: bool,
) -> None:
    rng = np.random.default_rng(trial.number)
    config = {**trial.parameters, "lab": info.id, "trial": trial.number, "epochs": epochs}
    writer = RunWriter.create(root, project=info.project, name=f"trial {trial.number}", group=info.id, config=config)
    log.started(trial, attempt=1, run=writer.run_id)
    goal = of(trial.parameters) + noise * float(rng.normal())
    for epoch in range(1, (2 if bad else epochs) + 1):
        accuracy = goal * (1 - 0.5**epoch)
        row = {"train/loss": 1.2 - accuracy, "val/loss": 1.3 - accuracy, "train/accuracy": accuracy + 0.02}
        writer.append_many({**row, "val/accuracy": accuracy, "epoch": epoch}, epoch * 10, time.time())
    state = TrialState(trial=trial, run=writer.run_id, attempt=1, seconds=2.0 + trial.number)
    if bad:
        writer.finish("failed", error="pooled to nothing")
        log.ended(replace(state, status="failed", error="ValueError: pooled to nothing", traceback=TRACEBACK))
        return
    labels = np.arange(40) % 4
    chances = np.full((40, 4), 0.1)
    chances[np.arange(40), np.where(rng.random(40) < goal, labels, (labels + 1) % 4)] = 0.7
    writer.add_media("predictions", Predictions(labels=labels, probabilities=chances), step=epochs * 10, t=time.time())
    writer.finish()
    metrics = {"val_accuracy": goal, "val_loss": 1.3 - goal, "best_epoch": float(epochs)}
    log.ended(replace(state, status="finished", metrics=metrics))
