"""What recording costs, beside other trackers with the same work; the best of each row is printed bold.

Usage: python -m bench.record.peers.run [--trackers epochal,wandb] [--work scalars,killed] [--turns 3] [--json FILE]

Needs the trackers themselves: `make bench-peers` installs them into a folder of their own. Each piece of work runs in
a fresh process with a fresh home; trackers take turns, so that other work on the machine hits all alike; figures are
medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.record.peers.trackers import TRACKERS
from bench.record.peers.work import LOGGED, WORK

ROOT = Path(__file__).parents[3]
QUIET = {
    "WANDB_SILENT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "GIT_PYTHON_REFRESH": "quiet",
}
Found = dict[str, float]

ROWS: list[tuple[str, str, str, str]] = [
    ("scalars", "p50_us", "one number, a call, p50", "us"),
    ("scalars", "p99_us", "one number, a call, p99", "us"),
    ("scalars", "mean_us", "one number, a call, mean", "us"),
    ("scalars", "rate", "numbers a second, end included", "/s"),
    ("scalars", "bytes", "bytes on disk a number", "B"),
    ("ten keys", "p50_us", "ten numbers, a call, p50", "us"),
    ("ten keys", "mean_us", "ten numbers, a call, mean", "us"),
    ("ten keys", "bytes", "bytes on disk a call of ten", "B"),
    ("histograms", "p50_us", "8 histograms of a 784-30-10 network, a step, p50", "us"),
    ("histograms", "mean_us", "the same, mean", "us"),
    ("histograms", "bytes", "the same, bytes on disk", "B"),
    ("images 28x28", "p50_us", "28x28 image, a call, p50", "us"),
    ("images 28x28", "mean_us", "28x28 image, a call, mean", "us"),
    ("images 28x28", "whole_s", "1,000 such images, end included", "s"),
    ("images 28x28", "bytes", "28x28 image, bytes on disk", "B"),
    ("images 224x224x3", "p50_us", "224x224x3 image, a call, p50", "us"),
    ("images 224x224x3", "bytes", "224x224x3 image, bytes on disk", "B"),
    ("training", "slower_percent", "training slower, loss and accuracy each step", "%"),
    ("training with histograms", "slower_percent", "the same with parameters and gradients", "%"),
    ("killed", "lost", f"numbers lost of {LOGGED:,} by kill -9", ""),
    ("scalars", "begin_s", "begin of a run, imports included", "s"),
]
MORE_IS_BETTER = {"rate"}


def once(tracker: str, work: str, folder: str) -> Found:
    """Do the work and return its figures; raises RuntimeError when it failed."""
    home = Path(folder, "home")
    home.mkdir()
    data = str(Path(folder, "data"))
    environment = {**os.environ, **QUIET, "HOME": str(home), "PYTHONPATH": str(ROOT)}

    def ask(what: str) -> Found:
        command = [sys.executable, "-m", "bench.record.peers.work", tracker, what, data]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=600)
        answer = done.stdout.rpartition("\n@@")[2]
        if "\n@@" not in done.stdout:
            if what == "killed" and done.returncode == -9:
                return {}
            raise RuntimeError(f"{tracker}, {what}: {(done.stderr or done.stdout)[-400:]}")
        figures: Found = json.loads(answer)
        return figures

    found = ask(work)
    if work == "killed":
        time.sleep(2)  # what survives of a tracker may still write
        return {"lost": LOGGED - ask("count")["count"]}
    if "calls" in found:
        size = sum(f.stat().st_size for f in Path(data).rglob("*") if f.is_file() and not f.is_symlink())
        found["bytes"] = size / found["calls"]
        found["whole_s"] = found["loop_s"] + found["end_s"]
        found["rate"] = found["calls"] / found["whole_s"]
    return found


def measure(trackers: list[str], works: list[str], turns: int) -> dict[str, dict[str, Found]]:
    """Return work -> tracker -> medians."""
    every: dict[str, dict[str, list[Found]]] = {w: {t: [] for t in trackers} for w in works}
    for work in works:
        for turn in range(turns):
            for tracker in trackers[:: -1 if turn % 2 else 1]:
                kind = TRACKERS[tracker]
                if (work == "histograms" or work.endswith("with histograms")) and not kind.histograms:
                    continue
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    try:
                        every[work][tracker].append(once(tracker, work, folder))
                    except (RuntimeError, subprocess.TimeoutExpired) as error:
                        sys.stderr.write(f"{error}\n")
                sys.stderr.write(f"{work}: {tracker} {every[work][tracker][-1:]}\n")
    return {
        work: {
            tracker: {key: statistics.median(f[key] for f in found) for key in found[0]}
            for tracker, found in by_tracker.items()
            if found
        }
        for work, by_tracker in every.items()
    }


def show(found: dict[str, dict[str, Found]], trackers: list[str]) -> None:
    """Print the table: a row for each figure, a column for each tracker."""
    out = sys.stdout
    out.write(f"\n| | {' | '.join(trackers)} |\n|---{'|---' * len(trackers)}|\n")
    for work, key, title, unit in ROWS:
        values = {t: found[work][t][key] for t in trackers if key in found.get(work, {}).get(t, {})}
        if not values:
            continue
        best = (max if key in MORE_IS_BETTER else min)(values.values())
        cells = []
        for tracker in trackers:
            text = f"{values[tracker]:,.4g}" if tracker in values else "-"
            cells.append(f"**{text}**" if values.get(tracker) == best else text)
        out.write(f"| {title}{f', {unit}' if unit else ''} | {' | '.join(cells)} |\n")
    out.flush()


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--trackers", default=",".join(TRACKERS))
    asked.add_argument("--work", default=",".join(WORK))
    asked.add_argument("--turns", type=int, default=3)
    asked.add_argument("--json", type=Path, help="also write the figures here")
    given = asked.parse_args()
    trackers, works = given.trackers.split(","), given.work.split(",")
    found = measure(trackers, works, given.turns)
    show(found, trackers)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
