"""One piece of work with one tracker, in a process of its own: prints one JSON object.

Usage: python -m bench.record.peers.work TRACKER WORK FOLDER
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from bench.record.peers.trackers import TRACKERS, Epochal, Tracker

LOGGED = 5000
Figures = dict[str, float]


def timed(calls: int, call: Callable[[int], object], before: Callable[[int], object] | None = None) -> Figures:
    """Run `call(k)` for each k and return what it took; `before(k)` is not counted."""
    times = [0.0] * calls
    for k in range(calls):
        if before is not None:
            before(k)
        start = perf_counter()
        call(k)
        times[k] = perf_counter() - start
    return {
        "calls": calls,
        "p50_us": statistics.median(times) * 1e6,
        "p99_us": sorted(times)[int(calls * 0.99)] * 1e6,
        "mean_us": statistics.mean(times) * 1e6,
        "loop_s": sum(times),
    }


def loss_curve(n: int, seed: int = 0) -> list[float]:
    """A loss that falls, with noise that does not compress."""
    import numpy as np

    noise = np.random.default_rng(seed).standard_normal(n)
    falling: list[float] = (2.3 * np.exp(-np.arange(n) / (n / 5)) + 0.05 * noise).tolist()
    return falling


def scalars(tracker: Tracker) -> Figures:
    n = 1000 if tracker.slow else 100_000
    values = loss_curve(n)
    return timed(n, lambda k: tracker.number("train/loss", values[k], k))


def ten_keys(tracker: Tracker) -> Figures:
    n = 500 if tracker.slow else 20_000
    columns = [loss_curve(n, seed) for seed in range(10)]
    data = [{f"metric/{i}": columns[i][k] for i in range(10)} for k in range(n)]
    return timed(n, lambda k: tracker.numbers(data[k], k))


def mlp(*sizes: int) -> Any:
    from torch import nn

    layers: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def histograms(tracker: Tracker) -> Figures:
    """Every parameter and gradient of a 784-30-10 network at every step."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = mlp(784, 30, 10)
    cross_entropy(model(torch.randn(64, 784)), torch.randint(0, 10, (64,))).backward()  # type: ignore[no-untyped-call]
    if isinstance(tracker, Epochal):
        tracker.every_step(model)

    def move(_: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.0001)

    return timed(500, lambda k: tracker.model(model, k), move)


def pictures(shape: tuple[int, ...], n: int) -> Callable[[Tracker], Figures]:
    def work(tracker: Tracker) -> Figures:
        import numpy as np

        chance = np.random.default_rng(0)
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / shape[0]
        images = []
        for k in range(n):
            smooth = 127 + 100 * np.sin(6 * x + k) * np.cos(5 * y)
            grey = np.where(chance.random(shape[:2]) < 0.2, chance.integers(0, 256, shape[:2]), smooth).astype(np.uint8)
            images.append(grey if len(shape) == 2 else np.ascontiguousarray(np.stack([grey, 255 - grey, grey // 2], 2)))
        return timed(n, lambda k: tracker.image("images", images[k], k))

    return work


def training(kind: str) -> Callable[[Tracker], Figures]:
    """784-128-10, batches of 64, 2,000 steps: `numbers` of every step, or also the `model` every tenth step.

    The same loop that computes loss and accuracy and drops them is run first and again after: the smaller counts.
    """

    def work(tracker: Tracker) -> Figures:
        import torch
        from torch.nn.functional import cross_entropy

        torch.set_num_threads(1)
        x, y = torch.randn(6400, 784), torch.randint(0, 10, (6400,))
        own_watch = type(tracker).watch is not Tracker.watch

        def loop(recorded: bool, steps: int) -> float:
            torch.manual_seed(0)
            model = mlp(784, 128, 10)
            optimizer = torch.optim.SGD(model.parameters(), 0.05)
            if recorded and kind == "model":
                tracker.watch(model)
            start = perf_counter()
            for step in range(steps):
                at = step % 100 * 64
                out = model(x[at : at + 64])
                loss = cross_entropy(out, y[at : at + 64])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                found = {
                    "loss": loss.item(),
                    "accuracy": (out.argmax(1) == y[at : at + 64]).float().mean().item(),
                }
                if recorded:
                    tracker.numbers(found, step)
                    if kind == "model" and not own_watch and step % 10 == 0:
                        tracker.model(model, step)
            return (perf_counter() - start) / steps * 1e6

        loop(False, 300)
        bare = loop(False, 2000)
        kept = loop(True, 2000)
        bare = min(bare, loop(False, 2000))
        return {"bare_us": bare, "recorded_us": kept, "slower_percent": 100 * (kept / bare - 1)}

    return work


def killed(tracker: Tracker) -> Figures:
    """Log so many numbers and die at once, children too, as when a machine's job killer comes."""
    import psutil

    for step in range(LOGGED):
        tracker.number("train/loss", step * 0.001, step)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


WORK: dict[str, Callable[[Tracker], Figures]] = {
    "scalars": scalars,
    "ten keys": ten_keys,
    "histograms": histograms,
    "images 28x28": pictures((28, 28), 1000),
    "images 224x224x3": pictures((224, 224, 3), 20),
    "training": training("numbers"),
    "training with histograms": training("model"),
    "killed": killed,
}


def main() -> None:
    """Do the work named on the command line."""
    name, work, folder = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    tracker = TRACKERS[name]()
    if work == "count":
        found: Figures = {"count": tracker.count(folder)}
    else:
        if work in ("histograms", "training", "training with histograms"):
            import torch  # noqa: F401 - its import is no part of what a tracker costs
        start = perf_counter()
        tracker.begin(folder)
        begin = perf_counter() - start
        found = WORK[work](tracker)
        start = perf_counter()
        tracker.end()
        found |= {"begin_s": begin, "end_s": perf_counter() - start, "processor_s": process_time()}
    sys.stdout.write("\n@@" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
