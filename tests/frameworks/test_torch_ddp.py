"""Trainings of two processes: what we do must not come between them, and gradients are those that they agreed on."""

from __future__ import annotations

import contextlib
import copy
import importlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("torch.distributed", reason="needs PyTorch with torch.distributed")

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.parallel import DistributedDataParallel

from epochal.record import init
from epochal.store import StoredRun
from tests.frameworks.torch_trainings import column

pytestmark = [pytest.mark.torch, pytest.mark.distributed]

dist: Any = importlib.import_module("torch.distributed")
if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

STEPS = 6
WORLD = 2
spawn: Any = importlib.import_module("torch.multiprocessing").spawn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.drop(torch.relu(self.norm(self.first(x)))))
        return out


def batch(step: int, rank: int) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(step * WORLD + rank)
    return torch.randn(8, 4, generator=made), torch.randint(0, 3, (8,), generator=made)


def train(rank: int, kind: str, folder: Path, *, watched: bool) -> dict[str, Any]:
    """One process's training; what its parameters were, and the gradients that its optimizer got, by its own hand."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model: Any = Network()
    called: Any = model
    if kind != "by hand, compiled":
        called = DistributedDataParallel(
            model,
            find_unused_parameters=True,
            gradient_as_bucket_view=kind == "views",
            static_graph=kind == "static",
        )
    wrapped = called
    if kind in ("compiled", "by hand, compiled"):
        called = torch.compile(called, backend="eager")
    elif kind == "compiled inside":
        model.compile(backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, enabled=kind == "scaled")
    run = None
    if watched:
        where = folder / kind / str(rank)
        run = init("ddp", dir=where, rank=0, world_size=1, strict=False, console=False, code=False, system=False)
        run.watch(called, budget=None)
    torch.manual_seed(rank)
    gradients = []
    for step in range(STEPS):
        parts = 2 if kind == "accumulated" else 1
        for part in range(parts):
            x, y = batch(step * parts + part, rank)
            with wrapped.no_sync() if part < parts - 1 else contextlib.nullcontext():
                scaler.scale(F.cross_entropy(called(x), y) / parts).backward()  # type: ignore[no-untyped-call]
        if kind == "by hand, compiled":
            for parameter in model.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= WORLD
        scaler.unscale_(optimizer)
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        # The processes look at different times: none may wait for another because of us.
        if run is not None and (rank == 0 or step % 2 == 0):
            run.log({"x": 1.0}, step=step, epoch=step)
    state = copy.deepcopy(model.state_dict())
    if run is not None:
        run.finish()
    return {"state": state, "gradients": gradients, "path": run.path if run is not None else None}


def recording(name: str, task: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found: dict[str, Any] = task(*arguments, **options)
    return {**found, "told": [str(w.message) for w in told]}


def process(rank: int, folder: str, meet: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=WORLD)
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = {
            name: recording(name, train, rank, kind, Path(folder), watched=name == "watched")
            for name in ("alone", "watched")
        }
    if hasattr(importlib.import_module("torch.distributed.fsdp"), "fully_shard"):
        found["sharded"] = recording("sharded", spread, rank, Path(folder))
    (Path(folder) / f"found{rank}").write_bytes(pickle.dumps(found))
    dist.destroy_process_group()


KINDS = ["plain", "views", "static", "accumulated", "scaled", "compiled", "compiled inside", "by hand, compiled"]
Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What all trainings came to, for each process: starting processes takes longer than the trainings."""
    folder = tmp_path_factory.mktemp("ddp")
    spawn(process, args=(str(folder), str(folder / "meet")), nprocs=WORLD, join=True)
    return [pickle.loads((folder / f"found{rank}").read_bytes()) for rank in range(WORLD)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", range(WORLD))
def test_ddp_trains_the_same_and_shows_the_gradients_agreed_on(found: Found, kind: str, rank: int) -> None:
    alone, watched = found[rank][kind]["alone"], found[rank][kind]["watched"]
    assert all(torch.equal(alone["state"][n], watched["state"][n]) for n in alone["state"])
    stored = StoredRun(watched["path"])
    steps = list(range(STEPS)) if rank == 0 else [0, 2, 4]
    table = stored.statistics("grad/first.weight")
    assert table.steps.tolist() == steps
    for k, step in enumerate(steps):
        if step == 2 and rank == 1:
            continue  # gradients are zeroed before the log call, and nobody knew yet that looks are two steps apart
        agreed = watched["gradients"][step]["first.weight"]
        np.testing.assert_allclose(column(table, "norm")[k], agreed.double().norm(), rtol=1e-6)
    acts = [n for n in stored.statistics_series() if n.startswith("act/")]
    if kind == "by hand, compiled":
        assert acts == []
        assert any("its processes may talk to each other in the forward pass" in text for text in watched["told"])
    else:
        assert acts == ["act/first", "act/norm", "act/head"]
        calls = 2 if kind == "accumulated" else 1
        assert column(stored.statistics("act/first"), "size")[0] in {8 * 8 * n for n in range(1, calls + 1)}


@pytest.mark.parametrize("kind", KINDS)
def test_processes_agree_on_gradients(found: Found, kind: str) -> None:
    both = [found[rank][kind]["watched"]["gradients"] for rank in range(WORLD)]
    for one, other in zip(*both, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def spread(rank: int, folder: Path) -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    mesh = init_device_mesh("cpu", (WORLD,))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    where = folder / "sharded" / str(rank)
    run = init("fsdp", dir=where, rank=0, world_size=1, strict=False, console=False, code=False, system=False)
    run.watch(model, budget=None)
    whole = []
    for step in range(4):
        x, y = batch(step, rank)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        parameters = dict(model.named_parameters())
        whole.append({n: (p.full_tensor().detach(), p.grad.full_tensor()) for n, p in parameters.items()})
        if rank == 0 or step % 2 == 0:
            run.log({"x": 1.0}, step=step, epoch=step)
    run.finish()
    return {"path": run.path, "whole": whole}


def test_each_process_records_its_part_of_a_fully_sharded_network(found: Found) -> None:
    if "sharded" not in found[0]:
        pytest.skip("this PyTorch has no fully_shard")
    both = [f["sharded"] for f in found]
    stored = [StoredRun(f["path"]) for f in both]
    for step in (0, 2):
        for name, (value, gradient) in both[0]["whole"][step].items():
            parts = [s.snapshot(step)[name] for s in stored]
            assert np.array_equal(np.concatenate(parts), value.numpy())
            tables = [s.statistics(f"grad/{name}") for s in stored]
            norms = [column(t, "norm")[t.steps.tolist().index(step)] for t in tables]
            np.testing.assert_allclose(np.linalg.norm(norms), gradient.double().norm(), rtol=1e-5)
    assert any("each process records its own part of them" in text for text in both[0]["told"])
    assert any("cannot be run by one of them" in text for text in both[0]["told"])
    graph = stored[0].graph()
    assert graph is not None
    assert graph.source == "parameters"
