"""PyTorch trainings of several processes are one run: as `torch.multiprocessing` and `torchrun` start them, on gloo."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import epochal
from epochal.store import StoredRun

torch = pytest.importorskip("torch", reason="needs PyTorch")
dist = pytest.importorskip("torch.distributed", reason="needs PyTorch with torch.distributed")
if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)


pytestmark = [pytest.mark.torch, pytest.mark.distributed]

STEPS = 12
spawn: Any = importlib.import_module("torch.multiprocessing").spawn


def train(rank: int, world_size: int, root: str, meet: str, behaviour: str) -> None:
    """One process of a DDP training. What it logs is also written down by itself, for the test to compare."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=world_size)
    torch.manual_seed(rank)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    run = epochal.init("ddp", dir=root, strict=True, system=0.5, console=False, code=False)
    assert (run.rank, run.world_size) == (rank, world_size)
    run.watch(model, inputs=torch.zeros(1, 4))
    logged: list[tuple[int, float, float]] = []
    for step in range(STEPS):
        loss = model(torch.randn(8, 4)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        at = 10 * step if behaviour == "other steps" and rank == world_size - 1 else step
        values = {"loss": float(loss.detach()), "noise": float(torch.randn(()))}
        run.log(values, step=at, epoch=step // 4)
        logged.append((at, values["loss"], values["noise"]))
        if behaviour == "killed" and step == STEPS // 2:
            dist.barrier()
            if rank == world_size - 1:
                Path(root, f"logged{rank}.json").write_text(json.dumps(logged))
                os.kill(os.getpid(), signal.SIGKILL)
            break
    if behaviour == "killed":  # what a training does that goes on without the lost process
        for step in range(STEPS // 2 + 1, STEPS):
            values = {"loss": step / 3, "noise": 0.0}
            run.log(values, step=step)
            logged.append((step, values["loss"], values["noise"]))
    Path(root, f"logged{rank}.json").write_text(json.dumps(logged))
    if rank == 0:
        state = {name: tensor.tolist() for name, tensor in model.module.state_dict().items()}
        Path(root, "state.json").write_text(json.dumps(state))
    if behaviour != "killed":
        dist.destroy_process_group()
    if behaviour != "no finish":
        run.finish()


def only_run(root: Path) -> StoredRun:
    (path,) = [file.parent for file in root.glob("*/*/run.json")]
    return StoredRun(path)


def logged(root: Path, world_size: int) -> list[list[tuple[int, float, float]]]:
    return [json.loads((root / f"logged{rank}.json").read_text()) for rank in range(world_size)]


def check(run: StoredRun, told: list[list[tuple[int, float, float]]]) -> None:
    """Every rank's numbers are there bit for bit, and means, least and greatest are those that Python finds."""
    series = run.scalars()
    for rank, rows in enumerate(told):
        prefix = f"rank{rank}/" if rank else ""
        for column, name in ((1, "loss"), (2, "noise")):
            assert series[prefix + name].steps.tolist() == [row[0] for row in rows]
            assert series[prefix + name].v.tolist() == [row[column] for row in rows]
    for column, name in ((1, "loss"), (2, "noise")):
        steps = sorted({row[0] for rows in told for row in rows})
        at = {step: [row[column] for rows in told for row in rows if row[0] == step] for step in steps}
        shared = [step for step in steps if len(at[step]) > 1]
        for how, make in (("mean", fmean), ("min", min), ("max", max)):
            found = series[f"ranks/{how}/{name}"]
            assert found.steps.tolist() == shared
            assert found.v.tolist() == pytest.approx([float(make(at[step])) for step in shared], rel=1e-15)
    assert "ranks/mean/epoch" not in series


@pytest.mark.parametrize(
    ("world_size", "behaviour"),
    [(2, "plain"), pytest.param(4, "other steps", marks=pytest.mark.slow), (2, "no finish")],
)
def test_spawned_processes_are_one_run(tmp_path: Path, world_size: int, behaviour: str) -> None:
    """No launcher, no variables: only torch.distributed knows."""
    spawn(train, args=(world_size, str(tmp_path), str(tmp_path / "meet"), behaviour), nprocs=world_size)
    run = only_run(tmp_path)
    info = run.info()
    assert (info.status, info.ranks, info.error) == ("finished", world_size, None)
    check(run, logged(tmp_path, world_size))
    assert run.graph() is not None
    if behaviour == "no finish":  # its model is gone when the process ends: the last step is kept if there was time
        seen = run.snapshot_steps()[-1] == logged(tmp_path, world_size)[0][-1][0]
        assert [n.code for n in run.notices()] == ([] if seen else ["dropped_network"])
    else:
        assert run.notices() == ()
        state = json.loads((tmp_path / "state.json").read_text())
        kept = run.snapshot(run.snapshot_steps()[-1])
        assert {name: array.tolist() for name, array in kept.items()} == state
    assert not [name for name in run.statistics_series() if name.startswith("rank")]
    machine = [name for name in run.scalars() if name.endswith("system/memory")]
    # Told once for all processes of a machine; a short training may end before anything was measured.
    assert machine in (["system/memory"], [])


@pytest.mark.slow
def test_a_process_that_is_killed_stops_nobody(tmp_path: Path) -> None:
    context = spawn(train, args=(4, str(tmp_path), str(tmp_path / "meet"), "killed"), nprocs=4, join=False)
    for process in context.processes:  # join() would end the others
        process.join(60)
    assert [process.exitcode for process in context.processes] == [0, 0, 0, -signal.SIGKILL]
    run = only_run(tmp_path)
    check(run, logged(tmp_path, 4))
    assert run.info().status == "finished"
    assert [(n.code, n.count) for n in run.notices()] == [("dead_rank", 1)]


TORCHRUN = """
    import sys
    import torch.distributed as dist, epochal, torch, json
    from pathlib import Path
    order, root = sys.argv[1], sys.argv[2]
    if order == "group first":
        dist.init_process_group("gloo")
    with epochal.init("torchrun", dir=root, strict=True, system=False, console=False, code=False) as run:
        if order == "run first":
            dist.init_process_group("gloo")
        assert (run.rank, run.world_size) == (dist.get_rank(), dist.get_world_size())
        rows = []
        for step in range(5):
            value = torch.tensor(float(step + 10 * run.rank))
            run.log({"loss": value, "noise": 0.0}, step=step)
            dist.all_reduce(value)
            rows.append((step, float(step + 10 * run.rank), 0.0))
        Path(root, f"logged{run.rank}.json").write_text(json.dumps(rows))
    dist.destroy_process_group()
"""


def torchrun(tmp_path: Path, order: str, *options: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(TORCHRUN))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options, str(script), order]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*command, str(tmp_path / "runs")], env=environment, text=True, capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize("order", ["group first", "run first"])
def test_torchrun_makes_one_run(tmp_path: Path, order: str) -> None:
    (tmp_path / "runs").mkdir()
    done = torchrun(tmp_path, order, "--nproc-per-node", "2")
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path / "runs")
    check(run, logged(tmp_path / "runs", 2))
    assert (run.info().status, run.info().ranks, run.notices()) == ("finished", 2, ())


class TestGroup:
    """What the port gives, in one process."""

    @pytest.fixture(autouse=True)
    def group(self, tmp_path: Path) -> Any:
        dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
        yield
        if dist.is_initialized():
            dist.destroy_process_group()

    def test_word_is_left_and_found(self) -> None:
        from epochal.frameworks.torch_distributed import group

        found = group()
        assert found is not None
        assert (found.rank, found.world_size) == (0, 1)
        assert found.read("a") is None
        found.post("a", "ä")
        assert found.read("a") == "ä"

    def test_without_a_store_nobody_hears(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from epochal.frameworks import torch_distributed

        def none() -> Any:
            raise KeyError("no default store")

        monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", none)
        found = torch_distributed.group()
        assert found is not None
        found.post("a", "b")
        assert found.read("a") is None

    def test_a_store_that_is_gone_is_no_word(self) -> None:
        from epochal.frameworks.torch_distributed import TorchGroup

        class Gone:
            def check(self, keys: list[str]) -> bool:
                raise RuntimeError("the connection was lost")

            def set(self, key: str, value: str) -> None:
                raise RuntimeError("the connection was lost")

        found = TorchGroup(1, 2, Gone())
        found.post("a", "b")
        assert found.read("a") is None

    def test_the_place_is_that_of_the_group(self) -> None:
        from epochal.record.ranks import find_place

        assert find_place(environ={"RANK": "3", "WORLD_SIZE": "8"}).world_size == 1
        dist.destroy_process_group()
        assert find_place(environ={"RANK": "3", "WORLD_SIZE": "8"}).world_size == 8
