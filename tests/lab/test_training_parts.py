"""Optimisers, schedules, losses and augmentations, against PyTorch's own and against arithmetic."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import Tensor, nn

from epochal.errors import UsageError
from epochal.lab.training_parts import augment, loss_of, make_optimiser, rate_at, spatial_axes
from epochal.lab.training_settings import OPTIMISERS, Settings

pytestmark = pytest.mark.torch


def rates(settings: Settings, per_epoch: int = 1) -> list[float]:
    return [rate_at(settings, step / per_epoch) for step in range(settings.epochs * per_epoch)]


def pytorchs(make: Any, settings: Settings, steps: int) -> list[float]:
    """The rates that a scheduler of PyTorch gives, step by step."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=settings.rate)
    scheduler = make(optimiser)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


def test_schedules_are_pytorchs() -> None:
    from torch.optim import lr_scheduler as known

    step = Settings(epochs=25, learning_rate=0.5, schedule="step", decay=0.3, decay_every=10)
    assert rates(step) == pytest.approx(pytorchs(lambda o: known.StepLR(o, 10, 0.3), step, 25))
    exponential = Settings(epochs=9, learning_rate=0.5, schedule="exponential", decay=0.9)
    assert rates(exponential) == pytest.approx(pytorchs(lambda o: known.ExponentialLR(o, 0.9), exponential, 9))
    cosine = Settings(epochs=12, learning_rate=0.5, schedule="cosine")
    assert rates(cosine, 5) == pytest.approx(pytorchs(lambda o: known.CosineAnnealingLR(o, 60), cosine, 60))
    linear = Settings(epochs=12, learning_rate=0.5, schedule="linear")
    assert rates(linear, 5) == pytest.approx(pytorchs(lambda o: known.LinearLR(o, 1.0, 1e-9, 60), linear, 60), abs=1e-7)


def test_one_cycle_rises_for_a_third_and_falls_to_nothing() -> None:
    settings = Settings(epochs=9, learning_rate=0.5, schedule="one_cycle")
    found = rates(settings, 10)
    assert found[0] == pytest.approx(0.5 / 25)
    assert found[30] == pytest.approx(0.5)
    assert max(found) == found[30]
    assert found[:31] == sorted(found[:31])
    assert found[30:] == sorted(found[30:], reverse=True)
    assert rate_at(settings, 9.0) == pytest.approx(0, abs=1e-12)
    assert found[60] == pytest.approx(0.25), "half way down"


def test_warming_up() -> None:
    settings = Settings(epochs=10, learning_rate=1.0, warmup=4)
    assert rates(settings) == pytest.approx([0, 0.25, 0.5, 0.75, *[1.0] * 6], abs=2e-3)
    assert rate_at(settings, 0) > 0


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers_are_pytorchs(name: str) -> None:
    weight = nn.Parameter(torch.zeros(2))
    made = make_optimiser(Settings(optimiser=name, weight_decay=0.01, momentum=0.7), [weight])
    assert type(made).__name__.lower() == name
    (group,) = made.param_groups
    assert (group["lr"], group["weight_decay"]) == (OPTIMISERS[name], 0.01)
    assert group.get("momentum", 0) == (0.7 if name == "sgd" else 0)
    assert make_optimiser(Settings(optimiser=name, learning_rate=0.3), [weight]).param_groups[0]["lr"] == 0.3


def test_losses() -> None:
    scores, truth = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert float(loss_of(Settings(), classes=True)(scores, truth)) == pytest.approx(expected)
    smooth = loss_of(Settings(label_smoothing=0.2), classes=True)(scores, truth)
    other = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1))) / 2
    assert float(smooth) == pytest.approx(0.9 * expected + 0.1 * other)
    said, numbers = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 2.0])
    assert float(loss_of(Settings(), classes=False)(said, numbers)) == pytest.approx((1 + 4) / 2)
    assert float(loss_of(Settings(loss="mae"), classes=False)(said, numbers)) == pytest.approx(1.5)
    with pytest.raises(UsageError, match="loss 'cross_entropy' does not fit"):
        loss_of(Settings(loss="cross_entropy"), classes=False)


def test_axes_are_places() -> None:
    assert spatial_axes((16, 16, 16)) == (1, 2, 3)
    assert spatial_axes((2, 16, 16, 16)) == (2, 3, 4)
    assert spatial_axes((3, 28, 28)) == (2, 3)
    assert spatial_axes((28, 28)) == (1, 2)
    assert spatial_axes((128,)) == (1,)
    assert spatial_axes((1, 128)) == (2,)


def batch(*shape: int, n: int = 200) -> Tensor:
    torch.manual_seed(0)
    return torch.rand(n, *shape)


def test_flips_are_mirror_images_along_each_axis() -> None:
    x = batch(6, 4, 5)
    flipped = augment(x, (("flip", 0.5),))
    ways: dict[int, int] = {}
    for one, other in zip(x, flipped, strict=True):
        found = [a for a in range(8) if torch.equal(one.flip([k for k in range(3) if a >> k & 1]), other)]
        assert len(found) == 1
        ways[found[0]] = ways.get(found[0], 0) + 1
    assert len(ways) == 8
    assert torch.equal(augment(x, (("flip", 0.0),)), x)
    assert torch.equal(augment(x, (("flip", 1.0),)), x.flip([1, 2, 3]))


def test_shifts_move_and_leave_zeros() -> None:
    x = batch(2, 8, 8)  # two channels are no places
    moved = augment(batch(1, 8, 8), (("shift", 0.25),))
    found = set()
    for one, other in zip(batch(1, 8, 8)[:, 0], moved[:, 0], strict=True):
        for down in range(-2, 3):
            for right in range(-2, 3):
                expected = torch.zeros(8, 8)
                expected[max(down, 0) : 8 + min(down, 0), max(right, 0) : 8 + min(right, 0)] = one[
                    max(-down, 0) : 8 + min(-down, 0), max(-right, 0) : 8 + min(-right, 0)
                ]
                if torch.equal(expected, other):
                    found.add((down, right))
    assert len(found) == 25
    assert augment(x, (("shift", 0.25),)).shape == x.shape


@pytest.mark.parametrize("shape", [(15, 15), (1, 15, 15), (15, 15, 15), (1, 15, 15, 15)])
def test_rotations_turn_about_the_centre(shape: tuple[int, ...]) -> None:
    places = torch.meshgrid(*(torch.arange(15) - 7.0 for _ in shape[-len(shape) + (shape[0] == 1) :]), indexing="ij")
    distance = torch.stack(places).square().sum(0).sqrt()
    round_one = torch.exp(-distance.square() / 12).expand(20, *shape)
    torch.manual_seed(0)
    torch.testing.assert_close(augment(round_one, (("rotate", 180.0),)), round_one, atol=0.06, rtol=0)
    bar = torch.zeros(20, *shape)
    middle: tuple[int | slice, ...] = (*(slice(None),) * (bar.dim() - distance.dim()), *(7,) * (distance.dim() - 1))
    bar[(*middle, slice(3, 12))] = 1.0
    turned = augment(bar, (("rotate", 180.0),))
    assert not torch.allclose(turned, bar, atol=0.2)
    torch.testing.assert_close(augment(bar, (("rotate", 0.0),)), bar, atol=1e-4, rtol=0)
    # What is d away from the centre stays d away from it: the bar's end is nowhere farther out.
    assert float(turned[:, ..., distance > 6.5].abs().max()) < 0.05
    # Pictures that are wider than high are turned, not sheared: a disc stays a disc.
    down, right = torch.meshgrid(torch.arange(21) - 10.0, torch.arange(41) - 20.0, indexing="ij")
    disc = torch.exp(-(down.square() + right.square()) / 12).expand(20, 21, 41)
    torch.testing.assert_close(augment(disc, (("rotate", 180.0),)), disc, atol=0.06, rtol=0)
    with pytest.raises(UsageError, match="cannot be rotated"):
        augment(torch.zeros(2, 9), (("rotate", 10.0),))


def test_a_share_of_the_examples_is_changed() -> None:
    x = batch(8, 8)
    changed = (augment(x, (("noise", 0.2),), chance=0.25) != x).reshape(200, -1)
    assert changed.all(1).sum() + (~changed).all(1).sum() == 200
    assert int(changed.all(1).sum()) == pytest.approx(50, abs=20)
    assert torch.equal(augment(x, (("noise", 0.2),), chance=0.0), x)


def test_noise_and_what_is_erased() -> None:
    x = batch(12, 12, 12)
    noisy = augment(x, (("noise", 0.2),)) - x
    assert float(noisy.std()) == pytest.approx(0.2, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(0, abs=0.002)
    gone = augment(x + 1, (("erase", 0.25),)) == 0
    assert (gone.reshape(200, -1).sum(1) == 27).all()
    corners = {tuple(torch.nonzero(one)[0].tolist()) for one in gone}
    assert len(corners) > 100
    assert all(one.sum(axis).max() == 3 for one in gone[:5] for axis in range(3))
    row = augment(batch(10), (("erase", 0.3), ("shift", 0.2)))
    assert row.shape == (200, 10)
