"""Recordings to measure with, written by the real writers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from epochal.store.writer import RunWriter

SERIES = ("loss", "val_loss", "accuracy", "val_accuracy")


def scalars(root: Path, *, project: str, runs: int, steps: int) -> list[str]:
    """Runs with four noisy series; their `project/run_id`s."""
    made = []
    for number in range(runs):
        values = np.random.default_rng(number).normal(size=(steps, len(SERIES))).cumsum(axis=0).tolist()
        writer = RunWriter.create(root, project=project, name=f"run {number}", config={"seed": number, "lr": 0.1})
        append, now = writer.append_many, time.time()
        for step, row in enumerate(values):
            append(dict(zip(SERIES, row, strict=True)), step, now + step)
        writer.finish()
        made.append(f"{project}/{writer.run_id}")
    return made


def many(root: Path, *, runs: int, metrics: int, steps: int) -> None:
    """A library of small runs."""
    names = [*SERIES, *(f"metric_{k}" for k in range(metrics - len(SERIES)))]
    for number in range(runs):
        config = {"seed": number, "lr": number / runs, "model": {"depth": 3, "width": 64}}
        writer = RunWriter.create(root, project=f"project-{number % 5}", name=f"run {number}", config=config)
        for step in range(steps):
            writer.append_many({name: step * k / 7 for k, name in enumerate(names)}, step, time.time())
        writer.finish()


def film(root: Path, *, shape: tuple[int, int], steps: int) -> str:
    """A run that kept one matrix at each of many steps, its bias beside it."""
    rng = np.random.default_rng(0)
    start, way = rng.normal(size=shape).astype(np.float32), rng.normal(size=shape).astype(np.float32) / steps
    writer = RunWriter.create(root, project="film", name="film")
    for step in range(steps):
        tensors = {"0.weight": start + step * way, "0.bias": way[0]}
        writer.add_snapshot("params", tensors, step=step)
    writer.finish()
    return f"film/{writer.run_id}"


def tensorboard_events(root: Path, *, runs: int, points: int) -> None:
    """The same series as event files."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for number in range(runs):
        values = np.random.default_rng(number).normal(size=(points, len(SERIES))).cumsum(axis=0).tolist()
        writer = EventFileWriter(str(root / f"run-{number:02d}"))
        for step, row in enumerate(values):
            for name, value in zip(SERIES, row, strict=True):
                summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.close()
