"""Runs in processes that multiprocessing starts, and what happens to a run whose process forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import epochal
from epochal.store import StoredRun


def _fall(run: epochal.Run) -> None:
    raise ValueError("boom")


def _exit_well(run: epochal.Run) -> None:
    sys.exit(0)


def _exit_badly(run: epochal.Run) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        sys.exit(1)


def _exit_with_a_word(run: epochal.Run) -> None:
    sys.exit("no data")


def _go(run: epochal.Run) -> None:
    pass


ENDINGS: dict[str, tuple[Callable[[epochal.Run], None], str, str | None]] = {
    "return": (_go, "finished", None),
    "error": (_fall, "failed", "ValueError: boom"),
    "exit": (_exit_well, "finished", None),
    "exit after an error": (_exit_badly, "failed", "ValueError: boom"),
    "exit with a word": (_exit_with_a_word, "failed", "SystemExit: no data"),
}


def train(root: Path, ending: str) -> None:
    run = epochal.init("worker", dir=root, id="r", system=False, console=False, code=False)
    for step in range(100):
        run.log({"loss": float(step)})
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the traceback that multiprocessing prints
    ENDINGS[ending][0](run)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_run_in_a_worker_ends_with_it_and_knows_how(tmp_path: Path, method: str, ending: str) -> None:
    if method == "spawn" and ending not in ("return", "error"):
        pytest.skip("the same code as for fork, and a second slower")
    context = multiprocessing.get_context("fork") if method == "fork" else multiprocessing.get_context("spawn")
    process = context.Process(target=train, args=(tmp_path, ending))
    process.start()
    process.join(30)
    run = StoredRun(tmp_path / "worker" / "r")
    info = run.info()
    assert (info.status, info.error) == ENDINGS[ending][1:]
    assert run.scalars()["loss"].v.tolist() == [float(step) for step in range(100)]
    assert run.notices() == ()


def log_in_child(run: epochal.Run, told: int) -> None:
    for step in range(50):
        run.log({"child": 1.0}, step=step)
    run.watch({"w": __import__("numpy").zeros(2)})
    run.snapshot()
    run.define("child", better="min")
    run.finish("failed")
    os.write(told, b"done")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_leaves_its_parents_run_alone(tmp_path: Path) -> None:
    read, write = os.pipe()
    with epochal.init("p", dir=tmp_path, id="r", strict=True) as run:
        run.log({"loss": 1.0})
        process = multiprocessing.get_context("fork").Process(target=log_in_child, args=(run, write))
        process.start()
        process.join(30)
        assert (process.exitcode, os.read(read, 10)) == (0, b"done")
        run.log({"loss": 2.0})
    found = StoredRun(tmp_path / "p" / "r")
    assert {n: s.v.tolist() for n, s in found.scalars().items() if not n.startswith("system/")} == {"loss": [1.0, 2.0]}
    assert (found.info().status, found.notices()) == ("finished", ())


@pytest.mark.torch
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_that_load_data_do_not_disturb_the_run(tmp_path: Path, method: str) -> None:
    torch = pytest.importorskip("torch", reason="the workers are those of a DataLoader")
    data = torch.utils.data.TensorDataset(torch.arange(64.0).reshape(32, 2), torch.arange(32.0))
    model = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
    with epochal.init("p", dir=tmp_path, id="r", strict=True) as run:
        run.watch(model)
        for epoch in range(2):
            for inputs, targets in torch.utils.data.DataLoader(
                data, batch_size=8, num_workers=2, multiprocessing_context=method
            ):
                loss = torch.nn.functional.mse_loss(model(inputs)[:, 0], targets)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                run.log({"loss": loss}, epoch=epoch)
    found = StoredRun(tmp_path / "p" / "r")
    assert len(found.scalars()["loss"]) == 8
    assert (found.info().status, found.notices()) == ("finished", ())
    assert len(found.snapshot_steps()) >= 2


def test_a_process_that_forks_while_threads_log_loses_nothing(tmp_path: Path) -> None:
    """The child's copies of locks may be held by threads that it does not have."""
    import threading
    import warnings

    stop = threading.Event()
    counts = [0, 0, 0]
    with epochal.init("p", dir=tmp_path, id="r", strict=True, system=False) as run:

        def work(number: int) -> None:
            while not stop.is_set():
                run.log({f"t{number}": float(counts[number])}, step=counts[number])
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        pids = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(10):
                pid = os.fork()
                if not pid:
                    signal.alarm(20)
                    run.log({"child": 1.0})
                    with epochal.init("p", dir=tmp_path, id=f"c{os.getpid()}", system=False, console=False) as own:
                        own.log({"own": 1.0})
                    os._exit(0)
                pids.append(pid)
                time.sleep(0.01)
        codes = [os.waitpid(pid, 0)[1] for pid in pids]
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 10
    found = StoredRun(tmp_path / "p" / "r").scalars()
    assert {n: len(s) for n, s in found.items()} == {f"t{n}": counts[n] for n in range(3)}
    for pid in pids:
        child = StoredRun(tmp_path / "p" / f"c{pid}")
        assert (child.info().status, child.scalars()["own"].v.tolist()) == ("finished", [1.0])


def test_a_run_that_its_function_let_go_of_ends_with_the_script(tmp_path: Path) -> None:
    from tests.store.helpers import run_child

    code = """
        import sys, epochal, numpy
        def train():
            run = epochal.init("p", dir=sys.argv[1], id="r")
            weights = numpy.zeros(2)
            run.watch({"w": weights})
            for epoch in range(3):
                weights += 1
                run.log({"loss": 1.0}, epoch=epoch)
        train()
    """
    run_child(code, tmp_path)
    found = StoredRun(tmp_path / "p" / "r")
    assert found.info().status == "finished"
    assert found.snapshot_steps() == [0, 1, 2]
