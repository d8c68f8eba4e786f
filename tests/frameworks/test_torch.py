"""What is read of real PyTorch models while they train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from epochal.errors import RecordingWarning
from epochal.frameworks.torch_outputs import SAMPLE
from epochal.record import init
from tests.frameworks.torch_trainings import Block, Tied, batch, begin, column, hooks_left, stored, train

pytestmark = pytest.mark.torch


def raw(tensor: Tensor) -> bytes:
    """The bytes of a tensor of any type."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


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
    for epoch in range(8):
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


def test_sparse_gradients_are_read(tmp_path: Path) -> None:
    model = nn.EmbeddingBag(10, 3, sparse=True, mode="sum")
    with begin(tmp_path) as run:
        run.watch(model)
        model(torch.tensor([[1, 2]])).sum().backward()
        run.log({"x": 1.0}, epoch=0)
    table = stored(run).statistics("grad/weight")
    assert (column(table, "zeros")[0], column(table, "max")[0]) == (24, 1)


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


def test_tensors_of_types_that_cannot_be_stored_are_named(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    model.register_buffer("phase", torch.arange(2).to(torch.complex128))
    model.register_buffer("later", torch.zeros(2, device="meta"))
    model.register_buffer("temporary", torch.zeros(2), persistent=False)
    with init("torch", dir=tmp_path, strict=False) as run:
        with pytest.warns(RecordingWarning, match=r"phase \(torch.complex128\), later \(meta\)"):
            run.watch(model, activations=False)
        model(torch.zeros(2, 4))
        run.log({"x": 1.0}, epoch=0)
    assert list(stored(run).snapshot(0)) == ["weight", "bias"]


def test_outputs_that_are_tuples_and_dictionaries_are_looked_into(tmp_path: Path) -> None:
    class Packed(nn.Module):
        def forward(self, x: Tensor) -> dict[str, object]:
            return {"note": "text", "values": (None, x * 2)}

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed, self.lstm, self.other = Packed(), nn.LSTM(4, 3), Words()

        def forward(self, x: Tensor) -> Tensor:
            self.other(x)
            packed: Tensor = self.packed(x)["values"][1]
            out: Tensor = self.lstm(packed)[0]
            return out

    class Words(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no tensor"

    with begin(tmp_path) as run:
        model = Whole()
        run.watch(model, inputs=torch.zeros(2, 4))
        model(torch.ones(2, 4))
        run.log({"x": 1.0}, epoch=0)
    found = stored(run)
    assert [n for n in found.statistics_series() if n.startswith("act/")] == ["act/packed", "act/lstm"]
    assert column(found.statistics("act/packed"), "mean")[0] == 2


def test_integer_and_half_activations_are_read(tmp_path: Path) -> None:
    class Kinds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Cast(torch.bfloat16), Cast(torch.int64)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.a(x).float() + self.b(x)
            return out

    class Cast(nn.Module):
        def __init__(self, dtype: torch.dtype) -> None:
            super().__init__()
            self.kind = dtype

        def forward(self, x: Tensor) -> Tensor:
            return x.to(self.kind)

    with begin(tmp_path) as run:
        model = Kinds()
        run.watch(model, inputs=torch.zeros(2, 4))
        model(torch.full((2, 4), 3.0))
        run.log({"x": 1.0}, epoch=0)
    found = stored(run)
    assert [column(found.statistics(f"act/{n}"), "max")[0] for n in "ab"] == [3, 3]


def test_outputs_that_are_no_plain_numbers_are_passed_over(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how = how

        def forward(self, x: Tensor) -> Tensor:
            return x.to_sparse() if self.how == "sparse" else x.to(torch.complex64)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sparse, self.complex, self.last = Odd("sparse"), Odd("complex"), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.sparse(x).to_dense() + self.complex(x).real)
            return out

    with begin(tmp_path) as run:
        model = Whole()
        with pytest.warns(RecordingWarning, match="could not be exported"):
            run.watch(model, inputs=torch.ones(2, 4))
        model(torch.ones(5000, 4))
        run.log({"x": 1.0}, epoch=0)
    assert [n for n in stored(run).statistics_series() if n.startswith("act/")] == ["act/last"]
