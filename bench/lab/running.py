"""What a lab costs beside the same trainings one after the other in one process, and what two jobs bring on two cores.

Wall time says it on a quiet machine; where others work, the time that processors spent on it is the surer figure.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.table import Row, show

TRIALS = 4
TRIAL_SECS = 30.0
"""The trial that the target speaks of."""
EPOCHS = int(os.environ.get("BENCH_EPOCHS", "40"))
PARAMETERS: dict[str, Any] = {
    "filters": [8, 16], "kernel_sizes": 3, "pool_sizes": 2, "dense": [32], "batch_size": 16, "epochs": EPOCHS,
}  # fmt: skip
MODEL, DATA = "epochal:convnet1d", "epochal:digits"


def one_process(root: str) -> None:
    """All trainings in this process, each recorded as the lab records it."""
    import epochal
    from epochal.lab.training import train

    for seed in range(TRIALS):
        with epochal.init("bench", dir=root, config=PARAMETERS) as run:
            train(run, PARAMETERS, model=MODEL, data=DATA, seed=seed)


def in_lab(root: str, jobs: int) -> None:
    """The same as a lab, one thread a trial."""
    import epochal

    made = epochal.Lab(
        "bench", model=MODEL, data=DATA, parameters=PARAMETERS, repeats=TRIALS, runner={"cpus": 1, "jobs": jobs}
    )
    result = made.run(dir=root)
    assert all(trial.status == "finished" for trial in result.trials), result.trials


def measure(*words: str) -> tuple[float, float]:
    """Wall seconds and processor seconds of one of the above, in a process of its own with one thread."""
    quiet = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    with tempfile.TemporaryDirectory() as root:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bench.lab.running", *words, root], check=True, env={**os.environ, **quiet}
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def both() -> tuple[float, float]:
    """Wall and processor seconds of two processes at once, each with all trainings: what two cores give here."""
    with ThreadPoolExecutor(2) as pool:
        began = time.perf_counter()
        spent = [done.result()[1] for done in [pool.submit(measure, "alone") for _ in range(2)]]
        return time.perf_counter() - began, max(spent)


def main() -> None:
    """Measure, three times each in turn, and show the least of each."""
    ways = {"alone": ("alone",), "one": ("lab", "1"), "two": ("lab", "2")}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in [*ways, "both"]}
    for _ in range(int(os.environ.get("BENCH_ROUNDS", "3"))):
        for name, words in ways.items():
            found[name].append(measure(*words))
        found["both"].append(both())
    wall = {name: min(pair[0] for pair in pairs) for name, pairs in found.items()}
    spent = {name: min(pair[1] for pair in pairs) for name, pairs in found.items()}
    each = (wall["one"] - wall["alone"]) / TRIALS
    each_spent = (spent["one"] - spent["alone"]) / TRIALS
    rows = [
        Row("a trial in one process", wall["alone"] / TRIALS, "s"),
        Row("a trial in the lab", wall["one"] / TRIALS, "s"),
        Row("the lab's part of a trial of 30 s", 100 * each / TRIAL_SECS, "%", 3.0),
        Row("the same in processor time", 100 * each_spent / TRIAL_SECS, "%", 3.0),
        Row("two jobs on two cores beside one", wall["one"] / wall["two"], "x", 1.7, more_is_better=True),
        Row("two processes without a lab beside one", 2 * wall["alone"] / wall["both"], "x"),
        Row("load of the machine meanwhile", os.getloadavg()[0], ""),
    ]
    show(f"A lab of {TRIALS} trials, one thread each", rows)
    Path(os.environ.get("BENCH_OUT", os.devnull)).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "lab":
        in_lab(sys.argv[3], int(sys.argv[2]))
    elif len(sys.argv) > 1:
        one_process(sys.argv[2])
    else:
        main()
