"""Real runs, recorded by the real writer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from epochal.facts import HISTOGRAM_BINS, Edge, Graph, Layer, Parameter
from epochal.store.graphs import graph_to_json
from epochal.store.writer import RunWriter

STEPS = 60
EVERY = 10


def statistics(series: list[str], step: int, values: list[np.ndarray]) -> dict[str, Any]:
    """Columns as `add_statistics` takes them."""
    counts, edges = zip(*(np.histogram(v, HISTOGRAM_BINS) for v in values), strict=True)
    return {
        "series": series,
        "step": step,
        "t": time.time(),
        "mean": [float(v.mean()) for v in values],
        "std": [float(v.std()) for v in values],
        "min": [float(v.min()) for v in values],
        "max": [float(v.max()) for v in values],
        "norm": [float(np.linalg.norm(v)) for v in values],
        "update_ratio": [float("nan")] * len(values),
        "zeros": [int((v == 0).sum()) for v in values],
        "nan": [0] * len(values),
        "inf": [0] * len(values),
        "size": [v.size for v in values],
        "seen": [v.size for v in values],
        "lo": [float(e[0]) for e in edges],
        "hi": [float(e[-1]) for e in edges],
        "counts": np.array(counts, np.uint32),
    }


def weights(step: int) -> dict[str, np.ndarray]:
    """The parameters at a step, different at each."""
    rng = np.random.default_rng(7)
    return {
        "layers.0.weight": rng.normal(size=(12, 4)).astype(np.float32) * np.float32(1 + step / 100),
        "layers.0.bias": rng.normal(size=12).astype(np.float32) + np.float32(step / 50),
        "layers.2.weight": rng.normal(size=(3, 12)).astype(np.float32),
    }


def graph() -> Graph:
    """What the network is."""
    return Graph(
        source="export",
        model="Sequential",
        framework="torch",
        layers=(
            Layer(layer_id="input", kind="input", role="input", outputs=((-1, 4),)),
            Layer(
                layer_id="layers.0",
                kind="Linear",
                inputs=((-1, 4),),
                outputs=((-1, 12),),
                activation="relu",
                parameters=(
                    Parameter(name="layers.0.weight", shape=(12, 4), dtype="float32", role="weight"),
                    Parameter(name="layers.0.bias", shape=(12,), dtype="float32", role="bias"),
                ),
            ),
        ),
        edges=(Edge(source="input", target="layers.0"),),
    )


def begin(root: Path, *, project: str = "iris", **facts: Any) -> RunWriter:
    """A writer of a new run."""
    facts = {
        "name": "Brave Falcon",
        "config": {"lr": 0.1, "epochs": 3, "model": {"depth": 2}},
        "tags": ["best"],
        **facts,
    }
    return RunWriter.create(root, project=project, **facts)


def fill(writer: RunWriter) -> None:
    """Sixty steps of a training with everything that is recorded of one."""
    for step in range(STEPS):
        writer.log({"loss": 1 / (step + 1), "val_loss": 2 / (step + 1), "epoch": step // 20}, step)
        if step % EVERY == 0:
            now = weights(step)
            writer.add_snapshot("params", now, step=step, epoch=step / 20)
            names = [*(f"param/{n}" for n in now), *(f"grad/{n}" for n in now), "act/layers.0"]
            values = [*now.values(), *(v / 10 for v in now.values()), np.maximum(now["layers.0.bias"], 0)]
            writer.add_statistics(statistics(names, step, values))
    writer.log({"loss": float("nan")}, STEPS)
    writer.log({"loss": float("inf")}, STEPS + 1)
    writer.put_file("network/graph.json", graph_to_json(graph()))
    writer.put_file("network/network.pt2", b"not looked into here")


def record(root: Path, **facts: Any) -> str:
    """A whole run that finished; its `project/run_id`."""
    writer = begin(root, **facts)
    fill(writer)
    writer.finish()
    return f"{writer.project}/{writer.run_id}"
