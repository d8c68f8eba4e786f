from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.lab import Lab
from epochal.lab.runner import Runner
from epochal.store import Library, read_lab
from tests.lab.runner_checks import HERE, RunnerChecks

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'epochal[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STORE_BYTES = 80_000_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines, as far as Ray can tell, with one processor each."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


class TestRay(RunnerChecks):
    @pytest.fixture
    def runner(self, cluster: Any) -> Iterator[Runner]:
        from epochal.lab.ray import RayRunner

        runner = RayRunner(cluster.address)
        yield runner
        runner.close()


def test_a_machine_that_dies_loses_no_trial_and_repeats_none(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)
    marks = tmp_path / "marks"
    marks.mkdir()
    doomed = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()
    died: list[str] = []

    def kill() -> None:
        """End the machine in the middle of the trial that it trains."""
        node = doomed.node_id
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not died:
            for said in tmp_path.glob("runs/nodes/.labs/*/outcomes/*.node"):
                number = int(said.name.partition("-")[0])
                if said.read_text() == node and len(list(marks.glob(f"t{number}-*"))) >= 4:
                    died.append(f"t{number}")
                    cluster.remove_node(doomed, allow_graceful=False)
                    return
            time.sleep(0.05)

    watcher = threading.Thread(target=kill)
    watcher.start()
    said: list[str] = []
    result = Lab(
        "nodes",
        train="tests.lab.trainings:resumes",
        trials=[{"name": f"t{n}"} for n in range(5)],
        parameters={"marks": str(marks), "sleep": 0.4, "epochs": 12},
    ).run(dir=tmp_path / "runs", ray=cluster.address, say=said.append)
    watcher.join()
    [lost] = died
    assert [t.status for t in result.trials] == ["finished"] * 5, [(t.error, t.traceback) for t in result.trials]
    assert [t.metrics["weight"] for t in result.trials] == [12.0] * 5
    attempts = {f"t{t.trial.number}": t.attempt for t in result.trials}
    assert attempts.pop(lost) == 2
    assert set(attempts.values()) == {1}
    assert any("the machine that trained it was lost; it is begun again" in line for line in said)
    # It went on from its last snapshot, in the same run, and every epoch of every trial is there once.
    again = next(t for t in result.trials if t.attempt == 2)
    assert again.metrics["first"] >= 2
    runs = Library(tmp_path / "runs").runs()
    assert len(runs) == 5
    for run in runs:
        assert run.scalars(["weight"])["weight"].v.tolist() == [float(step) for step in range(1, 13)]
    info, states = read_lab(tmp_path / "runs")
    assert states == list(result.trials)
    events = [json.loads(line) for line in (Path(info.path) / "events.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "ended" for event in events) == 5
    assert sum(event["event"] == "lost" for event in events) == 1


def test_a_machine_that_does_not_see_the_runs_says_so(cluster: Any, tmp_path: Path) -> None:
    from epochal.lab.ray import RayRunner
    from tests.lab.runner_checks import Bench

    bench = Bench(tmp_path)
    task = bench.task("curve", lab_path=str(tmp_path / "elsewhere"))
    runner = RayRunner(cluster.address)
    try:
        state = bench.one(runner, task)
    finally:
        runner.close()
        bench.log.close()
    assert state.status == "failed"
    assert state.error is not None
    assert "does not see the lab's folder" in state.error


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_that_does_not_answer_is_said_within_seconds(form: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(NotFoundError, match=r"No Ray cluster answers at .*refused"):
        Lab("none", train="m:f", parameters={"a": 1}).run(dir=tmp_path, ray=form.format(port))
    assert time.monotonic() - began < 5
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"", None])
def test_another_server_is_known_within_seconds(answer: bytes | None, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        lines = []

        def serve() -> None:
            line, _ = server.accept()
            lines.append(line)
            if answer is not None:  # otherwise it says nothing at all
                line.sendall(answer)
                line.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(NotFoundError, match=r"is no Ray|timed out"):
            Lab("none", train="m:f", parameters={"a": 1}).run(dir=tmp_path, ray=f"127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 8
        thread.join()
        lines[0].close()


def test_an_address_that_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Lab("none", train="m:f", parameters={"a": 1}).run(dir=tmp_path, ray="http://a/b:c")
