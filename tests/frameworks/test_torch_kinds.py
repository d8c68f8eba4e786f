"""Every kind of module: names and values as the state dict has them, whatever happens to the model while it trains."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from epochal.errors import RecordingWarning
from epochal.frameworks.torch_modules import module_parameters, tensor_names
from epochal.record import Run, init
from tests.frameworks.torch_trainings import Block, batch, begin, column, hooks_left, step_of, stored, train

pytestmark = pytest.mark.torch


def equal(found: Any, value: Tensor) -> bool:
    exact = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
    return bool(np.array_equal(found, exact.numpy(), equal_nan=True))


def watched(run: Run, model: nn.Module, *, steps: int = 3) -> None:
    """Train, and compare each snapshot with the state dict of its step."""
    kept = train(model, run, steps)
    run.finish()
    for step, state in enumerate(kept):
        arrays = stored(run).snapshot(step)
        tied = {id(v) for v in state.values()}
        assert len(tied) >= len(arrays)
        assert set(arrays) <= set(state)
        for name, value in state.items():
            if name in arrays:
                assert equal(arrays[name], value), (step, name)


def acts(run: Run) -> list[str]:
    return [n.removeprefix("act/") for n in stored(run).statistics_series() if n.startswith("act/")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
        lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
        lambda: parametrizations.orthogonal(nn.Linear(4, 3)),
        lambda: torch.nn.utils.spectral_norm(nn.Linear(4, 3)),
    ],
    ids=["weight_norm", "spectral_norm", "orthogonal", "old spectral_norm"],
)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_parametrised_layers(tmp_path: Path, make: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(make(), nn.ReLU(), nn.Linear(3, 3))
    run = begin(tmp_path)
    run.watch(model)
    watched(run, model)
    assert set(stored(run).snapshot(0)) == set(model.state_dict())
    assert acts(run) == ["0", "1", "2"]
    learned = {n.removeprefix("grad/") for n in stored(run).statistics_series() if n.startswith("grad/")}
    assert learned == {n for n, _ in model.named_parameters()}


def test_a_parametrisation_that_comes_later(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    with begin(tmp_path) as run:
        run.watch(model)
        first = train(model, run, 2)
        parametrizations.weight_norm(model[0])
        second = train(model, run, 2, first=2)
    for step, state in enumerate(first + second):
        assert set(stored(run).snapshot(step)) == set(state)
    parametrize.remove_parametrizations(model[0], "weight")


def test_parameters_added_replaced_and_taken_away(tmp_path: Path) -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 3)])
            self.register_parameter("scale", None)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            scaled: Tensor = x if self.scale is None else x * self.scale  # type: ignore[operator]
            return scaled

    model = Growing()
    with begin(tmp_path) as run:
        run.watch(model)
        kept = train(model, run, 1)
        model.layers[0] = nn.Linear(4, 4)  # another of the same shape in its place
        kept += train(model, run, 1, first=1)
        model.layers.insert(1, nn.Linear(4, 4, bias=False))
        kept += train(model, run, 1, first=2)
        model.scale = nn.Parameter(torch.ones(3))
        kept += train(model, run, 1, first=3)
        model.layers[1].weight = nn.Parameter(torch.eye(4))
        kept += train(model, run, 1, first=4)
        del model.layers[1]
        kept += train(model, run, 1, first=5)
        model.layers[1].weight = nn.Parameter(torch.zeros(3, 4))
        model.register_buffer("mask", torch.ones(2))
        kept += train(model, run, 1, first=6)
    for step, state in enumerate(kept):
        arrays = stored(run).snapshot(step)
        assert set(arrays) == set(state), step
        assert all(equal(arrays[name], value) for name, value in state.items())
    assert stored(run).statistics("grad/scale").steps.tolist() == [3, 4, 5, 6]
    assert hooks_left(model) == 0


def test_ties_that_come_and_go(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with begin(tmp_path) as run:
        run.watch(model, gradients=False)
        run.log({"x": 1.0}, step=0, epoch=0)
        model[1].weight = model[0].weight
        model[1].bias = nn.Parameter(torch.zeros(4))
        run.log({"x": 1.0}, step=1, epoch=1)
        model[1].weight = nn.Parameter(torch.ones(4, 4))
        run.log({"x": 1.0}, step=2, epoch=2)
    assert set(stored(run).snapshot(2)) == set(model.state_dict())
    assert equal(stored(run).snapshot(2)["1.weight"], torch.ones(4, 4))


def test_lazy_layers_from_the_first_batch_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    with begin(tmp_path) as run:
        run.watch(model)
        model(batch(0)[0])
        kept = train(model, run, 4)
    assert stored(run).snapshot_steps() == [0, 1, 2, 3]
    for step, state in enumerate(kept):
        assert set(stored(run).snapshot(step)) == set(state)
        assert all(equal(stored(run).snapshot(step)[n], v) for n, v in state.items())
    assert stored(run).statistics("grad/0.weight").steps.tolist() == [0, 1, 2, 3]
    assert acts(run) == ["0", "1", "2", "3"]


def test_a_model_on_the_meta_device_that_is_filled_later(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    with init("torch", dir=tmp_path, strict=False) as run:
        with pytest.warns(RecordingWarning, match=r"0.weight \(meta\)"):
            run.watch(model)
        model.to_empty(device="cpu")
        for layer in model:
            layer.reset_parameters()  # type: ignore[operator]
        kept = train(model, run, 2)
    for step, state in enumerate(kept):
        assert all(equal(stored(run).snapshot(step)[n], v) for n, v in state.items())


def test_dictionaries_and_lists_of_modules_and_parameters(tmp_path: Path) -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.ModuleList([nn.Linear(4, 3)])})
            self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(3)), nn.Parameter(torch.ones(3))])
            self.scales = nn.ParameterDict({"one": nn.Parameter(torch.ones(3))})

        def forward(self, x: Tensor) -> Tensor:
            heads: Tensor = self.heads["a"](x) + self.heads["b"][0](x)  # type: ignore[index]
            out: Tensor = heads * self.scales["one"] + self.shifts[0] + self.shifts[1]
            return out

    model = Held()
    run = begin(tmp_path)
    run.watch(model)
    watched(run, model)
    assert set(stored(run).snapshot(0)) == set(model.state_dict())
    assert acts(run) == ["heads.a", "heads.b.0"]


def test_a_layer_that_runs_several_times_shows_all_of_its_calls(tmp_path: Path) -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            for k in range(5):
                x = torch.tanh(self.cell(x)) * (k + 1)
                outputs.append(self.cell(x).detach())
            out: Tensor = self.head(x)
            return out

    outputs: list[Tensor] = []
    model = Again()
    with begin(tmp_path) as run:
        run.watch(model, gradients=False)
        x = batch(0)[0]
        seen: list[Tensor] = []
        handle = model.cell.register_forward_hook(lambda m, a, out: seen.append(out.detach().clone()))
        model(x)
        handle.remove()
        model(x + 1)  # a second pass is not taken in
        run.log({"x": 1.0}, step=0, epoch=0)
    table = stored(run).statistics("act/cell")
    values = torch.cat([s.reshape(-1) for s in seen]).double().numpy()
    assert column(table, "size")[0] == values.size == 10 * 16 * 4
    np.testing.assert_allclose(column(table, "mean")[0], values.mean(), rtol=1e-6)
    np.testing.assert_allclose(column(table, "std")[0], values.std(), rtol=1e-6)
    assert np.array_equal(table.counts[0], np.histogram(values, 64, (table.lo[0], table.hi[0]))[0])


@dataclass
class Answer:
    note: str
    logits: Tensor
    hidden: tuple[Tensor, ...]


def test_outputs_of_any_kind(tmp_path: Path) -> None:
    class Gives(nn.Module):
        def __init__(self, make: Any) -> None:
            super().__init__()
            self.make = make

        def forward(self, x: Tensor) -> Any:
            return self.make(x)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.data = Gives(lambda x: Answer("text", x * 2, (x,)))
            self.pair = Gives(lambda x: (x * 3, None))
            self.nest = Gives(lambda x: {"deep": [{"er": x * 4}]})
            self.ragged = Gives(lambda x: torch.nested.nested_tensor([x[:1], x[1:]], layout=torch.jagged))
            self.nothing = Gives(lambda x: None)

        def forward(self, x: Tensor) -> Tensor:
            self.nothing(x)
            self.ragged(x)
            out: Tensor = self.data(x).logits + self.pair(x)[0] + self.nest(x)["deep"][0]["er"]
            return out

    model = Whole()
    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model)
        model(torch.ones(3, 4))
        with pytest.warns(RecordingWarning, match="could not be exported"):
            run.log({"x": 1.0}, step=0, epoch=0)
    means = {name: column(stored(run).statistics(f"act/{name}"), "mean")[0] for name in acts(run)}
    assert means == {"data": 2, "pair": 3, "nest": 4, "ragged": 1}
    assert column(stored(run).statistics("act/ragged"), "size")[0] == 12


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", ["lstm", "gru", "cells", "transformer", "attention"])
def test_recurrent_networks_and_transformers(tmp_path: Path, kind: str) -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body: Any
            if kind == "lstm":
                self.body = nn.LSTM(4, 8, num_layers=2, batch_first=True, bidirectional=True, proj_size=4)
            elif kind == "gru":
                self.body = nn.GRU(4, 8, batch_first=True)
            elif kind == "cells":
                self.body = nn.LSTMCell(4, 8)
            elif kind == "attention":
                self.body = nn.MultiheadAttention(4, 2, batch_first=True)
            else:
                layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
                self.body = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(4 if kind in ("transformer", "attention") else 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            steps = torch.stack([x, x * 2, x * 3], dim=1)
            out: Tensor
            if kind == "cells":
                state = None
                for k in range(3):
                    state = self.body(steps[:, k], state)
                assert state is not None
                out = state[0]
            elif kind == "transformer":
                out = self.body(steps)[:, -1]
            elif kind == "attention":
                out = self.body(steps, steps, steps)[0][:, -1]
            else:
                out = self.body(steps)[0][:, -1]
            out = self.head(out)
            return out

    torch.manual_seed(0)
    model = Sequence()
    run = begin(tmp_path)
    run.watch(model, inputs=batch(0)[0])
    watched(run, model)
    assert "head" in acts(run)
    if kind == "cells":
        assert column(stored(run).statistics("act/body"), "size")[0] == 3 * 16 * 8
    assert set(stored(run).snapshot(0)) == set(model.state_dict())


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_are_caught_once(tmp_path: Path, *, reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = checkpoint(self.body, x.requires_grad_(), use_reentrant=reentrant)
            out: Tensor = self.head(torch.relu(h))
            return out

    run = begin(tmp_path)
    model = Saving()
    run.watch(model)
    watched(run, model)
    assert column(stored(run).statistics("act/body"), "size").tolist() == [16 * 8] * 3
    assert stored(run).statistics("grad/body.weight").steps.tolist() == [0, 1, 2]


def test_calls_with_other_parameters_and_under_transforms(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    names: dict[str, Tensor] = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(model, parameters, (x,))
        return out.square().sum()

    x, _ = batch(0)
    with init("torch", dir=tmp_path, strict=True) as run:
        run.watch(model)
        grads = torch.func.grad(loss)(names, x)
        run.log({"x": 1.0}, step=0, epoch=0)
        per_example = torch.func.vmap(torch.func.grad(loss), (None, 0))(names, x)
        run.log({"x": 1.0}, step=1, epoch=1)
    assert torch.allclose(per_example["0.weight"].sum(0), grads["0.weight"], atol=1e-5)
    table = stored(run).statistics("act/1")
    assert column(table, "size").tolist() == [48, 48]
    expected = torch.tanh(torch.nn.functional.linear(x, model[0].weight, model[0].bias)).mean().item()  # type: ignore[arg-type]
    np.testing.assert_allclose(column(table, "mean"), expected, rtol=1e-5)


def test_passes_without_gradients(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    with begin(tmp_path) as run:
        run.watch(model)
        with torch.no_grad():
            model(batch(0)[0])
        run.log({"x": 1.0}, step=0, epoch=0)
        with torch.inference_mode():
            model(batch(1)[0])
        run.log({"x": 1.0}, step=1, epoch=1)
        with torch.inference_mode():
            run.log({"x": torch.ones(())}, step=2, epoch=2)
        train(model, run, 1, first=3)
    assert stored(run).statistics("act/0").steps.tolist() == [0, 1, 3]
    assert stored(run).snapshot_steps() == [0, 1, 2, 3]


def test_a_model_made_in_inference_mode(tmp_path: Path) -> None:
    with torch.inference_mode():
        model = nn.Linear(4, 3)
    with begin(tmp_path) as run:
        run.watch(model, activations=False)
        run.log({"x": 1.0}, step=0, epoch=0)
    assert equal(stored(run).snapshot(0)["weight"], model.weight.clone())


def test_numbers_of_unusual_types(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wave = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))
            self.short = nn.Parameter(torch.randn(3, dtype=torch.bfloat16))
            self.register_buffer("unit", torch.full((2, 2), 1j))
            self.register_buffer("turn", torch.full((3,), 2 + 1j))
            for name in ("float8_e4m3fn", "float8_e5m2"):
                if hasattr(torch, name):
                    self.register_buffer(name, torch.ones(4).to(getattr(torch, name)))
            for name in ("uint16", "uint32", "uint64"):
                if hasattr(torch, name):
                    self.register_buffer(name, torch.tensor([1, 2, 3], dtype=torch.int64).to(getattr(torch, name)))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = (x.to(torch.complex64) @ self.wave).abs() * self.short
            return out

    torch.manual_seed(0)
    model = Odd()
    with begin(tmp_path) as run:
        run.watch(model)
        kept = train(model, run, 3)
    for step, state in enumerate(kept):
        arrays = stored(run).snapshot(step)
        assert set(arrays) == set(state)
        for name in ("wave", "short", "unit", "turn"):
            assert equal(arrays[name], state[name]), name
    assert stored(run).statistics("grad/short").steps.tolist() == [0, 1, 2]
    graph = stored(run).graph()
    assert graph is not None


def test_constant_complex_and_tiny_floats_are_described() -> None:
    """How a layer's values began is asked of tensors of all types."""

    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("wave", torch.full((3,), 1j))
            self.register_buffer("none", torch.zeros(3, dtype=torch.complex64))
            self.register_buffer("one", torch.ones(1, dtype=torch.complex64))
            self.register_buffer("alone", torch.full((), 2j))
            self.register_buffer("whole", torch.full((2,), 7))
            self.register_buffer("flag", torch.ones(2, dtype=torch.bool))
            if hasattr(torch, "float8_e4m3fn"):
                self.register_buffer("small", torch.ones(3).to(torch.float8_e4m3fn))

    model = Holds()
    found = {p.name: p.initializer for p in module_parameters(model, tensor_names(model), own=True)}
    assert found["wave"] == "constant 0+1j"
    assert (found["none"], found["one"], found["whole"], found["flag"]) == ("zeros", "ones", "constant 7", "ones")
    assert not found["alone"]
    assert found.get("small", "ones") == "ones"


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantised_layers_are_named(tmp_path: Path) -> None:
    try:
        quantised: Any = torch.ao.nn.quantized.Linear
        model = nn.Sequential(quantised(4, 3), nn.Linear(3, 3))
    except (RuntimeError, AttributeError) as error:
        pytest.skip(f"this PyTorch quantises nothing: {error}")
    with init("torch", dir=tmp_path, strict=False) as run:
        with pytest.warns(RecordingWarning, match=r"0\._packed_params\._packed_params \(torch\.qint8\)"):
            run.watch(model, activations=False)
        run.log({"x": 1.0}, step=0, epoch=0)
    assert {"1.weight", "1.bias"} <= set(stored(run).snapshot(0))


def test_sparse_and_dense_gradients_beside_each_other(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Embedding(10, 3, sparse=True), nn.Linear(3, 2))
    sparse = torch.optim.SparseAdam(model[0].parameters(), lr=0.1)
    dense = torch.optim.SGD(model[1].parameters(), lr=0.1)
    norms = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(4):
            model(torch.tensor([[1, 2, 1]])).sum().backward()
            gradient = model[0].weight.grad
            assert isinstance(gradient, Tensor)
            norms.append(float(gradient.to_dense().double().norm()))
            sparse.step()  # type: ignore[no-untyped-call]
            dense.step()
            sparse.zero_grad()
            dense.zero_grad()
            run.log({"x": 1.0}, step=step, epoch=step)
    np.testing.assert_allclose(column(stored(run).statistics("grad/0.weight"), "norm"), norms, rtol=1e-6)


def test_forward_passes_in_threads(tmp_path: Path) -> None:
    model = Block().eval()
    model.train()
    with begin(tmp_path) as run:
        run.watch(model, gradients=False)
        for step in range(5):
            threads = [threading.Thread(target=model, args=(batch(k)[0],)) for k in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            run.log({"x": 1.0}, step=step, epoch=step)
    assert hooks_left(model) == 0
    assert stored(run).statistics("act/head").steps.tolist() == list(range(5))


def test_an_error_in_our_hook_does_not_break_the_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from epochal.frameworks.torch_catch import LayerCatch

    def full(catch: LayerCatch, output: Tensor) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(LayerCatch, "_axis_of", full)
    model = Block()
    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step_of(model, optimizer, 0)
        with pytest.warns(RecordingWarning, match="could not be read and is left out: RuntimeError: out of memory"):
            run.log({"x": 1.0}, step=0, epoch=0)
    assert acts(run) == []


def test_a_scripted_module_says_why_it_shows_no_activations(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        inner = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    whole = nn.Sequential(inner, nn.Linear(4, 3))
    run = init("torch", dir=tmp_path / "part", strict=False)
    run.watch(whole)
    with pytest.warns(RecordingWarning, match="could not be exported"):
        watched(run, whole)
    assert acts(run) == ["1"]
    assert set(stored(run).snapshot(0)) == set(whole.state_dict())
    with init("torch", dir=tmp_path / "whole", strict=False) as other:
        other.watch(inner, inputs=None)
        with pytest.warns(RecordingWarning, match="activations of a ScriptModule are not recorded"):
            train(inner, other, 2)
    assert stored(other).statistics("grad/0.weight").steps.tolist() == [0, 1]


def test_a_model_without_parameters_trains_nothing_and_is_watched(tmp_path: Path) -> None:
    model = nn.Sequential(nn.ReLU(), nn.Softmax(dim=-1))
    with begin(tmp_path) as run:
        run.watch(model, budget=None)
        for step in range(3):
            model(batch(step)[0])
            run.log({"x": 1.0}, step=step, epoch=step)
    assert acts(run) == ["0", "1"]
    assert stored(run).statistics("act/0").steps.tolist() == [0, 1, 2]
