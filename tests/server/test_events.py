"""The live stream over a socket, fed by a training in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa

from epochal.server import make_app, start_in_background
from tests.store.helpers import wait_until

TRAINING = """
import sys, time
from epochal.store.writer import RunWriter

writer = RunWriter.create(sys.argv[1], project="live", name="other process")
print(f"live/{writer.run_id}", flush=True)
for line in sys.stdin:
    word, _, step = line.strip().partition(" ")
    if word == "log":
        writer.log({"loss": float(step)}, int(step))
        print(time.time(), flush=True)
    elif word == "end":
        writer.finish()
        print("ended", flush=True)
        break
"""


class Training:
    """A process that logs when told to."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.run = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._line()

    def log(self, step: int) -> float:
        """The moment at which log() had returned."""
        return float(self.say(f"log {step}"))


def heard(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def test_a_number_logged_elsewhere_can_be_read_within_a_second(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    with start_in_background(make_app(tmp_path), port=0) as server, httpx.Client(base_url=server.url) as client:
        training = None
        try:
            with client.stream("GET", "/api/v1/events", timeout=20) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert "content-encoding" not in stream.headers
                events = heard(stream)
                training = Training(tmp_path)
                first = next(e for e in events if e["id"] == training.run)
                assert (first["kind"], first["status"]) == ("new", "running")
                path = f"/api/v1/runs/{training.run}/scalars?points=0"
                waits = []
                for step in range(8):
                    time.sleep(0.13 * (step % 4))  # at any moment of the writer's and the watcher's rounds
                    logged = training.log(step)
                    while True:
                        next(e for e in events if e["id"] == training.run)
                        answer = client.get(path)
                        if answer.status_code == 200:
                            steps = pa.ipc.open_stream(answer.content).read_all()["step"].to_pylist()
                            if step in steps:
                                break
                    waits.append(time.time() - logged)
                assert max(waits) < 1.0, waits
                assert training.say("end") == "ended"
                last = next(e for e in events if e["status"] == "finished")
                assert (last["kind"], last["last_step"]) == ("changed", 7)
                project_and_id = f"/api/v1/runs/{training.run}"
                client.delete(project_and_id)
                assert next(e for e in events if e["kind"] == "gone")["id"] == training.run
        finally:
            if training is not None:
                training.process.kill()
                training.process.wait()
                for pipe in (training.process.stdin, training.process.stdout):
                    assert pipe is not None
                    pipe.close()


def test_a_training_that_is_killed_is_told_as_crashed(tmp_path: Path) -> None:
    with start_in_background(make_app(tmp_path), port=0) as server, httpx.Client(base_url=server.url) as client:
        training = Training(tmp_path)
        try:
            training.log(1)
            with client.stream("GET", "/api/v1/events", timeout=20) as stream:
                events = heard(stream)
                assert next(events)["status"] == "running"
                training.process.kill()
                training.process.wait()
                assert next(e for e in events if e["status"] != "running")["status"] == "crashed"
            answer = client.get(f"/api/v1/runs/{training.run}/scalars?points=0")
            assert pa.ipc.open_stream(answer.content).read_all()["v"].to_pylist() == [1.0]
        finally:
            training.process.kill()
            training.process.wait()
            for pipe in (training.process.stdin, training.process.stdout):
                assert pipe is not None
                pipe.close()


def test_a_listener_that_leaves_is_forgotten_and_nothing_is_watched_any_more(shown: tuple[Path, str]) -> None:
    app = make_app(shown[0])
    hub = app.state.hub
    with start_in_background(app, port=0) as server:
        with httpx.Client(base_url=server.url) as client, client.stream("GET", "/api/v1/events") as stream:
            next(stream.iter_lines())
            wait_until(lambda: hub.listening == 1)
        wait_until(lambda: not hub.listening, secs=8)  # a heartbeat, at which it would be noticed late, is at 15
        assert not hub.watching


def test_stopping_the_server_ends_open_streams_at_once(shown: tuple[Path, str]) -> None:
    server = start_in_background(make_app(shown[0]), port=0)
    with httpx.stream("GET", f"{server.url}api/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 2
        assert all(line == "" or line.startswith(":") for line in lines)
