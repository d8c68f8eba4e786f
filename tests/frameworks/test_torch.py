"""Real PyTorch models, watched while they train."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from epochal.errors import RecordingWarning
from epochal.frameworks.torch import TorchProbe, unwrap
from epochal.frameworks.torch_catch import SAMPLE
from epochal.record import Run, init
from epochal.store import StatisticsTable, StoredRun

pytestmark = pytest.mark.torch
State = dict[str, Tensor]


class Block(nn.Module):
    """Batch norm, dropout, an in-place activation and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.first(x)))
        out: Tensor = self.head(h + self.drop(self.second(h)))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3, bias=False)
        self.decoder = nn.Linear(4, 3, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder(x) + self.decoder(x)
        return out


class Branching(nn.Module):
    """Control flow that depends on the data: cannot be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.a(x)
        if float(out.sum()) > 1e9:
            return out * 2
        return out


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("torch", dir=tmp_path, strict=True, **options)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def column(table: StatisticsTable, name: str) -> npt.NDArray[np.float64]:
    return table.columns[name].astype(np.float64)


def batch(seed: int, n: int = 16) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=made), torch.randint(0, 3, (n,), generator=made)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    x, y = batch(seed)
    optimizer.zero_grad()
    out: Tensor = model(x.to(next(model.parameters()).dtype))
    loss = F.cross_entropy(out.float(), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def train(model: nn.Module, run: Run, epochs: int, *, steps: int = 2, first: int = 0) -> list[State]:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    kept = []
    for epoch in range(first, first + epochs):
        losses = [step_of(model, optimizer, epoch * steps + k) for k in range(steps)]
        run.log({"loss": losses[-1]}, step=epoch, epoch=epoch)
        kept.append({k: v.detach().clone() for k, v in model.state_dict().items()})
    return kept


def raw(tensor: Tensor) -> bytes:
    """The bytes of a tensor of any type."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def hooks_left(model: nn.Module) -> int:
    count = 0
    for module in model.modules():
        count += len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
    return count + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_frames_are_the_parameters_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Block().to(dtype)
    with begin(tmp_path) as run:
        run.watch(model)
        kept = train(model, run, 6)
    found = stored(run)
    assert found.snapshot_steps() == list(range(6))
    for step, state in enumerate(kept):
        loaded = load_file(found.snapshot_path(step))
        assert set(loaded) == set(state)
        for name, values in state.items():
            assert loaded[name].dtype == values.dtype
            assert (
                loaded[name].numpy(force=True).tobytes() == values.numpy(force=True).tobytes()
                if (dtype != torch.bfloat16)
                else torch.equal(loaded[name], values)
            )
    assert loaded["norm.num_batches_tracked"].item() == 12


def test_statistics_of_parameters_are_numpys(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Block()
    with begin(tmp_path) as run:
        run.watch(model)
        kept = train(model, run, 5)
    found = stored(run)
    named = [n.removeprefix("param/") for n in found.statistics_series() if n.startswith("param/")]
    assert set(named) == {n for n, v in kept[0].items() if v.is_floating_point()}
    for name in named:
        table = found.statistics(f"param/{name}")
        for k, state in enumerate(kept):
            values = state[name].double().numpy().reshape(-1)
            assert np.array_equal(table.counts[k], np.histogram(values, 64, (table.lo[k], table.hi[k]))[0])
            np.testing.assert_allclose(column(table, "mean")[k], values.mean(), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(column(table, "norm")[k], np.linalg.norm(values), rtol=1e-9)


@pytest.mark.parametrize("zeroing", ["before backward", "before log", "to zero before log"])
def test_gradients_are_those_of_the_step_whenever_they_are_zeroed(tmp_path: Path, zeroing: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms: list[float] = []
    with begin(tmp_path) as run:
        run.watch(model)
        for epoch in range(8):
            if zeroing == "before backward":
                optimizer.zero_grad()
            x, y = batch(epoch)
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            weight = dict(model.named_parameters())["0.weight"].grad
            assert weight is not None
            norms.append(float(weight.double().norm()))
            optimizer.step()
            if zeroing != "before backward":
                optimizer.zero_grad(set_to_none=zeroing == "before log")
            run.log({"x": 1.0}, epoch=epoch)
            if epoch < 3:
                assert run._writer is not None
                run._writer.flush()
    table = stored(run).statistics("grad/0.weight")
    found = dict(zip(table.steps.tolist(), column(table, "norm").tolist(), strict=True))
    # Where they are gone at log time, hooks catch them from the second look on.
    missing = {"before backward": [], "before log": [0], "to zero before log": [0, 1]}[zeroing]
    for epoch in range(8):
        if epoch not in missing:
            np.testing.assert_allclose(found[epoch], norms[epoch], rtol=1e-6)
    assert hooks_left(model) == 0


def test_activations_are_what_the_layers_put_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Block()
    seen: dict[str, Tensor] = {}
    with begin(tmp_path) as run:
        run.watch(model)

        def see(module: nn.Module, args: object, out: Tensor) -> None:
            if "norm" not in seen:  # before the in-place activation after it changes it
                seen["norm"] = out.detach().clone()

        handle = model.norm.register_forward_hook(see)
        train(model, run, 1, steps=1)
        handle.remove()
    found = stored(run)
    acts = [n for n in found.statistics_series() if n.startswith("act/")]
    assert acts == ["act/first", "act/norm", "act/relu", "act/second", "act/head"]
    table = found.statistics("act/norm")
    values = seen["norm"].double().numpy().reshape(-1)
    assert np.array_equal(table.counts[0], np.histogram(values, 64, (table.lo[0], table.hi[0]))[0])
    assert column(found.statistics("act/relu"), "zeros")[0] == (values <= 0).sum()


def test_large_outputs_are_sampled_over_all_channels(tmp_path: Path) -> None:
    layer = nn.Conv2d(1, 64, 1, bias=False)
    model = nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(64.0).reshape(64, 1, 1, 1))
    with begin(tmp_path) as run:
        run.watch(model)
        model(torch.ones(2, 1, 64, 64).to(memory_format=torch.channels_last))
        run.log({"x": 1.0}, epoch=0)
    table = stored(run).statistics("act/0")
    assert column(table, "size")[0] == 2 * 64 * 64 * 64
    assert SAMPLE // 2 < column(table, "seen")[0] <= SAMPLE
    np.testing.assert_allclose(column(table, "mean")[0], 31.5, rtol=0.02)
    assert (column(table, "min")[0], column(table, "max")[0]) == (0, 63)


def test_evaluation_passes_are_not_taken_for_training(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    with begin(tmp_path) as run:
        run.watch(model)
        model.eval()
        with torch.no_grad():
            model(torch.full((5, 4), 1e6))
        model.train()
        model(torch.zeros(7, 4))
        run.log({"x": 1.0}, epoch=0)
    table = stored(run).statistics("act/0")
    assert column(table, "size").tolist() == [21]
    assert column(table, "max")[0] < 10


def test_tied_weights_are_stored_once_and_named(tmp_path: Path) -> None:
    model = Tied()
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 2)
    found = stored(run)
    assert list(found.snapshot(0)) == ["encoder.weight"]
    assert b'"decoder.weight":"encoder.weight"' in found.snapshot_path(0).read_bytes()
    assert [n for n in found.statistics_series() if not n.startswith("act/")] == [
        "param/encoder.weight",
        "grad/encoder.weight",
    ]


def test_frozen_parts_have_no_gradient_and_unused_ones_neither(tmp_path: Path) -> None:
    class Partly(Block):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)

    model = Partly()
    model.first.requires_grad_(requires_grad=False)
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 3)
    names = stored(run).statistics_series()
    assert "param/first.weight" in names
    assert "grad/first.weight" not in names
    assert "grad/unused.weight" not in names
    assert column(stored(run).statistics("grad/head.weight"), "norm").all()


def test_thawing_a_layer_begins_anew(tmp_path: Path) -> None:
    model = Block()
    model.first.requires_grad_(requires_grad=False)
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 2)
        model.first.requires_grad_(requires_grad=True)
        train(model, run, 2, first=2)
    assert stored(run).statistics("grad/first.weight").steps.tolist() == [2, 3]


def test_a_change_of_type_in_the_middle_is_recorded_as_it_is(tmp_path: Path) -> None:
    model = Block()
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 2)
        model.to(torch.float64)
        train(model, run, 2, first=2)
    found = stored(run)
    assert [found.tensor("head.weight", s).dtype.str for s in range(4)] == ["<f4", "<f4", "<f8", "<f8"]


def test_a_model_without_parameters(tmp_path: Path) -> None:
    model = nn.Sequential(nn.ReLU(), nn.Softmax(dim=-1))
    with begin(tmp_path) as run:
        run.watch(model, inputs=torch.zeros(2, 4))
        model(torch.zeros(2, 4))
        run.log({"x": 1.0}, epoch=0)
    found = stored(run)
    assert found.snapshot(0) == {}
    assert [n for n in found.statistics_series() if n.startswith("param/")] == []


def test_nan_and_infinite_parameters_are_counted(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[0, 0], model.weight[1, 1], model.bias[:] = torch.nan, torch.inf, 0
    with begin(tmp_path) as run:
        run.watch(model, activations=False)
        run.log({"loss": torch.tensor(torch.nan)}, epoch=0)
    found = stored(run)
    table = found.statistics("param/weight")
    assert (column(table, "nan")[0], column(table, "inf")[0], table.counts[0].sum()) == (1, 1, 10)
    assert column(found.statistics("param/bias"), "zeros")[0] == 3
    assert np.isnan(found.scalars()["loss"].v[0])
    assert np.isnan(found.snapshot(0)["weight"][0, 0])


def test_tensors_of_one_element_are_numbers(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(
            {
                "a": torch.tensor(0.1),
                "b": torch.tensor([2], requires_grad=False),
                "c": torch.tensor(0.5, requires_grad=True) * 2,
                "d": torch.tensor(1.5, dtype=torch.bfloat16),
                "e": torch.tensor(True),
            }
        )
    values = {n: s.v.tolist() for n, s in stored(run).scalars().items()}
    assert values == {"a": [float(np.float32(0.1))], "b": [2.0], "c": [1.0], "d": [1.5], "e": [1.0]}


def test_larger_tensors_are_refused_with_advice(tmp_path: Path) -> None:
    with (
        init("torch", dir=tmp_path, strict=False) as run,
        pytest.warns(RecordingWarning, match=r"'x' is a Tensor of shape \(3,\).*value.mean\(\)"),
    ):
        run.log({"x": torch.zeros(3), "y": 1.0})
    assert list(stored(run).scalars()) == ["y"]


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
        assert hooks_left(model) <= 1
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
        train(called, run, 12)
    assert counters["stats"]["unique_graphs"] == 1
    assert stored(run).snapshot_steps() == list(range(12))
    assert "grad/0.weight" in stored(run).statistics_series()


def test_sparse_gradients_are_read(tmp_path: Path) -> None:
    model = nn.EmbeddingBag(10, 3, sparse=True, mode="sum")
    with begin(tmp_path) as run:
        run.watch(model)
        model(torch.tensor([[1, 2]])).sum().backward()
        run.log({"x": 1.0}, epoch=0)
    table = stored(run).statistics("grad/weight")
    assert (column(table, "zeros")[0], column(table, "max")[0]) == (24, 1)


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


def test_a_diverging_training_is_recorded_to_the_end(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Block()
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(torch.nan)
        train(model, run, 3, first=3)
    found = stored(run)
    table = found.statistics("param/head.weight")
    assert column(table, "nan").tolist() == [0, 0, 0, 24, 24, 24]
    assert not table.counts[3:].any()
    assert np.isnan(found.scalars()["loss"].v[3:]).all()
