"""3D MNIST and the networks on it: what building takes, and what recording a training costs beside PyTorch alone."""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.table import Row, show

EXAMPLES = (10_000, 2_000)
BLOCKS, STEPS, BATCH = 100, 13, 64
EPOCH_STEPS = 130
"""Of the 8,334 examples that train."""
NETWORK: dict[str, Any] = {
    "filters": [32, 64], "kernel_sizes": [5, 3], "stride": [2, 1], "pool_sizes": [2, 2], "dense": 128, "dropout": 0.3,
}  # fmt: skip


def built() -> list[Row]:
    """Build all 12,000 grids in a process of its own, so that the memory is that of the building."""
    code = f"from bench.lab.volumes import build; build({EXAMPLES[0]}, {EXAMPLES[1]})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wall, processor, memory, again = map(float, done.stdout.split())
    return [
        Row("12,000 grids built", wall, "s", 20),
        Row("of the processor", processor, "s"),
        Row("memory, the most of the whole process", memory, "MB", 300),
        Row("the same from the cache", again, "s"),
    ]


def build(training: int, test: int) -> None:
    """Print how long it takes, in seconds and in those of the processor, the memory, and the second time."""
    from epochal.demos.images import Images, find_mnist
    from epochal.demos.mnist3d import mnist3d

    with tempfile.TemporaryDirectory() as folder:
        images = find_mnist() if os.environ.get("EPOCHAL_DATA") else _strokes(Images, max(training, 2 * test) // 2)
        started, processor = time.perf_counter(), time.process_time()
        mnist3d(training=training, test=test, images=images, cache=Path(folder))
        wall, processor = time.perf_counter() - started, time.process_time() - processor
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        mnist3d(training=training, test=test, images=images, cache=Path(folder))
        sys.stdout.write(f"{wall} {processor} {memory} {time.perf_counter() - started}\n")


def _strokes(kind: Any, n: int) -> Any:
    """Pictures with about as many lit pixels as digits have (150), where MNIST is not at hand."""
    random = np.random.default_rng(0)
    pictures = np.zeros((n, 28, 28), np.uint8)
    for picture in pictures:
        at = np.array([14.0, 14.0])
        for _ in range(70):
            at = np.clip(at + random.normal(0, 1.5, 2), 5, 21)
            row, column = at.astype(int)
            picture[row : row + 2, column : column + 2] = 255
    labels = random.integers(0, 10, n)
    return kind(
        name="strokes",
        source="bench",
        training=(pictures, labels),
        test=(pictures, labels),
        classes=tuple("0123456789"),
    )


def recorded() -> list[Row]:
    """The same network on the same batches, alone and recorded, in turn.

    Beside other busy processes only what the recorder measured of itself can be trusted: it keeps a share of the time
    that passes, and a training that has to wait for the processor passes it more slowly than its looks do.
    """
    import torch
    from torch.nn.functional import cross_entropy

    import epochal
    from epochal.demos.convnet import convnet3d
    from epochal.store import StoredRun

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.rand(40 * BATCH, 16, 16, 16), torch.randint(0, 10, (40 * BATCH,))
    networks = [convnet3d(**NETWORK) for _ in range(2)]
    optimisers = [torch.optim.Adam(network.parameters()) for network in networks]

    def block(which: int, first: int, run: epochal.Run | None) -> float:
        network, optimiser = networks[which], optimisers[which]
        started = time.perf_counter()
        for step in range(first, first + STEPS):
            rows = slice(step % 40 * BATCH, (step % 40 + 1) * BATCH)
            optimiser.zero_grad()
            scores = network(x[rows])
            loss = cross_entropy(scores, y[rows])
            loss.backward()
            optimiser.step()
            value, right = loss.item(), (scores.argmax(1) == y[rows]).float().mean().item()
            if run is not None:
                run.log({"loss": value, "accuracy": right}, step=step, epoch=step // EPOCH_STEPS)
        return time.perf_counter() - started

    alone: list[float] = []
    beside: list[float] = []
    shares: list[float] = []
    began = 0.0
    with tempfile.TemporaryDirectory() as folder:
        # Of two equal networks one is faster by some percent, by where its memory lies: each is recorded once.
        for watched in (1, 0):
            run = epochal.init("bench", dir=folder)
            started = time.perf_counter()
            run.watch(networks[watched], inputs=(x[:8],))
            began = time.perf_counter() - started
            for which in (0, 1):
                block(which, 0, run if which == watched else None)
            for number in range(1, BLOCKS + 1):
                # Which goes first changes, so that neither always finds the caches warm.
                taken = {}
                for which in (0, 1) if number % 2 else (1, 0):
                    taken[which] = block(which, number * STEPS, run if which == watched else None)
                alone.append(taken[1 - watched])
                beside.append(taken[watched])
            path = run.path
            run.finish()
            shares.append(float(StoredRun(path).info().recorder["share"]) if path else 0.0)
    halves = [slice(0, BLOCKS), slice(BLOCKS, None)]
    slower = [sum(beside[half]) / sum(alone[half]) for half in halves]
    pairs = [statistics.median(b / a for a, b in zip(alone[half], beside[half], strict=True)) for half in halves]
    return [
        Row("a step alone", 1e3 * statistics.median(alone) / STEPS, "ms"),
        Row("a step recorded", 1e3 * statistics.median(beside) / STEPS, "ms"),
        Row("slowdown, all steps", 100 * (math.sqrt(math.prod(slower)) - 1), "%", 2),
        Row("slowdown, median of blocks", 100 * (math.sqrt(math.prod(pairs)) - 1), "%", 2),
        Row("as much is one network slower than the other", 100 * (math.sqrt(slower[0] / slower[1]) - 1), "%"),
        Row("looks take, as the recorder measures it", 100 * max(shares), "%", 2),
        Row("once, when watching begins", began, "s"),
    ]


def main() -> None:
    show("3D MNIST", built())
    show(f"A network of three dimensions, {STEPS * BLOCKS} steps with loss and accuracy of each, watched", recorded())


if __name__ == "__main__":
    main()
