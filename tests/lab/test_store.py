"""A lab in an object store, trained on this machine: against a server that speaks S3 over HTTP in its own process."""

from __future__ import annotations

import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from epochal.errors import RemoteError
from epochal.lab import Lab, LabResult, read
from epochal.lab.local import LocalRunner
from epochal.lab.runner import Ended, Runner, Task
from epochal.lab.shared import SharedStore
from epochal.store import Library, StoredRun, read_lab
from epochal.store.cache import CachedStore
from epochal.store.mirror import Mirror
from epochal.store.remote import Remote
from tests.lab.runner_checks import HERE, Bench, RunnerChecks
from tests.objects import ObjectServer, object_server

PATIENCE_SECS = 90.0


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def address(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(HERE)
    return server.lend(monkeypatch, tmp_path)


def files(root: Path) -> list[str]:
    found = [p.relative_to(root) for p in root.rglob("*") if p.is_file()]
    return sorted(p.as_posix() for p in found if not any(part in (".sync", "outcomes", "stop") for part in p.parts))


def same(one: Path, two: Path) -> bool:
    names = [name for name in files(one) if not name.startswith(".index")]
    return names == [n for n in files(two) if not n.startswith(".index")] and (
        filecmp.cmpfiles(one, two, names, shallow=False)[0] == names
    )


def wait_until(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Streamed:
    """A runner that puts what its trials record into the store, as a lab's session has it do."""

    def __init__(self, runner: Runner, store: SharedStore) -> None:
        self._runner, self._store = runner, store
        self._tasks: dict[int, Task] = {}

    @property
    def slots(self) -> int:
        return self._runner.slots

    def start(self, task: Task) -> None:
        self._tasks[task.trial.number] = task
        self._store.begun(task)
        self._runner.start(task)

    def wait(self, seconds: float) -> list[Ended]:
        found = self._runner.wait(seconds)
        for ended in found:
            self._store.ended(self._tasks[ended.state.trial.number])
        return found

    def kill(self, number: int) -> None:
        self._runner.kill(number)

    def close(self) -> None:
        self._runner.close()


class TestLocalAndStreamed(RunnerChecks):
    """The suite of all runners; and what the store has in the end is what was recorded, byte for byte."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        bench = Bench(tmp_path / "runs")
        with bench.log:
            yield bench

    @pytest.fixture
    def runner(self, address: str, bench: Bench, tmp_path: Path) -> Iterator[Runner]:
        said: list[str] = []
        store = SharedStore(address, bench.root, say=said.append)
        store.begin(bench.log.path, follows_runs=True)
        runner = Streamed(LocalRunner(jobs=2), store)
        yield runner
        runner.close()
        bench.log.close()
        store.close()
        assert (said, store.lost) == ([], [])
        there = CachedStore(address)
        there.refresh()
        assert files(bench.root)
        for run in Library(bench.root).runs():
            assert {s: v.n for s, v in StoredRun(there.root / run.project / run.run_id).summaries().items()} == {
                s: v.n for s, v in run.summaries().items()
            }
            if run.info().status != "crashed":
                assert same(run.path, there.root / run.project / run.run_id)


def test_a_lab_is_in_the_store_as_it_is_here(address: str) -> None:
    said: list[str] = []
    result = Lab(
        "rates",
        train="tests.lab.trainings:curve",
        space={"rate": [0.3, 0.6]},
        parameters={"epochs": 3},
        repeats=2,
        store=address,
    ).run(jobs=2, say=said.append)
    assert said == []
    assert [t.status for t in result.trials] == ["finished"] * 4
    root = Path(result.info.path).parents[2]
    there = CachedStore(address)
    there.refresh()
    assert same(root, there.root)
    again = read(dir=address)
    assert again.trials == result.trials
    assert again.info.settings["store"] == address
    # Neither the keys nor the address of the server are in anything that was put there.
    for entry in Remote(address).entries():
        data = Remote(address).get(entry.key)
        assert data is not None
        assert b"testing" not in data, entry.key
        assert os.environ["AWS_ENDPOINT_URL"].encode() not in data, entry.key


def lab_process(address: str, marks: Path, *more: str, epochs: int = 14) -> subprocess.Popen[str]:
    """A lab of three trials in a process of its own, which can be killed."""
    code = f"""
import sys
from epochal.lab import Lab
if __name__ == "__main__":
    result = Lab(
        "kept", train="tests.lab.trainings:resumes", trials=[{{"name": f"t{{n}}"}} for n in range(3)],
        parameters={{"marks": {str(marks)!r}, "sleep": 0.15, "epochs": {epochs}}}, store={address!r},
    ).run(jobs=2, resume="--resume" in sys.argv, say=print)
    print([(t.status, t.metrics.get("weight"), t.metrics.get("first"), t.attempt) for t in result.trials])
"""
    script = marks / "lab.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([HERE, str(Path(HERE) / "src")])}
    return subprocess.Popen(
        [sys.executable, str(script), *more], stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE
    )


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_killed_lab_goes_on_from_the_store(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """Also on another machine, which has nothing but the store."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with lab_process(address, marks) as process:
        wait_until(lambda: len(list(marks.glob("t0-*"))) >= 5)
        process.kill()
    streamers = [p for p in psutil.process_iter() if address in _command(p)]
    psutil.wait_procs(streamers, timeout=PATIENCE_SECS)  # they put what was recorded last
    info, _ = read_lab(next((tmp_path / "cache/epochal/labs").iterdir()))
    states = {t.trial.number: t for t in read(dir=address).trials}
    assert states[0].status == "stopped"
    assert states[0].resumable
    if elsewhere:
        (tmp_path / "cache").rename(tmp_path / "other-machine")
    with lab_process(address, marks, "--resume") as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    again = read(dir=address)
    assert again.info.id == info.id
    assert [(t.status, t.metrics["weight"]) for t in again.trials] == [("finished", 14.0)] * 3
    assert again.trials[0].attempt == 2
    assert again.trials[0].metrics["first"] >= 3
    there = CachedStore(address)
    there.refresh()
    runs = Library(there.root).runs()
    assert len(runs) == 3
    for run in runs:
        assert run.scalars(["weight"])["weight"].v.tolist() == [float(step) for step in range(1, 15)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


def run_beside(**what: Any) -> tuple[threading.Thread, list[LabResult], list[str]]:
    """A lab that trains in a thread, what came of it, and what it said."""
    said: list[str] = []
    results: list[LabResult] = []

    def work() -> None:
        results.append(Lab("beside", train="tests.lab.trainings:curve", **what).run(jobs=1, say=said.append))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, results, said


def test_a_store_that_goes_away_stops_nothing(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {"epochs": 12, "sleep": 0.1}
    with object_server() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        place = own.make("away") + "/labs"
        thread, results, said = run_beside(trials=[{"rate": 0.5}, {"rate": 0.6}], parameters=parameters, store=place)
        remote = Remote(place)
        wait_until(lambda: any(e.key.endswith("run.json") for e in remote.entries()))
        port, bucket = own.port, "away"
        own.end()  # with all that it held
        wait_until(lambda: any(re.search("does not answer .*: recording goes on in", line) for line in said))
        own.begin()
        own.make(bucket)
        thread.join(PATIENCE_SECS)
        assert own.port == port
        [result] = results
        assert [t.status for t in result.trials] == ["finished"] * 2
        assert any(re.search(r"takes what is recorded again, after \d+ attempts? in vain", line) for line in said)
        # What was there before the server forgot it is not put again by itself; `push` of a fresh copy knows nothing.
        root = Path(result.info.path).parents[2]
        copy = tmp_path / "copy"
        copy.mkdir()
        for each in root.iterdir():
            if each.name != ".sync":
                each.rename(copy / each.name)
        for run in Library(copy).runs():
            Mirror(copy, remote).push(f"{run.project}/{run.run_id}")
        back = tmp_path / "back"
        for run in Library(copy).runs():
            Mirror(back, remote).pull(f"{run.project}/{run.run_id}")
            assert same(run.path, back / run.project / run.run_id)


def test_a_store_that_stays_away_is_said_with_what_is_missing(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EPOCHAL_PUSH_LAST_SECS", "3.0")
    with object_server() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        place = own.make("gone")
        thread, results, said = run_beside(trials=[{"rate": 0.5}], parameters={"epochs": 8, "sleep": 0.1}, store=place)
        wait_until(lambda: any(e.key.endswith("run.json") for e in Remote(place).entries()))
        own.end()
        thread.join(PATIENCE_SECS)
    [result] = results
    assert result.trials[0].status == "finished"
    root = Path(result.info.path).parents[2]
    assert any(f"put it there with: epochal push {root} {place}" in line for line in said)
    assert StoredRun(root / "beside" / str(result.trials[0].run)).info().status == "finished"


def test_the_process_that_puts_runs_there_may_be_killed(address: str) -> None:
    thread, results, said = run_beside(trials=[{"rate": 0.5}], parameters={"epochs": 60, "sleep": 0.1}, store=address)
    killed: set[int] = set()

    def kill() -> bool:
        for process in psutil.process_iter():
            if "epochal.store.streamer" in (words := _command(process)) and address in words:
                killed.add(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.3)
        return len(killed) >= 2 or not thread.is_alive()

    wait_until(lambda: any(e.key.endswith("run.json") for e in Remote(address).entries()))
    wait_until(kill)
    thread.join(PATIENCE_SECS)
    assert killed
    [result] = results
    assert result.trials[0].status == "finished"
    assert said == []
    there = CachedStore(address)
    there.refresh()
    assert same(Path(result.info.path).parents[2], there.root)


def test_two_readers_while_it_grows(address: str, tmp_path: Path) -> None:
    thread, results, _ = run_beside(trials=[{"rate": 0.9}], parameters={"epochs": 40, "sleep": 0.2}, store=address)
    wait_until(lambda: any(e.key.endswith("run.json") for e in Remote(address).entries()))
    mirrors = [Mirror(tmp_path / name, Remote(address), cache=True) for name in ("one", "two")]
    seen: list[list[int]] = [[], []]
    while thread.is_alive():
        for mirror, counts in zip(mirrors, seen, strict=True):
            for folder in {"/".join(e.key.split("/")[:2]) for e in mirror.remote.entries() if "/.labs/" not in e.key}:
                mirror.pull(folder)
            for run in Library(mirror.root).runs():
                if "train/loss" in run.summaries():
                    steps = run.scalars(["train/loss"])["train/loss"].steps.tolist()
                    assert steps == list(range(len(steps)))
                    counts.append(len(steps))
    thread.join()
    for counts in seen:
        assert counts == sorted(counts)
        assert len(set(counts)) >= 3  # it was seen to grow
    [result] = results
    for mirror in mirrors:
        folder = f"beside/{result.trials[0].run}"
        mirror.pull(folder)
        assert same(Path(result.info.path).parents[2] / folder, mirror.root / folder)


@pytest.mark.parametrize("trouble", ["bucket", "endpoint", "address"])
def test_what_is_wrong_with_a_store_is_said_before_anything_is_trained(
    address: str, trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, said = {
        "bucket": ("s3://no-such-bucket/x", r"there is no bucket 'no-such-bucket'"),
        "endpoint": (address, r"http://127\.0\.0\.1:1 does not answer"),
        "address": ("s3://", r"names no bucket"),
    }[trouble]
    if trouble == "endpoint":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises((RemoteError, ValueError), match=said) as caught:
        Lab("none", train="tests.lab.trainings:curve", parameters={"a": 1}, store=place).run()
    assert time.monotonic() - began < 20
    assert "testing" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_keys_that_are_refused_are_said_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with object_server({"INITIAL_NO_AUTH_ACTION_COUNT": "1"}) as strict:
        place = strict.make("locked")
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRETNAME")
        with pytest.raises(RemoteError, match="access was refused") as caught:
            Lab("none", train="tests.lab.trainings:curve", parameters={"a": 1}, store=place).run()
    assert "AKIASECRETNAME" not in str(caught.value)
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_the_command_line_reads_and_pushes(address: str, tmp_path: Path) -> None:
    result = Lab(
        "words", train="tests.lab.trainings:curve", space={"rate": [0.2, 0.7]}, parameters={"epochs": 2}, store=address
    ).run(jobs=2)

    def epochal(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "epochal", *words], capture_output=True, text=True, timeout=120, env=os.environ
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    shown = epochal("lab", "show", address, "--json")
    assert result.info.id in json.dumps(shown)
    best = epochal("lab", "best", "--dir", address, "--json")
    assert result.best is not None
    assert str(result.best.run) in json.dumps(best)
    listed = {run["id"].rpartition("/")[2] for run in epochal("ls", "--dir", address, "--json")}
    assert listed == {t.run for t in result.trials}
    root = Path(result.info.path).parents[2]
    moved = tmp_path / "moved"
    pushed = epochal("push", str(root), f"{address}/second", "--json")
    assert pushed["files"] > 0
    assert epochal("push", str(root), f"{address}/second", "--json")["files"] == 0
    for folder in pushed["folders"]:
        Mirror(moved, Remote(f"{address}/second")).pull(folder)
        assert same(root / folder, moved / folder)
