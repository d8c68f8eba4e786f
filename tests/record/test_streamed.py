"""Runs that are put into an object store while they are recorded: against a real server, over HTTP."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import epochal
from epochal.errors import RecordingWarning, RemoteError
from epochal.store.remote import Remote
from epochal.store.streaming import push_secs
from tests.objects import ObjectServer, object_server
from tests.store.helpers import child

PATIENCE_SECS = 90.0


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def address(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return server.lend(monkeypatch, tmp_path)


def quiet(address: str, **more: object) -> epochal.Run:
    return epochal.init("p", dir=address, system=False, console=False, code=False, **more)  # type: ignore[arg-type]


def test_a_run_is_in_the_store_when_it_ends(address: str) -> None:
    with quiet(address, config={"rate": 0.5}) as run:
        for step in range(500):
            run.log({"loss": 1.0 / (step + 1)}, step=step)
        run.log({"picture": epochal.Image(np.zeros((4, 4), np.uint8))}, step=500)
    reader = epochal.open(address).run("latest")
    assert reader.info.status == "finished"
    assert reader.config["rate"] == 0.5
    assert reader.film("loss").frames.tolist() == [1.0 / (step + 1) for step in range(500)]
    assert reader.media("picture")


def test_a_run_is_seen_while_it_grows(address: str) -> None:
    with quiet(address) as run:
        run.log({"loss": 1.0}, step=0)
        workspace = _open(address)
        counts = []
        for step in range(1, 4):
            run.log({"loss": 1.0}, step=step)
            deadline = time.monotonic() + PATIENCE_SECS
            while len(workspace.run(run.id).film("loss").steps) <= step:
                assert time.monotonic() < deadline
                workspace.refresh()
            counts.append(workspace.run(run.id).info.status)
        assert counts == ["running"] * 3


def _open(address: str) -> epochal.Workspace:
    remote = Remote(address)
    deadline = time.monotonic() + PATIENCE_SECS
    while not any(e.key.endswith("/scalars/00000000.arrows") for e in remote.entries()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return epochal.open(address)


def test_a_run_is_gone_on_with_on_another_machine(address: str, tmp_path: Path) -> None:
    with quiet(address, id="mine") as run:
        run.log({"loss": 2.0}, step=0)
    (tmp_path / "cache").rename(tmp_path / "other-machine")
    with quiet(address, id="mine", resume="must") as run:
        run.log({"loss": 1.0})
    reader = epochal.open(address).run("mine")
    assert reader.film("loss").steps.tolist() == [0, 1]
    assert reader.film("loss").frames.tolist() == [2.0, 1.0]


def test_all_that_a_killed_training_logged_comes_to_the_store(address: str) -> None:
    with child(
        """
        import sys, time, epochal
        run = epochal.init("p", dir=sys.argv[1], id="killed", system=False, console=False, code=False)
        for step in range(2000):
            run.log({"loss": float(step)}, step=step)
        print("logged", flush=True)
        time.sleep(60)
        """,
        address,
    ) as training:
        assert training.line() == "logged"
    deadline = time.monotonic() + PATIENCE_SECS
    unseen = 0
    while unseen < 3:  # one look can miss a process that forks meanwhile
        assert time.monotonic() < deadline
        time.sleep(0.05)
        unseen = 0 if any(address in _words(process) for process in psutil.process_iter()) else unseen + 1
    reader = epochal.open(address).run("killed")
    assert reader.film("loss").frames.tolist() == [float(step) for step in range(2000)]
    assert reader.info.status == "crashed"


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_a_store_that_is_away_is_warned_of_and_costs_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EPOCHAL_PUSH_LAST_SECS", "1.0")
    with object_server() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        run = quiet(own.make("away"))
        run.log({"loss": 1.0}, step=0)
        own.end()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            run.finish()
    assert any("does not answer" in str(each.message) and each.category is RecordingWarning for each in said)
    assert re.search("not all of p/.* is in s3://away: it lies in .*: epochal push", str(said[-1].message))
    assert run.path is not None
    assert epochal.open(run.path.parent.parent).run(run.id).info.status == "finished"


def test_a_store_that_cannot_be_written_is_said_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match="there is no bucket 'nowhere-to-be-found'"):
        quiet("s3://nowhere-to-be-found/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(RemoteError, match="does not answer"):
        quiet(address)
    assert time.monotonic() - began < 20
    epochal.init("p", dir=address, mode="off").finish()  # records nothing, and asks nobody


def test_the_time_between_two_looks_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHAL_PUSH_SECS", raising=False)
    assert push_secs() == 5.0
    for wrong in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv("EPOCHAL_PUSH_SECS", wrong)
        with pytest.raises(epochal.EpochalError, match="EPOCHAL_PUSH_SECS"):
            push_secs()
