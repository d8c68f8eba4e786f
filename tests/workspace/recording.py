"""A small run, recorded through the real writer, and what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.facts import Edge, Graph, Layer, Parameter
from epochal.store import RunWriter, graph_to_json


@dataclass
class Recorded:
    """A run and its truth."""

    root: Path
    writer: RunWriter
    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    params: dict[int, dict[str, npt.NDArray[Any]]] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.writer.project}/{self.writer.run_id}"

    def log(self, step: int, **values: float) -> None:
        self.writer.log(values, step, 1000.0 + step)
        for name, value in values.items():
            self.scalars.setdefault(name, []).append((step, value))

    def snapshot(self, step: int, epoch: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shapes = {"0.weight": (12, 4), "0.bias": (12,), "2.weight": (3, 12), "2.bias": (3,)}
        tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        self.writer.add_snapshot("params", tensors, step=step, epoch=epoch)
        self.writer.add_snapshot("grads", {n: t * 0.1 for n, t in tensors.items()}, step=step, epoch=epoch)
        self.params[step] = tensors
        rows = []
        for name, tensor in tensors.items():
            values = tensor.astype(np.float64).ravel()
            counts, edges = np.histogram(values, 64)
            rows.append((f"param/{name}", values, counts, edges))
        self.writer.add_statistics(
            {
                "series": [r[0] for r in rows],
                "step": step,
                "t": 1000.0 + step,
                "mean": [r[1].mean() for r in rows],
                "std": [r[1].std() for r in rows],
                "min": [r[1].min() for r in rows],
                "max": [r[1].max() for r in rows],
                "norm": [np.linalg.norm(r[1]) for r in rows],
                "update_ratio": np.nan,
                "zeros": 0,
                "nan": 0,
                "inf": 0,
                "size": [len(r[1]) for r in rows],
                "seen": [len(r[1]) for r in rows],
                "lo": [r[3][0] for r in rows],
                "hi": [r[3][-1] for r in rows],
                "counts": np.stack([r[2] for r in rows]).astype(np.uint32),
            }
        )


def graph() -> Graph:
    def linear(name: str, inputs: int, outputs: int, activation: str | None) -> Layer:
        return Layer(
            layer_id=name,
            kind="Linear",
            module=name,
            inputs=((-1, inputs),),
            outputs=((-1, outputs),),
            parameters=(
                Parameter(name=f"{name}.weight", shape=(outputs, inputs), dtype="float32", role="weight"),
                Parameter(name=f"{name}.bias", shape=(outputs,), dtype="float32", role="bias"),
            ),
            activation=activation,
        )

    return Graph(
        source="declared",
        layers=(linear("0", 4, 12, "relu"), linear("2", 12, 3, None)),
        edges=(Edge(source="0", target="2"),),
        model="Sequential",
    )


def record(root: Path, *, project: str = "iris", name: str = "iris-12", epochs: int = 5) -> Recorded:
    """Write a run whose `val_loss` has a NaN and an infinity in it."""
    writer = RunWriter.create(root, project=project, name=name, config={"lr": 0.1, "epochs": epochs})
    made = Recorded(root, writer)
    writer.put_file("network/graph.json", graph_to_json(graph()))
    writer.define("accuracy", better="max")
    for epoch in range(epochs):
        step = epoch * 10
        odd = {1: np.nan, 2: np.inf}.get(epoch, 0.5 / (epoch + 1))
        made.log(step, epoch=float(epoch), loss=1.0 / (epoch + 1), val_loss=odd, accuracy=epoch / epochs)
        made.snapshot(step, float(epoch), seed=epoch)
    return made


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    made = record(tmp_path / "runs")
    made.writer.finish()
    return made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Recorded]:
    made = record(tmp_path / "runs", epochs=3)
    yield made
    made.writer.finish()
