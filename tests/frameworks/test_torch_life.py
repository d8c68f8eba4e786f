"""How a PyTorch model fares while it is watched: its network recorded, itself copied, compiled, let go of."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import subprocess
import sys
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn

from epochal.errors import RecordingWarning
from epochal.frameworks.torch import TorchProbe, unwrap
from epochal.record import init
from tests.frameworks.torch_trainings import Block, Branching, batch, begin, hooks_left, stored, train

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("given", [True, False])
def test_the_network_is_recorded_and_left_as_it_was(tmp_path: Path, *, given: bool) -> None:
    torch.manual_seed(0)
    model = Block()
    model.norm.eval()
    modes = [m.training for m in model.modules()]
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    x, _ = batch(0)
    with begin(tmp_path) as run:
        run.watch(model, inputs=x if given else None)
        if given:
            assert torch.equal(torch.get_rng_state(), random)
            assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        else:
            model(x)
        mid = torch.get_rng_state()
        run.log({"x": 1.0}, step=0)
        assert torch.equal(torch.get_rng_state(), mid)
        assert [m.training for m in model.modules()] == modes
    found = stored(run)
    graph = found.graph()
    assert graph is not None
    assert graph.source == "export"
    assert graph.parameter_count == sum(p.numel() for p in model.parameters())
    path = found.network_path()
    assert path is not None
    program = torch.export.load(path).module()
    model.eval()
    assert torch.allclose(program(batch(3, 5)[0]), model(batch(3, 5)[0]), atol=1e-5)
    assert hooks_left(model) == 0


def test_a_network_that_cannot_be_exported_is_drawn_and_told(tmp_path: Path) -> None:
    run = init("torch", dir=tmp_path, strict=False)
    with pytest.warns(RecordingWarning, match="could not be exported, only its graph is recorded"):
        run.watch(Branching(), inputs=torch.zeros(2, 4), snapshots=None)
    run.finish()
    graph = stored(run).graph()
    assert graph is not None
    assert graph.source == "forward"
    assert graph.note
    assert stored(run).network_path() is None


def test_a_forward_pass_that_fails_still_lists_the_parameters(tmp_path: Path) -> None:
    with init("torch", dir=tmp_path, strict=False) as run:
        with pytest.warns(RecordingWarning, match="could not be exported"):
            run.watch(nn.Linear(4, 3), inputs=torch.zeros(2, 5))
        run.log({"x": 1.0}, epoch=0)
    graph = stored(run).graph()
    assert graph is not None
    assert graph.source == "parameters"
    assert stored(run).snapshot_steps() == [0]


def test_inputs_by_name_are_caught(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            out: Tensor = self.a(x) * scale
            return out

    model = Named()
    with begin(tmp_path) as run:
        run.watch(model)
        model(torch.zeros(100, 4), scale=torch.ones(3))
        run.log({"x": 1.0})
    graph = stored(run).graph()
    assert graph is not None
    assert graph.source == "export"


def test_a_watched_model_pickles_and_copies(tmp_path: Path) -> None:
    model = Block()
    with begin(tmp_path) as run:
        run.watch(model)
        assert hooks_left(model) > 0
        pickled = pickle.dumps(model)
        copied = copy.deepcopy(model)
        train(model, run, 3)
        assert hooks_left(model) > 0
        torch.save(model, io.BytesIO())
        copied(torch.zeros(2, 4))
        assert hooks_left(model) > 0
    again = pickle.loads(pickled)
    assert again(torch.zeros(2, 4)).shape == (2, 3)
    assert hooks_left(model) == 0
    assert stored(run).snapshot_steps() == [0, 1, 2]


def test_a_pickled_model_opens_where_epochal_is_not_installed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    with begin(tmp_path) as run:
        run.watch(model)
        assert hooks_left(model) > 0
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
        run.log({"x": 1.0})
    code = (
        "import sys, pickle; sys.modules['epochal'] = None\n"
        f"model = pickle.load(open({str(tmp_path / 'model.pkl')!r}, 'rb'))\n"
        "import torch; print(tuple(model(torch.zeros(2, 4)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 3)", done.stderr


def test_a_model_that_is_let_go_of_is_freed(tmp_path: Path) -> None:
    model = Block()
    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model)
        train(model, run, 2)
        gone, weight = weakref.ref(model), weakref.ref(model.head)
        del model
        gc.collect()
        assert gone() is None
        assert weight() is None
        with pytest.warns(RecordingWarning, match="no longer there"):
            run.log({"x": 1.0}, step=5, epoch=5)
        run.log({"x": 1.0}, step=6, epoch=6)
    assert stored(run).snapshot_steps() == [0, 1]


def test_wrapped_and_compiled_models_are_unwrapped(tmp_path: Path) -> None:
    model = Block()
    assert unwrap(nn.DataParallel(model)) is model
    compiled: Any = torch.compile(model, backend="eager")
    assert unwrap(compiled) is model
    with begin(tmp_path) as run:
        run.watch(compiled)
        assert not any(len(m._forward_hooks) for m in model.modules())
        run.log({"x": 1.0}, epoch=0)
    assert set(stored(run).snapshot(0)) == set(model.state_dict())


@pytest.mark.parametrize("when", ["before watching", "after watching", "in place, after watching"])
def test_compiled_training_is_compiled_once(tmp_path: Path, when: str) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with begin(tmp_path) as run:
        called: Any = model
        if when == "before watching":
            called = torch.compile(model, backend="eager")
            run.watch(called)
        else:
            run.watch(model)
            if when == "after watching":
                called = torch.compile(model, backend="eager")
            else:
                model.compile(backend="eager")
        told = (
            pytest.warns(RecordingWarning, match="watch what torch.compile")
            if when == "after watching"
            else nullcontext()
        )
        with told:
            train(called, run, 12)
    assert counters["stats"]["unique_graphs"] == 1
    assert stored(run).snapshot_steps() == list(range(12))
    assert "grad/0.weight" in stored(run).statistics_series()
    acts = [name for name in stored(run).statistics_series() if name.startswith("act/")]
    assert acts == ([] if when == "after watching" else ["act/0", "act/1", "act/2"])


def test_lazy_modules_are_taken_up_once_they_have_a_shape(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LazyLinear(5), nn.LazyLinear(3))
    with init("torch", dir=tmp_path, strict=True) as run:
        run.watch(model)
        model(torch.zeros(2, 4))
        run.log({"x": 1.0}, epoch=0)
    assert set(stored(run).snapshot(0)) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_a_scripted_module_is_watched(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        model = torch.jit.script(nn.Sequential(nn.Linear(4, 3)))
    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model, activations=False)
        run.log({"x": 1.0}, epoch=0)
    assert set(stored(run).snapshot(0)) == {"0.weight", "0.bias"}


def test_only_torch_modules_are_taken() -> None:
    from epochal.frameworks.torch import probe

    assert probe({"w": torch.zeros(2)}) is None
    assert isinstance(probe(nn.Linear(1, 1)), TorchProbe)


@pytest.mark.parametrize("kind", ["numpy", "tuple", "by name"])
def test_example_batches_of_any_kind(tmp_path: Path, kind: str) -> None:
    x = torch.zeros(3, 4)
    inputs: Any = {"numpy": x.double().numpy(), "tuple": (x,), "by name": {"x": x.numpy()}}[kind]
    model = Block()
    with begin(tmp_path) as run:
        run.watch(model, inputs=inputs)
    graph = stored(run).graph()
    assert graph is not None
    assert graph.source == "export"


def test_a_watch_that_fails_leaves_no_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(probe: TorchProbe) -> None:
        raise RuntimeError("no memory")

    model = Block()
    with init("torch", dir=tmp_path, strict=False) as run:
        monkeypatch.setattr(TorchProbe, "arm", broken)
        with pytest.warns(RecordingWarning, match=r"run.watch\(\) failed, training goes on: RuntimeError: no memory"):
            run.watch(model)
        assert hooks_left(model) == 0
        run.log({"x": 1.0}, epoch=0)
    assert stored(run).scalars()["x"].v.tolist() == [1.0]
