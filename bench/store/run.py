"""The store's speed beside its targets; run with: python -m bench.store.run [NAME ...]

Each measurement runs in a process of its own. Times are medians; the machine should be quiet.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from epochal.store import Library, RunWriter, StoredRun

TIMES = 5


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def median_ms(call: Callable[[], object], times: int = TIMES) -> float:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(taken)


def writer(root: Path, run_id: str | None = None) -> RunWriter:
    return RunWriter.create(root, project="bench", run_id=run_id)


def append(root: Path) -> dict[str, float]:
    """One number at a time at a training's pace, so that the writer thread is seldom in the way."""
    out = {}
    clock = time.perf_counter_ns
    for name, items, target in (("1", {"loss": 0.5}, 500), ("10", {f"m{i}": float(i) for i in range(10)}, 4000)):
        w = writer(root)
        taken = []
        for step in range(20_000):
            if step % 200 == 0:
                time.sleep(0.02)
            begin = clock()
            w.append_many(items, step, 1.5)
            taken.append(clock() - begin)
        w.finish()
        p50, p99 = np.percentile(taken, [50, 99])
        out |= {f"append of {name}, p50 ns (target {target})": p50, f"append of {name}, p99 ns": p99}
    return out


def throughput(root: Path) -> dict[str, float]:
    """What the writer thread folds when it has a whole ring to fold, and what logging and folding together reach."""
    w = writer(root)
    drain, items = w._drain, {f"m{i}": float(i) for i in range(8)}
    w._workers.stop()
    rates = []
    for _ in range(8):
        for step in range(4000):
            w.append_many(items, step, 1.5)
        begin = time.perf_counter()
        drain._fold()
        rates.append(32_000 / (time.perf_counter() - begin))
    drain.end("finished", None)
    w = writer(root)
    begin = time.perf_counter()
    for step in range(100_000):
        w.append_many(items, step, 1.5)
    w.flush()
    both = 800_000 / (time.perf_counter() - begin)
    w.finish()
    return {"fold, M rows/s (target 2)": statistics.median(rates) / 1e6, "log and fold, M rows/s": both / 1e6}


def size(root: Path) -> dict[str, float]:
    """A training's numbers as one second after the other brings them: 300 steps of 4 numbers."""
    from epochal.store.compact import compact

    w = writer(root)
    w._workers.stop()
    rng = np.random.default_rng(0)
    steps = 100_000
    t = 1.7e9 + np.cumsum(rng.normal(0.0033, 2e-5, steps))
    loss = (2 * np.exp(-np.arange(steps) / 3e4) + rng.normal(0, 0.02, steps)).astype(np.float32)
    for i in range(steps):
        w.append_many(
            {
                "loss": float(loss[i]),
                "accuracy": round(float(rng.random()), 3),
                "lr": 1e-3 * 0.99 ** (i // 500),
                "epoch": i // 469,
            },
            i,
            float(t[i]),
        )
        if i % 300 == 299:
            w._drain._fold()
    w._drain.end("finished", None)
    live = sum(p.stat().st_size for p in (w.folder / "scalars").iterdir()) / (4 * steps)
    begin = time.perf_counter()
    report = compact(w.path)
    return {
        "bytes a row, live (target 32)": live,
        "bytes a row, compacted (target 6)": report.bytes_after / report.rows,
        "compaction of 400k rows, ms": 1e3 * (time.perf_counter() - begin),
    }


def make_long_run(root: Path, *, rows_per_fold: int) -> Path:
    w = writer(root)
    w._workers.stop()
    steps = 1_000_000
    per_fold = rows_per_fold // 4
    for first in range(0, steps, per_fold):
        for i in range(first, first + per_fold):
            w.append_many({"a": i / 3, "b": 1.0, "c": -i / 7, "d": i * 0.5}, i, 1.7e9 + i)
        w._drain._fold()
    w._drain.end("finished", None)
    return w.path


OPEN = """
import gc, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2])))
from bench.store.run import rss_mb, peak_mb
from epochal.store import StoredRun
if len(sys.argv) > 3: import pyarrow, pyarrow.parquet
before = rss_mb()
begin = time.perf_counter()
run = StoredRun(sys.argv[1])
series = run.scalars()
ms = 1e3 * (time.perf_counter() - begin)
assert sum(map(len, series.values())) == 4_000_000
begin = time.perf_counter(); run.refresh(); idle = 1e6 * (time.perf_counter() - begin)
print(ms, rss_mb() - before, peak_mb() - before, idle)
"""


def opening(root: Path) -> dict[str, float]:
    out = {}
    for rows in (10_000, 4000, 400):
        path = make_long_run(root, rows_per_fold=rows)
        found = [_open(path) for _ in range(3)]
        ms, rss, peak, idle = (statistics.median(column) for column in zip(*found, strict=True))
        out |= {
            f"open 4M rows written {rows} at a time, ms (target 100)": ms,
            f"  its memory, MB (target 130) [{rows}]": rss,
            f"  at its peak, MB [{rows}]": peak,
            f"  refresh when nothing is new, us [{rows}]": idle,
        }
    from epochal.store.compact import compact

    compact(path)
    ms, rss, peak, _ = (statistics.median(c) for c in zip(*[_open(path, "parquet") for _ in range(3)], strict=True))
    return out | {"open 4M compacted rows, ms": ms, "  memory, MB": rss, "  at its peak, MB ": peak}


def _open(path: Path, *more: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, path, Path(__file__).parents[2], *more], capture_output=True, text=True, check=True
    )
    return [float(x) for x in done.stdout.split()]


def film(root: Path) -> dict[str, float]:
    w = writer(root)
    rng = np.random.default_rng(0)
    for step in range(200):
        tensors = {"0.weight": rng.normal(size=(128, 784)), "0.bias": rng.normal(size=128)}
        tensors |= {"2.weight": rng.normal(size=(10, 128)), "2.bias": rng.normal(size=10)}
        w.add_snapshot("params", {k: v.astype(np.float32) for k, v in tensors.items()}, step=step, epoch=step)
    w.finish()
    cold = median_ms(lambda: StoredRun(w.path).tensor_film("0.weight"))
    run = StoredRun(w.path)
    run.tensor_film("0.weight")
    return {
        "film of 784x128 at 200 steps, cold, ms (target 150)": cold,
        "  the second time, ms": median_ms(lambda: run.tensor_film("0.weight")),
        "  one exact tensor at a step, ms": median_ms(lambda: run.tensor("0.weight", 100)),
    }


def snapshot(root: Path) -> dict[str, float]:
    """62 tensors, 46.8 MB: the parameters of a ResNet-18."""
    w = writer(root)
    rng = np.random.default_rng(0)
    tensors = {f"layer{i}": rng.normal(size=188_700).astype(np.float32) for i in range(62)}
    steps = iter(range(1000))
    ms = median_ms(lambda: w.add_snapshot("params", tensors, step=next(steps)), 9)
    w.finish()
    return {"snapshot of 46.8 MB, ms (target 250)": ms}


def statistics_rows(root: Path) -> dict[str, float]:
    from epochal.facts import STATISTICS

    w = writer(root)
    series = [f"{kind}/layer{i}" for kind in ("param", "grad") for i in range(62)]
    columns = {"series": series, "t": 0.0, "lo": 0.0, "hi": 1.0, "counts": np.ones((124, 64), np.uint32)}
    columns |= {name: np.arange(124.0) for name in STATISTICS}
    caller = median_ms(lambda: w.add_statistics({**columns, "step": 1}), 100)
    for step in range(1000):
        w.add_statistics({**columns, "step": step})
        if step % 10 == 9:
            w.flush()
    w.finish()
    return {
        "statistics of 124 tensors, caller's thread, ms": caller,
        "histogram film of one of 124 tensors at 1,100 looks, cold, ms": median_ms(
            lambda: StoredRun(w.path).statistics("param/layer7"), 3
        ),
    }


def table(root: Path) -> dict[str, float]:
    names = [f"metric{i}" for i in range(20)]
    rng = np.random.default_rng(0)
    template = writer(root, "template")
    for step in range(100):
        template.append_many({n: float(rng.random()) for n in names}, step, 0.0)
    template.finish()
    source = {p.relative_to(template.path): p.read_bytes() for p in template.path.rglob("*") if p.is_file()}
    for number in range(999):
        target = root / "bench" / f"20260101-{number:06d}-aaaaaa"
        for name, data in source.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)

    def all_metrics(library: Library) -> None:
        assert sum(len(row.summaries) for row in library.rows()) == 20_000

    cold = median_ms(lambda: (Path(root / ".index.sqlite").unlink(missing_ok=True), Library(root).rows()), 3)
    first = median_ms(lambda: Library(root).rows())
    metrics = median_ms(lambda: all_metrics(Library(root)))
    library = Library(root)
    all_metrics(library)
    return {
        "1,000 runs x 20 metrics, first, ms (target 100)": first,
        "  with every metric made into its object, ms": metrics,
        "  refresh, ms (target 10)": median_ms(lambda: all_metrics(library)),
        "  without an index, ms": cold,
    }


def importing(root: Path) -> dict[str, float]:
    code = "import numpy, time; b = time.perf_counter(); import epochal.store.writer; print(time.perf_counter() - b)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(5)
    ]
    code = f"""
import numpy, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import resource; from pathlib import Path
rss = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
before = rss()
from epochal.store.writer import RunWriter
w = RunWriter.create({str(root)!r}, project="p")
for i in range(200_000): w.append("a", i, 0.0, 1.0)
w.flush(); print(rss() - before); w.finish()
"""
    memory = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    return {
        "import of the writer, numpy loaded, ms": 1e3 * statistics.median(taken),
        "memory it adds while logging, MB": memory,
    }


MEASURES: dict[str, Callable[[Path], dict[str, float]]] = {
    "append": append,
    "throughput": throughput,
    "size": size,
    "opening": opening,
    "film": film,
    "snapshot": snapshot,
    "statistics": statistics_rows,
    "table": table,
    "importing": importing,
}


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as root:
            print(json.dumps(MEASURES[sys.argv[2]](Path(root))))
        return
    for name in sys.argv[1:] or MEASURES:
        done = subprocess.run(
            [sys.executable, "-m", "bench.store.run", "--one", name], stdout=subprocess.PIPE, text=True, check=True
        )
        for what, value in json.loads(done.stdout).items():
            print(f"{what:<72} {value:>12.3f}", flush=True)


if __name__ == "__main__":
    main()
