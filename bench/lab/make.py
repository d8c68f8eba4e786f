"""Labs to measure and look at, written by the real writers: curves that fall, effects that are known."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from epochal.facts.lab import LabInfo, Trial, TrialState
from epochal.store.labs import LabLog, new_lab_id
from epochal.store.writer import RunWriter

SPACE: Mapping[str, list[Any]] = {
    "filters": [[8, 16], [16, 32], [32, 64]],
    "dropout": [0.2, 0.5],
    "learning_rate": [0.1, 0.01, 0.001],
    "batch_norm": [True, False],
    "activation": ["relu", "elu"],
    "optimiser": ["sgd", "adam"],
    "batch_size": [32, 64, 128],
}
"""1,296 configurations at most."""

SOURCE = """[lab]
name = "made"
model = "epochal:convnet3d"
data = "epochal:mnist3d"
repeats = {repeats}

[space]
filters = [[8, 16], [16, 32], [32, 64]]
dropout = [0.2, 0.5]
learning_rate = [0.1, 0.01, 0.001]
"""


def quality(parameters: Mapping[str, Any]) -> float:
    """The accuracy that a configuration comes to without noise: each effect is written here."""
    at = 0.85
    at += {8: 0.0, 16: 0.02, 32: 0.03}[parameters["filters"][0]]
    at += 0.02 if parameters["dropout"] == 0.2 else 0.0
    at -= {0.1: 0.08, 0.01: 0.0, 0.001: 0.03}[parameters["learning_rate"]]
    if parameters["batch_norm"]:
        at += 0.05 if parameters["learning_rate"] == 0.1 else 0.01
    return at


def curves(rng: np.random.Generator, quality: float, epochs: int) -> list[dict[str, float]]:
    """What a training of this quality logs, an epoch each."""
    rows = []
    for epoch in range(1, epochs + 1):
        way = 1 - math.exp(-epoch / 4)
        accuracy = 0.1 + (quality - 0.1) * way + float(rng.normal()) * 0.006
        trained = accuracy + 0.05 * way
        rows.append(
            {
                "train/loss": 2.3 * (1 - trained) + 0.02,
                "val/loss": 2.3 * (1 - accuracy) + 0.05,
                "train/accuracy": min(1.0, trained),
                "val/accuracy": min(1.0, accuracy),
                "seconds": 0.9 + float(rng.random()) * 0.2,
                "epoch": float(epoch),
            }
        )
    return rows


def make(
    root: Path,
    *,
    trials: int,
    repeats: int = 3,
    epochs: int = 30,
    failed: int = 3,
    name: str = "made",
    seed: int = 0,
    space: Mapping[str, list[Any]] = SPACE,
    predictions: bool = False,
) -> LabInfo:
    """A lab of so many trials, all ended, the last `failed` of them badly; a seed's noise is 0.8 points."""
    size = math.ceil(trials / repeats)
    points = list(islice((dict(zip(space, values, strict=True)) for values in _spread(space)), size))
    planned = tuple(
        Trial(number=r * size + c, configuration=c, repeat=r, seed=r, parameters=point)
        for r in range(repeats)
        for c, point in enumerate(points)
    )[:trials]
    info = LabInfo(
        id=new_lab_id(),
        name=name,
        project=name,
        created=time.time(),
        model="epochal:convnet3d",
        data="epochal:mnist3d",
        repeats=repeats,
        source=SOURCE.format(repeats=repeats),
        trials=planned,
    )
    with LabLog(root, info) as log:
        for trial in planned:
            rng = np.random.default_rng([seed, trial.number])
            _train(root, info, log, trial, rng, epochs, bad=trial.number >= trials - failed, said=predictions)
    return info


def _spread(space: Mapping[str, list[Any]]) -> Any:
    """All points, the last parameter changing slowest: the first hundred differ in what matters most."""
    return (values[::-1] for values in product(*reversed(list(space.values()))))


def _train(
    root: Path,
    info: LabInfo,
    log: LabLog,
    trial: Trial,
    rng: np.random.Generator,
    epochs: int,
    *,
    bad: bool,
    said: bool,
) -> None:
    facts = {"lab": info.id, "trial": trial.number, "configuration": trial.configuration, "repeat": trial.repeat}
    config = {**trial.parameters, **facts, "seed": trial.seed, "epochs": epochs}
    writer = RunWriter.create(root, project=info.project, name=f"trial {trial.number}", group=info.id, config=config)
    log.started(trial, attempt=1, run=writer.run_id)
    goal = quality({**{k: v[0] for k, v in SPACE.items()}, **trial.parameters}) + float(rng.normal()) * 0.008
    rows = curves(rng, goal, 2 if bad else epochs)
    now = time.time()
    for epoch, row in enumerate(rows, 1):
        writer.append_many(row, epoch * 10, now + epoch)
    if said and not bad:
        _say(writer, rng, goal, epochs * 10)
    state = TrialState(trial=trial, run=writer.run_id, attempt=1, seconds=float(sum(row["seconds"] for row in rows)))
    if bad:
        error = "stage 4 pools a grid of 1×1×1 by 2: nothing would be left"
        writer.finish("failed", error=error)
        text = f'Traceback (most recent call last):\n  File "convnet.py", line 71, in build\nValueError: {error}\n'
        log.ended(_ended(state, "failed", error=f"ValueError: {error}", traceback=text))
        return
    writer.finish()
    best = max(rows, key=lambda row: row["val/accuracy"])
    metrics = {
        "val_accuracy": rows[-1]["val/accuracy"],
        "val_loss": rows[-1]["val/loss"],
        "train_accuracy": rows[-1]["train/accuracy"],
        "train_loss": rows[-1]["train/loss"],
        "best_val_accuracy": best["val/accuracy"],
        "best_epoch": best["epoch"],
        "test_accuracy": goal,
    }
    log.ended(_ended(state, "finished", metrics=metrics))


def _ended(state: TrialState, status: Any, **facts: Any) -> TrialState:
    return TrialState(trial=state.trial, status=status, run=state.run, attempt=1, seconds=state.seconds, **facts)


def _say(writer: RunWriter, rng: np.random.Generator, goal: float, step: int) -> None:
    from epochal.record.media import Predictions

    labels = np.arange(200) % 10
    chances = rng.random((200, 10)) * 0.5
    right = rng.random(200) < goal
    chances[np.arange(200), np.where(right, labels, (labels + 3) % 10)] += 1
    value = Predictions(labels=labels, probabilities=chances / chances.sum(axis=1, keepdims=True))
    writer.add_media("predictions", value, step=step, t=time.time())


def main() -> None:
    """`python -m bench.lab.make FOLDER --trials 48`: a lab to look at."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--failed", type=int, default=3)
    parser.add_argument("--name", default="made")
    parser.add_argument("--predictions", action="store_true")
    chosen = vars(parser.parse_args())
    make(chosen.pop("root"), **chosen)


if __name__ == "__main__":
    main()
