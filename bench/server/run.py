"""The server: from its start to all curves, a large run, the table of runs, a film, memory, live delay."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bench.server import make
from bench.table import Row, show
from epochal.store.layout import INDEX_NAME
from epochal.store.library import Library
from epochal.store.writer import RunWriter
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of

RUNS, POINTS, ROWS = 20, 50_000, 1_000_000
PEER_POINTS = 1_000

SERVE = """
import sys
from epochal.server import make_app, serve
serve(make_app(sys.argv[1]), port=0, ready=lambda address: print(address.url, flush=True))
"""


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def median(work: Callable[[], Any], times: int) -> float:
    return statistics.median(seconds(work) for _ in range(times))


class Served:
    """A server in a process of its own; `began` is the moment before it was started."""

    def __init__(self, root: Path) -> None:
        self.began = time.perf_counter()
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(root)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.ready = time.perf_counter() - self.began

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(10)


def start_to_curves(root: Path, runs: list[str]) -> tuple[float, float]:
    """Seconds from process start until the server is ready, and until all curves of all runs are here."""
    with Served(root) as server:
        # The plainest client there is: what it costs to be asked is not the server's.
        client = http.client.HTTPConnection(server.url.removeprefix("http://").rstrip("/"))

        def get(path: str) -> bytes:
            client.request("GET", path)
            return client.getresponse().read()

        assert len(json.loads(get(path_of("runs")))["runs"]) >= len(runs)
        for run in runs:
            assert len(get(path_of("scalars", run))) > 50_000
        took = time.perf_counter() - server.began
        client.close()
        return server.ready, took


def tensorboard_start_to_curves(root: Path) -> float:
    """The same of TensorBoard, through the questions its page asks."""
    begin = time.perf_counter()
    command = [
        str(Path(sys.executable).parent / "tensorboard"),
        "--logdir",
        str(root),
        "--port",
        "0",
        "--host",
        "localhost",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(text for text in process.stderr if "http://" in text)
        url = next(word for word in line.split() if word.startswith("http://"))
        with httpx.Client(base_url=url, timeout=60) as client:
            while True:
                tags = client.get("data/plugin/scalars/tags").json()
                if len(tags) == RUNS and all(len(t) == len(make.SERIES) for t in tags.values()):
                    got = 0
                    for run in tags:
                        for tag in make.SERIES:
                            got += len(
                                client.get("data/plugin/scalars/scalars", params={"run": run, "tag": tag}).json()
                            )
                    if got >= RUNS * len(make.SERIES) * PEER_POINTS * 0.99:
                        return time.perf_counter() - begin
                time.sleep(0.02)
    finally:
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def live_delays(root: Path, times: int) -> list[float]:
    """Seconds from log() to the moment at which a client that listens has the number."""
    delays = []
    with Served(root) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        writer = RunWriter.create(root, project="live", name="live")
        path = path_of("scalars", f"live/{writer.run_id}", points=0)
        with client.stream("GET", path_of("events")) as stream:
            events = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
            for step in range(times):
                time.sleep(0.07 * (step % 7))
                begin = time.perf_counter()
                writer.append("loss", step, time.time(), float(step))
                size = 0
                while size < step + 1:
                    next(e for e in events if e["id"] == f"live/{writer.run_id}")
                    answer = client.get(path)
                    if answer.status_code == 200:
                        size = json.loads(answer.headers["epochal-series"])["loss"]["n"]
                delays.append(time.perf_counter() - begin)
        writer.finish()
    return delays


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="epochal-bench-") as folder:
        rows = measure(Path(folder))
    show(f"Server ({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end; 1 is this benchmark itself)", rows)


def measure(folder: Path) -> list[Row]:
    """All figures."""
    rows: list[Row] = []
    curves, large, table, films, peer = (folder / n for n in ("curves", "large", "table", "films", "peer"))

    runs = make.scalars(curves, project="curves", runs=RUNS, steps=POINTS)
    start_to_curves(curves, runs)
    ready, whole = min((start_to_curves(curves, runs) for _ in range(5)), key=lambda t: t[1])
    make.tensorboard_events(peer, runs=RUNS, points=PEER_POINTS)
    theirs = tensorboard_start_to_curves(peer)
    said = f"TensorBoard with {PEER_POINTS:,} points each: {theirs:.2f} s"
    rows.append(Row("process start to 20 runs x 4 series x 50,000 points at a client", whole, "s", 0.5, said))
    rows.append(Row("of that, process start to the first answer", ready, "s"))

    (run,) = make.scalars(large, project="large", runs=1, steps=ROWS)
    cold = [seconds(lambda: Wire(Library(large)).answer(*_asked("scalars", run))) for _ in range(5)]
    rows.append(Row("4 M rows, cold: 4 series in 2,000 points", statistics.median(cold) * 1e3, "ms", 100))
    wire = Wire(Library(large))
    wire.answer(*_asked("scalars", run))
    one = _asked("scalars", run, name=["loss"])
    part = _asked("scalars", run, name=["loss"], start=200_000, end=700_000)
    rows.append(
        Row("one series of 1 M rows in 2,000 points, warm", median(lambda: wire.answer(*one), 50) * 1e3, "ms", 2)
    )
    rows.append(Row("the same, half of the steps", median(lambda: wire.answer(*part), 50) * 1e3, "ms", 2))
    with Served(large) as server, httpx.Client(base_url=server.url) as client:
        for what in ("runs", "run", "scalars"):
            client.get(path_of(what, "" if what == "runs" else run)).raise_for_status()
        rows.append(Row("server's memory with the 4 M rows open", server.rss_mb(), "MB", 400))

    make.many(table, runs=1000, metrics=20, steps=50)
    rows.append(Row("1,000 runs x 20 metrics, never seen before", seconds(lambda: _table(table)) * 1e3, "ms"))
    assert (table / INDEX_NAME).exists()
    first = statistics.median(seconds(lambda: _table(table)) for _ in range(5))
    rows.append(Row("1,000 runs x 20 metrics, first look of a server", first * 1e3, "ms", 100))
    wire = Wire(Library(table))
    for _ in range(50):
        wire.answer(path_of("runs"))
    rows.append(Row("the same again", median(lambda: wire.answer(path_of("runs")), 20) * 1e3, "ms", 10))

    run = make.film(films, shape=(784, 128), steps=200)
    film = _asked("frames", run, series="param/0.weight")
    cold = [seconds(lambda: Wire(Library(films)).answer(*film)) for _ in range(5)]
    rows.append(Row("784x128 matrix at 200 steps, cold", statistics.median(cold) * 1e3, "ms", 150))
    wire = Wire(Library(films))
    wire.answer(*film)
    rows.append(Row("the same, asked again", median(lambda: wire.answer(*film), 5) * 1e3, "ms"))

    (folder / "live").mkdir()
    delays = sorted(live_delays(folder / "live", 30))
    rows.append(Row("logged to read by a client that listens, median", delays[15], "s", 1))
    rows.append(Row("the same, worst of 30", delays[-1], "s", 1))
    return rows


def _asked(what: str, run: str, **parameters: Any) -> tuple[str, str]:
    path, _, query = path_of(what, run, **parameters).partition("?")
    return path, query


def _table(root: Path) -> None:
    Wire(Library(root)).answer(path_of("runs"))


if __name__ == "__main__":
    main()
