"""How long films, reports and the first word of the command line take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.table import Row, show
from epochal import export
from epochal.errors import NotFoundError
from epochal.picture import DIVERGING, ColourScale, MatricesScene, Matrix, save, theme
from epochal.store import RunWriter, StoredRun

FRAMES = 200


def timed(job: Callable[[], object], *, times: int = 3) -> tuple[float, float]:
    """Best wall and processor seconds."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        job()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def scene(size: tuple[int, int]) -> MatricesScene:
    """Three layers of the Iris network, walking."""
    rng = np.random.default_rng(0)

    def walk(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape)[None] + np.cumsum(rng.normal(0, 0.02, (FRAMES, *shape)), 0)

    matrices = [
        Matrix(title=f"layers.{2 * i}", subtitle=f"{c} → {r}", values=walk(r, c), bias=walk(r))
        for i, (r, c) in enumerate([(12, 4), (12, 12), (3, 12)])
    ]
    light = theme("light")
    scale = ColourScale.symmetric(1.5, cmap=DIVERGING, theme=light, label="weight")
    captions = [f"epoch {i} · step {i * 120:,}" for i in range(FRAMES)]
    return MatricesScene(matrices, scale, light, "bench", captions, wanted=size)


def record(root: Path) -> StoredRun:
    """A 784-128-10 network at 200 steps, and four series of 50,000 numbers."""
    writer = RunWriter.create(root, project="bench")
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (128, 784), "0.bias": (128,), "2.weight": (10, 128), "2.bias": (10,)}
    tensors = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    for step in range(FRAMES):
        for tensor in tensors.values():
            tensor += rng.normal(0, 0.002, tensor.shape).astype(np.float32)
        writer.add_snapshot("params", tensors, step=step, epoch=float(step))
    for step in range(50_000):
        writer.log({"loss": 1 / (step + 1), "val_loss": 1.1 / (step + 1), "accuracy": 0.9, "val_accuracy": 0.8}, step)
    writer.finish()
    return StoredRun(writer.path)


def main() -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = scene((800, 600))
        for suffix, target in (("gif", 4.0), ("mp4", 3.0)):
            path = folder / f"a.{suffix}"

            def write(path: Path = path) -> None:
                save(small, path, fps=20)

            wall, cpu = timed(write)
            size = f"{path.stat().st_size / 1e6:.2f} MB, {cpu:.1f} s of processor"
            rows.append(Row(f"{suffix.upper()}, {FRAMES} frames 800x600", wall, "s", target, size))
        run = record(folder / "runs")
        jobs = [
            ("weights.gif", 10.0), ("weights.mp4", 10.0), ("weights.png", None), ("scalars.png", 1.0),
            ("scalars.csv", None), ("scalars.parquet", None), ("weights.parquet", None), ("all.html", 10.0),
        ]  # fmt: skip
        for file, most in jobs:
            what, _, suffix = file.partition(".")
            to = folder / file

            def make(to: Path = to, what: str = what) -> None:
                export.write(run, to=to, what=what, size="800x600" if to.suffix in (".gif", ".mp4") else None)

            try:
                wall, cpu = timed(make, times=1)
            except NotFoundError as error:  # the Studio was not built
                sys.stderr.write(f"{file}: {error}\n")
                continue
            size = f"{to.stat().st_size / 1e6:.2f} MB, {cpu:.1f} s of processor"
            rows.append(
                Row(f"export {file} of 784-128-10 at {FRAMES} steps, 4 x 50,000 numbers", wall, "s", most, size)
            )
        command = [sys.executable, "-m", "epochal.cli.main", "--help"]
        wall, _ = timed(lambda: subprocess.run(command, check=True, capture_output=True), times=5)
        rows.append(Row("epochal --help", wall, "s", 0.3))
    show("Exports and the command line", rows)


if __name__ == "__main__":
    main()
