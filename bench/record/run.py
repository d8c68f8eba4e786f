"""What recording costs the training, each figure beside its target and TensorBoard's writer.

Usage: python bench/record/run.py [--quick]

All ways of recording take turns in one process on one torch thread. Times of calls are medians over the turns; a
slowdown compares the least time over the turns with the bare loop's. Where other work keeps the machine's cores busy,
read processor time.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
if not __package__:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import epochal  # noqa: E402
from bench.record.scenes import recording, train_iris, train_mlp  # noqa: E402
from bench.table import Row, show  # noqa: E402

if TYPE_CHECKING:
    from bench.record.scenes import Seconds

Call = Callable[[int], object]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def times_of(call: Call, n: int) -> list[float]:
    """Seconds of each of `n` calls, the timer's own time taken off."""
    clock = perf_counter
    empty = []
    for _ in range(2000):
        start = clock()
        empty.append(clock() - start)
    own = statistics.median(empty)
    found = []
    for k in range(n):
        start = clock()
        call(k)
        found.append(clock() - start - own)
    return found


def log_calls(folder: str, n: int, turns: int) -> list[Row]:
    from torch.utils.tensorboard import SummaryWriter

    found: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, call: Call, count: int) -> None:
        times = times_of(call, count)
        found.setdefault(name, []).append((statistics.median(times) * 1e6, percentile(times, 0.99) * 1e6))

    def one_turn() -> None:
        ten = {f"train/metric_{k}": k / 7 for k in range(10)}
        run, off = epochal.init("calls", dir=folder, strict=True), epochal.init("calls", mode="off")
        board = SummaryWriter(tempfile.mkdtemp(dir=folder))
        note("one", lambda k: run.log({"loss": k * 0.5}, step=k), n)
        note("own", lambda k: run.log({"loss": k * 0.5}), n)
        note("ten", lambda k: run.log(ten, step=k), n // 5)
        note("off", lambda k: off.log({"loss": k * 0.5}, step=k), n)
        note("board", lambda k: board.add_scalar("loss", k * 0.5, k), n // 5)
        run.finish()
        board.close()

    for _ in range(turns):
        one_turn()
    mid = {name: [statistics.median(v) for v in zip(*pairs, strict=True)] for name, pairs in found.items()}
    board = [f"SummaryWriter.add_scalar {v:.1f} us" for v in mid["board"]]
    return [
        Row("run.log of one float, p50", mid["one"][0], "us", 2, board[0]),
        Row("run.log of one float, p99", mid["one"][1], "us", 10, board[1]),
        Row("run.log of one float, own step counter, p50", mid["own"][0], "us", 2),
        Row("run.log of ten keys, p50", mid["ten"][0], "us", 4),
        Row("run.log with mode='off', p50", mid["off"][0], "us"),
    ]


def slowdowns(
    name: str, train: Callable[[str, str], Seconds], kinds: dict[str, float | None], folder: str, turns: int
) -> list[Row]:
    train("bare", folder)
    train("watch", folder)
    seconds: dict[str, list[Seconds]] = {kind: [] for kind in ("bare", *kinds)}
    for turn in range(turns):
        for kind in list(seconds)[:: -1 if turn % 2 else 1]:
            gc.collect()
            seconds[kind].append(train(kind, folder))
    # The least of the turns: whatever else the machine does only ever adds to them.
    least = {kind: [min(times) for times in zip(*pairs, strict=True)] for kind, pairs in seconds.items()}
    rows = [Row(f"{name}: bare loop", least["bare"][0] * 1e3, "ms")]
    for kind, target in kinds.items():
        wall, processor = (100 * (a / b - 1) for a, b in zip(least[kind], least["bare"], strict=True))
        rows.append(Row(f"{name}: {kind}, slower", wall, "%", target))
        rows.append(Row(f"{name}: {kind}, more processor time of the training thread", processor, "%", target))
    return rows


def snapshot_cost(folder: str, turns: int) -> list[Row]:
    """A ResNet-18's worth of float32 (46.8 MB in 62 tensors) staged on the caller's thread."""
    model = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(11_700_000 // 62)) for _ in range(62)])
    run = epochal.init("snapshot", dir=folder, strict=True)
    run.watch(model, gradients=False, activations=False, snapshots=None, budget=0)
    times = []
    for step in range(turns + 3):
        start = perf_counter()
        run.snapshot(step)
        times.append((perf_counter() - start) * 1e3)
        assert run._writer is not None
        run._writer.flush()
    run.finish()
    return [Row("snapshot of 46.8 MB, caller's thread", statistics.median(times[3:]), "ms", 12)]


_MEMORY = """
import sys; sys.path.insert(0, {root!r})
import tempfile, torch; torch.set_num_threads(1)
from bench.record.scenes import train_iris
with tempfile.TemporaryDirectory() as folder:
    train_iris({kind!r}, folder)
    print(int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6)
"""
_IMPORT = "import numpy, time; s = time.perf_counter(); import epochal; print((time.perf_counter() - s) * 1e3)"
_BEGIN = (
    "import numpy, time, tempfile, epochal; d = tempfile.mkdtemp(); s = time.perf_counter();"
    "r = epochal.init('x', dir=d); print((time.perf_counter() - s) * 1e3); r.finish()"
)


def in_fresh_processes(code: str, turns: int) -> float:
    command = [sys.executable, "-c", code]
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(turns)]
    return statistics.median(float(d.stdout.split()[-1]) for d in done)


def memory_and_import() -> list[Row]:
    memory = {k: in_fresh_processes(_MEMORY.format(root=str(ROOT), kind=k), 3) for k in ("bare", "watch")}
    return [
        Row("memory that recording Iris adds", memory["watch"] - memory["bare"], "MB", 60),
        Row("import epochal, numpy loaded", in_fresh_processes(_IMPORT, 7), "ms", 50),
        Row("first epochal.init", in_fresh_processes(_BEGIN, 5), "ms"),
    ]


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = asked.parse_args().quick
    torch.set_num_threads(1)
    turns = 3 if quick else 9
    with tempfile.TemporaryDirectory() as folder:
        with recording("watch", torch.nn.Linear(1, 1), torch.zeros(1, 1), folder):
            pass  # import what is imported on first use
        show("Recording: calls", log_calls(folder, 20_000 if quick else 100_000, turns))
        kinds: dict[str, float | None] = {"log": 3, "watch": 5, "tensorboard": None, "tensorboard histograms": None}
        show("Recording: 784-128-10, 2,000 steps", slowdowns("784-128-10", train_mlp, kinds, folder, turns))
        kinds = {"log": 3, "watch": 10, "watch epochs": 10, "tensorboard": None}
        show("Recording: Iris, 150 epochs", slowdowns("Iris", train_iris, kinds, folder, 3 * turns))
        show("Recording: the rest", [*snapshot_cost(folder, 4 * turns), *memory_and_import()])


if __name__ == "__main__":
    main()
