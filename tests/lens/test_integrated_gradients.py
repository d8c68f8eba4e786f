"""Integrated gradients: against captum, against integrals known in closed form, and by their completeness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lens.anchors import Twice, asked, captum, close, exported, image_for, squeezed
from tests.lens.known import cifar10, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn  # noqa: E402

from epochal import lens  # noqa: E402
from epochal.errors import UsageError  # noqa: E402

pytestmark = pytest.mark.torch
assert captum


@pytest.mark.parametrize("which", ["resnet20", "squeezed"])
@pytest.mark.parametrize("baseline", [0.0, -0.5, "noise"])
def test_they_are_as_captum_says(captum: Any, which: str, baseline: Any) -> None:
    network, image = (resnet20(), cifar10(1)[0][0]) if which == "resnet20" else (squeezed(), image_for(3, 33, 33))
    start = image_for(*image.shape, seed=1) if baseline == "noise" else baseline
    there = torch.from_numpy(start)[None] if baseline == "noise" else baseline
    found = lens.integrated_gradients(network, image, target=2, baseline=start, steps=50)
    method = captum.IntegratedGradients(network)
    theirs = asked(method, image, target=2, baselines=there, n_steps=50)
    close(found.array, theirs.astype(np.float32), 5e-4)
    assert found.numbers["steps"] == 50


class Cubes(nn.Module):
    """Σ aᵢxᵢ³ + x₀x₁: its integrated gradients from zero are aᵢxᵢ³, and half of x₀x₁ for each of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.a * x**3).sum(1) + x[:, 0] * x[:, 1]


def test_a_polynomial_is_integrated_exactly() -> None:
    """Two places of Gauss and Legendre integrate a cubic's gradient without any error."""
    x = np.array([1.5, -0.5, 2.0])
    found = lens.integrated_gradients(Cubes(), x, steps=2)
    mixed = x[0] * x[1] / 2
    np.testing.assert_allclose(found.array, [1.5**3 + mixed, -2 * (-0.5) ** 3 + mixed, 0.5 * 8], rtol=1e-12)
    assert found.numbers["gap"] < 1e-12


def test_the_gap_is_what_the_shares_miss() -> None:
    network, image = resnet20(), cifar10(2)[0][1]
    found = lens.integrated_gradients(network, image, steps=3)
    with torch.no_grad():
        ends = network(torch.from_numpy(np.stack([image, np.zeros_like(image)])))[:, found.target].numpy()
    missed = abs(found.array.sum(dtype=np.float64) - (ends[0] - ends[1]))
    assert found.numbers["gap"] == pytest.approx(missed, rel=1e-3)
    assert found.numbers["relative_gap"] > 0.05
    assert "miss the difference" in found.notes[0]


def test_steps_are_raised_until_the_gap_is_small() -> None:
    network, (images, _) = resnet20(), cifar10(4)
    steps = set()
    for image in images:
        found = lens.integrated_gradients(network, image)
        assert found.numbers["relative_gap"] < 0.05
        assert found.notes == ()
        steps.add(found.numbers["steps"])
    assert min(steps) >= 16


def test_a_gap_that_no_number_of_steps_closes_is_said() -> None:
    class Step(nn.Module):
        """Rises at once, where no gradient tells of it."""

        def forward(self, x: Tensor) -> Tensor:
            return (x > 0.3).to(x) * 4 + 1e-3 * x

    found = lens.integrated_gradients(Step(), np.ones(1))
    assert found.numbers["steps"] == 1024
    assert found.numbers["relative_gap"] > 0.99
    assert "with 1024 steps" in found.notes[0]


def test_the_exported_network_gives_the_same() -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    one, other = (lens.integrated_gradients(n, image, steps=20) for n in (network, exported(network, image)))
    close(other.array, one.array)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"steps": 0}, "at least 1"),
        ({"steps": 2.5}, "whole number"),
        ({"baseline": np.zeros((2, 8, 9), np.float32)}, "baseline has the shape"),
        ({"baseline": float("nan")}, "not finite"),
    ],
)
def test_what_cannot_be_asked_is_said(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lens.integrated_gradients(Twice(), image_for(2, 9, 9), **how)
