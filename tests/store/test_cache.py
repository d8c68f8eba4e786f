"""A store as a folder here: a copy that is kept fresh, by one process or several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.errors import NotFoundError, RemoteError
from epochal.store import Library
from epochal.store.cache import CachedStore, open_place
from epochal.store.mirror import Mirror
from epochal.store.remote import Remote
from tests.objects import ObjectServer, object_server
from tests.store.helpers import begin

PATIENCE_SECS = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def address(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return server.lend(monkeypatch, tmp_path)


def record(root: Path, run_id: str, *, steps: int = 50) -> None:
    writer = begin(root, run_id=run_id)
    for step in range(steps):
        writer.log({"loss": 1.0 / (step + 1)}, step)
    writer.add_snapshot("params", {"weight": np.ones((2, 2), np.float32)}, step=steps - 1)
    writer.finish()


def push(root: Path, address: str) -> None:
    for run in Library(root).runs():
        Mirror(root, Remote(address)).push(f"{run.project}/{run.run_id}")


def until(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_what_is_light_comes_first(address: str, tmp_path: Path) -> None:
    record(tmp_path / "runs", "one")
    push(tmp_path / "runs", address)
    cached = CachedStore(address)
    cached.refresh(heavy=False)
    [run] = Library(cached.root).runs()
    assert run.scalars(["loss"])["loss"].v.tolist() == [1.0 / (step + 1) for step in range(50)]
    assert run.snapshot_steps() == []
    cached.refresh()
    assert run.snapshot_steps() == [49]
    assert cached.refresh() == 0


def test_a_run_that_is_gone_there_is_gone_here_and_one_deleted_here_stays_so(address: str, tmp_path: Path) -> None:
    record(tmp_path / "runs", "one")
    record(tmp_path / "runs", "two")
    push(tmp_path / "runs", address)
    cached = CachedStore(address)
    cached.refresh()
    library = Library(cached.root)
    library.delete(library.run("one"))
    cached.refresh()
    assert [run.run_id for run in library.runs()] == ["two"]
    library.restore("p", "one")
    cached.refresh()
    remote = Remote(address)
    remote.delete([entry.key for entry in remote.entries("p/two")])
    cached.refresh()
    assert [run.run_id for run in library.runs()] == ["one"]


def test_a_copy_is_of_one_server(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = CachedStore(address).root
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert CachedStore(address).root != one


def test_a_damaged_note_of_what_is_here_costs_another_copy_at_most(address: str, tmp_path: Path) -> None:
    record(tmp_path / "runs", "one")
    push(tmp_path / "runs", address)
    cached = CachedStore(address)
    first = cached.refresh()
    for note in (cached.root / ".sync").rglob("*.json"):
        note.write_text('{"run.json": [1, "x"')
    assert CachedStore(address).refresh() == first


def test_nothing_there_is_said(address: str) -> None:
    with pytest.raises(NotFoundError, match="There is nothing in s3://"):
        open_place(address)
    with pytest.raises(RemoteError, match="no bucket"):
        epochal.open("s3://not-there-at-all")


def test_the_studio_shows_a_store_that_grows(address: str, tmp_path: Path) -> None:
    writer = begin(tmp_path / "runs", run_id="live")
    writer.log({"loss": 1.0}, 0)
    push(tmp_path / "runs", address)
    port = _free()
    command = [sys.executable, "-m", "epochal", "view", address, "--no-open", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as viewer:
        try:
            until(lambda: _asked(port, "runs"))

            def last_step() -> int | None:
                push(tmp_path / "runs", address)  # as the process beside a training does, again and again
                row = json.loads(_asked(port, "runs/p/live"))["row"]
                return None if row["last_step"] is None else int(row["last_step"])

            until(lambda: last_step() == 0)
            for step in range(1, 30):
                writer.log({"loss": 1.0}, step)
            until(lambda: last_step() == 29)
            record(tmp_path / "runs", "another")
            push(tmp_path / "runs", address)
            until(lambda: "another" in _asked(port, "runs"))
        finally:
            writer.finish()
            viewer.send_signal(signal.SIGINT)
            _, said = viewer.communicate(timeout=60)
    assert viewer.returncode == 0, said
    assert f"Store   {address}" in said
    assert "testing" not in said


def _asked(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _free() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
