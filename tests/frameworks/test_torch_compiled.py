"""Compiled networks: watched like others, compiled as often as without us, trained to the same bit."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from epochal.errors import RecordingWarning
from epochal.frameworks.torch import TorchProbe
from epochal.record import Run, init
from tests.frameworks.torch_trainings import Block, batch, begin, step_of, stored

pytestmark = [
    pytest.mark.torch,
    # PyTorch's own, from inside inductor.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
]

HOWS = ["wrapped", "in place", "a part wrapped", "a part in place"]


class Parted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body: Any = Block()
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.body(x)))
        return out


def compiled(model: Any, how: str, backend: str) -> Any:
    if how == "wrapped":
        return torch.compile(model, backend=backend)
    if how == "in place":
        model.compile(backend=backend)
    elif how == "a part wrapped":
        model.body = torch.compile(model.body, backend=backend)
    elif how == "a part in place":
        model.body.compile(backend=backend)
    return model


def trained(how: str, backend: str, run: Run | None, *, steps: int = 6) -> tuple[dict[str, Tensor], int]:
    """Train from the same start; the last parameters, and how often it was compiled."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    made: Any = Parted()
    model = compiled(made, how, backend)
    if run is not None:
        run.watch(model, budget=None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        loss = step_of(model, optimizer, step)
        if run is not None:
            run.log({"loss": loss}, step=step, epoch=step)
    state = {name.replace("_orig_mod.", ""): value.clone() for name, value in made.state_dict().items()}
    return state, counters["stats"]["unique_graphs"]


def acts(run: Run) -> dict[str, Any]:
    names = [n for n in stored(run).statistics_series() if n.startswith("act/")]
    return {n.replace("_orig_mod.", ""): stored(run).statistics(n) for n in names}


@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", HOWS)
def test_compiled_networks_show_their_activations_and_train_the_same(tmp_path: Path, how: str, backend: str) -> None:
    if backend == "inductor":
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception:  # noqa: BLE001 - PyTorch's own way to say that there is none
            pytest.skip("there is no C++ compiler")
    alone, graphs = trained(how, backend, None)
    with begin(tmp_path / "compiled") as run:
        watched, graphs_watched = trained(how, backend, run)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert graphs_watched == graphs
    with begin(tmp_path / "plain") as plain:
        trained("not", backend, plain)
    found, wanted = acts(run), acts(plain)
    assert list(found) == list(wanted)
    for name, table in wanted.items():
        assert found[name].steps.tolist() == table.steps.tolist() == list(range(6))
        # The shadow draws the numbers that come next, which the compiled dropout of inductor makes another way.
        if backend != "inductor":
            np.testing.assert_allclose(found[name].columns["mean"], table.columns["mean"], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found[name].columns["max"], table.columns["max"], rtol=1e-4, atol=1e-5)


def test_a_graph_and_a_program_are_kept_of_a_compiled_network(tmp_path: Path) -> None:
    for how in ("wrapped", "in place"):
        torch._dynamo.reset()
        model = compiled(Block(), how, "eager")
        with begin(tmp_path / how) as run:
            run.watch(model)
            model(batch(0)[0])
            run.log({"x": 1.0}, step=0)
        graph = stored(run).graph()
        assert graph is not None
        assert graph.source == "export", how


def test_the_shadow_leaves_no_trace(tmp_path: Path) -> None:
    """Batch norm's averages, random numbers, what the forward keeps in itself, gradients, inputs changed in place."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Block()
            self.calls = 0
            self.kept: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x += 1
            self.kept = x
            out: Tensor = self.body(x) + torch.rand(3)
            return out

    def train(run: Run | None) -> tuple[Any, ...]:
        torch._dynamo.reset()
        torch.manual_seed(1)
        model = Own()
        called: Any = torch.compile(model, backend="eager")
        if run is not None:
            run.watch(called, budget=None)
        out = []
        for step in range(4):
            x = torch.full((5, 4), float(step))
            loss = called(x).sum()
            loss.backward()
            out += [loss.detach().clone(), x, torch.get_rng_state()]
            if run is not None:
                run.log({"x": 1.0}, step=step, epoch=step)
        state = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
        return model.calls, [*out, *state]

    with begin(tmp_path) as run:
        calls, watched = train(run)
    calls_alone, alone = train(None)
    assert calls == calls_alone
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))
    assert stored(run).statistics("act/body.head").steps.tolist() == [0, 1, 2, 3]


def test_autocast_does_not_remember_weights_of_the_shadow(tmp_path: Path) -> None:
    torch._dynamo.reset()
    layer = nn.Linear(4, 3)
    model: Any = torch.compile(nn.Sequential(layer), backend="eager")
    with begin(tmp_path) as run:
        run.watch(model, budget=None)
        for step in range(2):
            model.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(batch(step)[0]).float().square().sum()
            loss.backward()
            assert layer.weight.grad is not None
            assert layer.weight.grad.abs().sum() > 0
            run.log({"x": 1.0}, step=step, epoch=step)
    assert "act/0" in stored(run).statistics_series()


def test_a_forward_that_cannot_run_uncompiled_is_told_and_goes_on(tmp_path: Path) -> None:
    class OnlyCompiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            if not torch.compiler.is_compiling():
                raise RuntimeError("compile me")
            out: Tensor = self.a(x)
            return out

    torch._dynamo.reset()
    model: Any = torch.compile(OnlyCompiled(), backend="eager")
    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model, budget=None)
        model(batch(0)[0]).sum().backward()
        with pytest.warns(RecordingWarning, match="running it uncompiled failed with RuntimeError: compile me"):
            run.log({"x": 1.0}, step=0, epoch=0)
        model(batch(1)[0]).sum().backward()
        run.log({"x": 1.0}, step=1, epoch=1)
    assert stored(run).snapshot_steps() == [0, 1]


def test_a_network_in_a_compiled_function_is_told_of(tmp_path: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters())

    @torch.compile(backend="eager")
    def loss_of(x: Tensor) -> Tensor:
        out: Tensor = model(x)
        return out.square().mean()

    def training(run: Run) -> None:
        for step in range(6):
            optimizer.zero_grad()
            loss_of(batch(step)[0]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            run.log({"x": 1.0}, step=step, epoch=step)

    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model, budget=None)
        with pytest.warns(RecordingWarning, match="runs inside a compiled function"):
            training(run)
    assert counters["stats"]["unique_graphs"] == 1
    assert stored(run).statistics("grad/0.weight").steps.tolist() == list(range(6))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("zeroed", ["first", "last"])
def test_a_compiled_optimizer_step(tmp_path: Path, backend: str, zeroed: str) -> None:
    """A step compiled while we watch, and before: gradients as they are, compiled as often as without us."""

    def train(run: Run | None) -> tuple[list[float], int]:
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

        @torch.compile(backend=backend, fullgraph=False)
        def advance() -> None:
            optimizer.step()

        norms = []
        for step in range(8):
            if step == 2 and run is not None:
                run.watch(model, budget=None)
            if zeroed == "first":
                optimizer.zero_grad()
            x, y = batch(step)
            nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            gradient = model[0].weight.grad
            assert isinstance(gradient, Tensor)
            norms.append(float(gradient.double().norm()))
            advance()
            if zeroed == "last":
                optimizer.zero_grad()
            if run is not None and step > 1:
                run.log({"x": 1.0}, step=step, epoch=step)
        return norms, counters["stats"]["unique_graphs"]

    _, graphs = train(None)
    with begin(tmp_path) as run:
        norms, graphs_watched = train(run)
    assert graphs_watched == graphs
    table = stored(run).statistics("grad/0.weight")
    found = dict(zip(table.steps.tolist(), table.columns["norm"].tolist(), strict=True))
    for step in range(4, 8):
        np.testing.assert_allclose(found[step], norms[step], rtol=1e-5)


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_no_trace_is_left_in_a_compiled_network(how: str) -> None:
    torch._dynamo.reset()
    inner = Block()
    model = compiled(inner, how, "eager")
    real = vars(inner).get("_compiled_call_impl")
    before = {name: dict(vars(m)) for name, m in model.named_modules()}
    probe = TorchProbe(model, activations=True, gradients=True)
    probe.parameters()
    probe.await_inputs()
    probe.arm()
    assert (vars(inner).get("_compiled_call_impl") is not real) == (how == "in place")
    copied = copy.deepcopy(inner)
    again = pickle.loads(pickle.dumps(inner))
    for other in (copied, again):
        other(batch(0)[0])
        assert vars(other).get("_compiled_call_impl") is None
    probe.close()
    assert vars(inner).get("_compiled_call_impl") is real
    after = {name: dict(vars(m)) for name, m in model.named_modules()}
    assert before.keys() == after.keys()
    for name, attributes in before.items():
        assert {k: v for k, v in attributes.items() if k != "_forward_pre_hooks_with_kwargs"} == {
            k: v for k, v in after[name].items() if k != "_forward_pre_hooks_with_kwargs"
        }
