"""A lab in an object store on a cluster whose machines have no folder in common."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from epochal.lab import Lab, read
from epochal.lab.runner import Ended, Runner, Task
from epochal.lab.shared import SharedStore
from epochal.store import Library
from epochal.store.cache import CachedStore
from epochal.store.remote import Remote
from tests.lab.runner_checks import HERE, PATIENCE_SECS, Bench, RunnerChecks
from tests.objects import ObjectServer, object_server

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'epochal[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STORE_BYTES = 80_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.variables.items():
            patch.setenv(name, value)
        patch.setenv("EPOCHAL_PUSH_SECS", "0.3")
        patch.setenv("EPOCHAL_PUSH_LAST_SECS", "8")
        yield server


@pytest.fixture(scope="module")
def cluster(server: ObjectServer) -> Iterator[Any]:
    """Two machines, as far as Ray can tell, with one processor each, that know the way to the store."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture
def address(server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(HERE)
    return server.make(f"ray-{len(server.buckets)}") + "/team"


class StoreBench(Bench):
    """Reads what trials have put into the store."""

    def __init__(self, root: Path, address: str) -> None:
        super().__init__(root)
        self.said: list[str] = []
        self.store = SharedStore(address, root, say=self.said.append)
        self.store.begin(self.log.path, follows_runs=False)

    def task(self, training: str, parameters: Any = None, **more: Any) -> Task:
        # A root that no machine has: whatever looks there does not find it.
        return replace(super().task(training, parameters, **more), store=self.store.address)

    def look(self, task: Task) -> None:
        self.store.bring(task)


class Noted:
    """A runner whose trials are taken note of, as a lab's session does."""

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


class TestRayAndStore(RunnerChecks):
    def test_a_trial_that_was_killed_leaves_nothing_on_its_machine(self, runner: Runner, bench: StoreBench) -> None:
        before = set(scratch_folders())
        state = bench.one(runner, bench.task("killed"))
        assert state.metrics["loss"] == 0.25  # what it logged last was put by the process beside it
        deadline = time.monotonic() + PATIENCE_SECS
        while set(scratch_folders()) - before:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    @pytest.fixture
    def bench(self, tmp_path: Path, address: str) -> Iterator[Bench]:
        bench = StoreBench(tmp_path / "head", address)
        with bench.log:
            yield bench
        bench.store.close()
        assert bench.said == []

    @pytest.fixture
    def runner(self, cluster: Any, bench: StoreBench) -> Iterator[Runner]:
        from epochal.lab.ray import RayRunner

        runner = RayRunner(cluster.address, bring=bench.store.bring, say=lambda _: None)
        yield Noted(runner, bench.store)
        runner.close()


def scratch_folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("epochal-trial-*"))


def streamers(scratch: Path) -> list[psutil.Process]:
    """The processes that put what is recorded in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(scratch) in process.cmdline():
                found.append(process)
        except psutil.Error:
            pass
    return found


def test_a_machine_that_dies_loses_no_trial_and_repeats_none(cluster: Any, address: str, tmp_path: Path) -> None:
    before = set(scratch_folders())
    marks = tmp_path / "marks"
    marks.mkdir()
    doomed = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    died: list[str] = []
    remote = Remote(address)

    def kill() -> None:
        """End the machine, and all that is on it, in the middle of the trial that it trains."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not died:
            for scratch in set(scratch_folders()) - before:
                for said in scratch.glob("nodes/.labs/*/outcomes/*.node"):
                    number = int(said.name.partition("-")[0])
                    there = [e.key for e in remote.entries() if "/params/" in e.key]
                    runs = [p.name for p in (scratch / "nodes").glob("2*")]
                    if said.read_text() == doomed.node_id and sum(r in key for r in runs for key in there) >= 3:
                        died.append(f"t{number}")
                        putting = streamers(scratch)
                        for process in putting:  # a machine that is gone puts nothing any more
                            process.suspend()
                        cluster.remove_node(doomed, allow_graceful=False)
                        for process in putting:
                            process.kill()
                        return
            time.sleep(0.05)

    watcher = threading.Thread(target=kill)
    watcher.start()
    said: list[str] = []
    result = Lab(
        "nodes",
        train="tests.lab.trainings:resumes",
        trials=[{"name": f"t{n}"} for n in range(5)],
        parameters={"marks": str(marks), "sleep": 0.4, "epochs": 14},
        store=address,
    ).run(ray=cluster.address, say=said.append)
    watcher.join()
    [lost] = died
    assert [t.status for t in result.trials] == ["finished"] * 5, [(t.error, t.traceback) for t in result.trials]
    assert [t.metrics["weight"] for t in result.trials] == [14.0] * 5
    attempts = {f"t{t.trial.number}": t.attempt for t in result.trials}
    assert attempts.pop(lost) == 2
    assert set(attempts.values()) == {1}
    assert any("the machine that trained it was lost; it is begun again" in line for line in said)
    again = next(t for t in result.trials if t.attempt == 2)
    assert again.metrics["first"] >= 2  # it went on from a snapshot that was in the store
    there = CachedStore(address)
    there.refresh()
    runs = Library(there.root).runs()
    assert len(runs) == 5
    for run in runs:
        assert run.scalars(["weight"])["weight"].v.tolist() == [float(step) for step in range(1, 15)]
        assert run.snapshot_steps() == list(range(14))
    assert read(dir=address).trials == result.trials
    [events] = there.root.glob("nodes/.labs/*/events.jsonl")
    told = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    assert (told.count("ended"), told.count("lost")) == (5, 1)
    assert [e.key for e in remote.entries() if "/outcomes/" in e.key] == []
    # What trials recorded on their machines is taken away once it is in the store.
    left = set(scratch_folders()) - before
    assert len(left) <= 1, "at most that of the machine that was lost"
    shutil.rmtree(left.pop())


def test_a_store_that_is_away_at_the_end_of_a_trial_does_not_lose_it(
    cluster: Any, tmp_path: Path, address: str
) -> None:
    """Ray carries the word of how it ended; what the trial recorded stays on its machine, which is said."""
    from epochal.lab.ray import RayRunner

    bench = StoreBench(tmp_path / "head", address)
    bucket = Remote(address).bucket
    task = bench.task("endless", trial_seconds=3.0)
    runner = RayRunner(cluster.address, bring=bench.store.bring, say=bench.said.append)
    try:
        with bench.log:
            runner.start(task)
            bench.until(task, "loss")
            _empty(os.environ["AWS_ENDPOINT_URL"], bucket)
            [state] = bench.wait(runner, 1)
    finally:
        runner.close()
    assert (state.status, state.error) == ("stopped", "the trial took longer than 3 s")
    assert any("not all of it is in the store; it lies on" in line for line in bench.said)
    left = next(line.partition(": ")[2] for line in bench.said if "it lies on" in line)
    assert "there is no bucket" in left
    bench.store.close()


def _empty(endpoint: str, bucket: str) -> None:
    """Take a bucket away with all that is in it."""
    import boto3

    client = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.Bucket(bucket).objects.all().delete()
    client.Bucket(bucket).delete()
