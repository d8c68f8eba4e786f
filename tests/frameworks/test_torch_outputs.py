"""What is kept of outputs: dead units and exact figures against numpy, whatever the shape and the order in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn

from epochal.frameworks.torch import TorchProbe
from epochal.frameworks.torch_outputs import SAMPLE, Kept, axis_of, figures_of, sums, unit_axis
from epochal.record.probe import Activation

pytestmark = pytest.mark.torch


def kept(*outputs: Tensor, axis: int | None = None) -> Activation:
    it = Kept()
    for output in outputs:
        it.add(output, axis)
    return it.activation("layer", it.tensors())


def expect_figures(found: Activation, values: np.ndarray[Any, Any]) -> None:
    figures = found.figures
    assert figures is not None
    finite = values[np.isfinite(values)].astype(np.float64)
    assert (figures.nan, figures.inf) == (np.isnan(values).sum(), np.isinf(values).sum())
    assert figures.zeros == (values == 0).sum()
    np.testing.assert_allclose(
        (figures.mean, figures.std, figures.min, figures.max, figures.norm),
        (finite.mean(), finite.std(), finite.min(), finite.max(), np.linalg.norm(finite)),
        rtol=1e-6,
    )


@pytest.mark.parametrize("shape", [(64, 1000), (4, 32, 40, 41), (2, 8, 16, 17, 18), (3, 700, 48)])
@pytest.mark.parametrize("layout", ["rows", "channels last", "a view"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int32])
def test_figures_are_of_all_values(shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    output = torch.randn(shape).mul_(5).relu_().add_(-0.5).to(dtype)
    if layout == "channels last" and len(shape) in (4, 5):
        output = output.to(memory_format=torch.channels_last if len(shape) == 4 else torch.channels_last_3d)
    elif layout == "a view":
        output = torch.cat([output, output], dim=-1)[..., : shape[-1]]
    found = kept(output)
    assert SAMPLE // 2 < len(found.values) <= SAMPLE
    assert found.size == output.numel()
    expect_figures(found, output.double().numpy().reshape(-1))


def test_small_outputs_are_kept_whole() -> None:
    output = torch.randn(10, 20)
    found = kept(output)
    assert found.figures is None
    assert np.array_equal(found.values, output.reshape(-1).numpy())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_figures_leave_out_what_is_not_finite(bad: float) -> None:
    output = torch.randn(200, 300)
    output[::7] = bad
    expect_figures(kept(output), output.numpy().reshape(-1))


def test_figures_where_nothing_is_finite() -> None:
    figures = kept(torch.full((200, 300), math.nan)).figures
    assert figures is not None
    assert figures.nan == 60_000
    assert all(math.isnan(v) for v in (figures.mean, figures.std, figures.min, figures.max, figures.norm))


def test_an_accelerator_s_figures_come_without_a_question_to_it() -> None:
    """On a device no value decides what is done next: the same sums, and the finite ones from the sample."""
    output = torch.randn(100, 300)
    output[0] = math.nan
    row = torch.tensor([30_000, 300, 0, int((output == 0).sum()), math.nan, math.nan, math.nan, math.nan])
    figures = figures_of(row[None], output.reshape(-1))
    assert (figures.nan, figures.inf) == (300, 0)
    np.testing.assert_allclose(figures.mean, output[1:].double().mean(), rtol=1e-6)
    np.testing.assert_allclose(figures.max, output[1:].max())


def test_many_calls_share_the_sample_alike() -> None:
    """Each call has the same part of the values kept, and the figures are of all calls."""
    outputs = [torch.full((100, 100), float(k)) for k in range(40)]
    found = kept(*outputs)
    values, counts = np.unique(found.values, return_counts=True)
    assert values.tolist() == list(range(40))
    assert counts.max() / counts.min() < 1.1
    assert len(found.values) <= 5 * SAMPLE
    expect_figures(found, torch.stack(outputs).numpy().reshape(-1))


def test_calls_of_different_sizes_share_the_sample_by_size() -> None:
    small, large = torch.zeros(100, 100), torch.ones(1000, 1000)
    for outputs in ((small, large), (large, small), (large, small, small)):
        found = kept(*outputs)
        share = (found.values == 0).mean()
        np.testing.assert_allclose(share, 0.0099 * (len(outputs) - 1), rtol=0.5, atol=0.002)
        expect_figures(found, torch.cat([o.reshape(-1) for o in outputs]).numpy())


@pytest.mark.parametrize("memory", ["rows", "channels last"])
def test_dead_channels_are_those_without_any_value(memory: str) -> None:
    torch.manual_seed(0)
    output = torch.randn(8, 10, 20, 20).relu()
    output[:, 2:5] = 0
    output[3, 2, 7, 7] = 1e-30  # alive for a single place of a single example
    if memory == "channels last":
        output = output.to(memory_format=torch.channels_last)
    assert kept(output, axis=1).dead == pytest.approx(0.2)


def test_dead_features() -> None:
    output = torch.randn(16, 5)
    output[:, 0], output[:, 1] = 0, -0.0
    output[:, 2] = math.nan
    output[:, 3] = -1
    assert kept(output, axis=1).dead == pytest.approx(2 / 5)
    assert kept(output.view(4, 4, 5), axis=2).dead == pytest.approx(2 / 5)


def test_a_unit_is_alive_that_was_in_one_of_the_calls() -> None:
    first, second = torch.zeros(4, 3), torch.zeros(4, 3)
    first[0, 0] = second[1, 1] = 1
    assert kept(first, second, axis=1).dead == pytest.approx(1 / 3)


def test_units_that_cannot_be_told() -> None:
    assert math.isnan(kept(torch.zeros(5), axis=None).dead)
    assert math.isnan(kept(torch.zeros(5, 3, dtype=torch.int64), axis=1).dead)


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Linear(3, 4), (2, 4), 1),
        (nn.Linear(3, 4), (2, 7, 5, 4), 3),
        (nn.Conv1d(3, 4, 1), (2, 4, 9), 1),
        (nn.Conv2d(3, 4, 1), (2, 4, 9, 9), 1),
        (nn.ConvTranspose3d(3, 4, 1), (2, 4, 5, 5, 5), 1),
        (nn.BatchNorm1d(4), (2, 4, 9), 1),
        (nn.MaxPool1d(2), (2, 4, 9), 1),
        (nn.LayerNorm(4), (2, 9, 9, 4), 3),
        (nn.LSTM(3, 4), (2, 9, 4), 2),
        (nn.Embedding(3, 4), (2, 9, 4), 2),
        (nn.ReLU(), (2, 4), 1),
        (nn.ReLU(), (2, 9, 4), 2),
        (nn.ReLU(), (2, 4, 9, 9), 1),
        (nn.ReLU(), (2,), None),
        (nn.ReLU(), (), None),
    ],
)
def test_where_units_lie(layer: nn.Module, shape: tuple[int, ...], axis: int | None) -> None:
    assert axis_of(torch.zeros(shape), unit_axis(layer), None) == axis


def test_an_activation_has_its_units_where_the_layer_before_it_has_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.ReLU(), nn.Dropout(0.1), nn.Tanh())
    with torch.no_grad():
        model[0].weight[:3] = 0  # type: ignore[operator]
        model[0].bias[:3] = -1  # type: ignore[operator]
    probe = TorchProbe(model, activations=True, gradients=False)
    probe.parameters()
    probe.arm()
    model(torch.randn(4, 2, 9))
    found = {a.layer: a for a in probe.activations()()}
    assert {name: a.dead for name, a in found.items()} == {"0": 0, "1": 0.5, "3": 0.5}
    probe.close()


def test_sums_of_nothing() -> None:
    figures = figures_of(sums(torch.zeros(0))[None], torch.zeros(0))
    assert (figures.zeros, figures.nan, figures.inf) == (0, 0, 0)
    assert math.isnan(figures.mean)
