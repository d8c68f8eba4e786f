"""Activation maximisation on a trained network, against closed forms, and against numbers that go astray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import NetworkError, NotFoundError, UsageError
from epochal.network import Network, Preparation

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal.lens.maximum import Maximized, maximize, maximizing  # noqa: E402
from epochal.lens.painting import Painting, Shaking  # noqa: E402
from tests.lens.known import DEVIATION, MEAN, plain_cnn, resnet20  # noqa: E402


def trained() -> Network:
    return Network.from_torch(resnet20(), preparation=Preparation(size=(32, 32), mean=MEAN, deviation=DEVIATION))


def painting(size: tuple[int, int], **how: Any) -> Painting:
    return Painting(3, size, **({"seed": 0, "decorrelated": False, "device": torch.device("cpu")} | how))


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (33, 20)])
def test_a_picture_begins_as_faint_noise_whatever_its_size(size: tuple[int, int]) -> None:
    first = painting(size)
    found = float(torch.cat([painting(size, seed=s).plane().detach().flatten() for s in range(8)]).std())
    assert found == pytest.approx(first.expected_deviation(), rel=0.25)  # few low frequencies hold most of it
    # With a transform that divides by the root of H * W instead, this would be 32 to 224 times as much, and the
    # picture black and white noise on which nothing can be seen to rise.
    picture = first.picture().detach()
    assert 0.002 < float(picture.std()) < 0.02
    assert float(picture.mean()) == pytest.approx(0.5, abs=0.02)
    # Each frequency counts as 1 / f: the spectrum of the picture, as the other side of the transform sees it.
    power = (
        torch.fft.rfft2(torch.stack([painting(size, seed=s).plane().detach()[0, 0] for s in range(64)]))
        .abs()
        .mean(dim=0)
    )
    low, high = float(power[2, 2]), float(power[8, 8])
    ratio = np.hypot(8 / size[0], 8 / size[1]) / np.hypot(2 / size[0], 2 / size[1])
    assert low / high == pytest.approx(ratio, rel=0.3)


def test_a_class_is_raised_more_than_tenfold_and_the_network_names_it() -> None:
    network = trained()
    for label in (3, 8):
        found = maximize(network, target=label, steps=64)
        assert found.start > 0
        assert found.objective > 10 * found.start
        # The objective is what the network says of the picture: asked by another way.
        assert network(found.array[None])[0, label] == pytest.approx(found.objective, rel=1e-4)
        assert int(network(found.array[None]).argmax()) == label
        assert 20 < found.pixels.std() < 100
        assert found.curve.shape == (64,)


def test_a_channel_that_is_silent_at_first_wakes_up() -> None:
    network = resnet20()
    found = maximize(network, layer="layer3.2", channel=5, size=(32, 32), steps=64)
    assert found.start == 0
    assert found.objective > 3
    assert "shut at first" in found.notes[0]
    with torch.no_grad():
        y = nn.Sequential(*list(network.children())[:2], nn.ReLU(), network.layer1, network.layer2, network.layer3)(
            torch.from_numpy(found.array[None])
        )
    assert float(y[0, 5].mean()) == pytest.approx(found.objective, rel=1e-4)


def test_a_unit_and_a_direction_are_what_they_say() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False))
    weight = network.state_dict()["0.weight"]
    found = maximize(network, layer="0", channel=2, place=(5, 6), size=(12, 12), steps=200, shaken=False)
    # The largest value that colours from 0 to 1 can give: one where the weight is above zero.
    best = float(weight[2].clamp(min=0).sum())
    assert 0.9 * best < found.objective <= best + 1e-5
    direction = np.array([1.0, -1, 0, 0], np.float32)
    two = maximize(network, layer="0", direction=direction, size=(12, 12), steps=200, shaken=False)
    with torch.no_grad():
        y = network(torch.from_numpy(two.array[None]))[0].mean(dim=(1, 2)).numpy()
    assert two.objective == pytest.approx(float(y @ direction), rel=1e-4)
    assert two.objective > found.start


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    network = plain_cnn(channels=channels)
    found = maximize(network, target=4, size=(28, 28), steps=20)
    assert found.array.shape == (channels, 28, 28)
    assert found.objective > found.start
    assert found.pixels.shape == (28, 28, 3)
    found.save(tmp_path / "p.svg")
    assert "Distill" not in found.caption
    assert "Erhan" in (tmp_path / "p.svg").read_text()


def test_it_is_the_same_each_time_and_leaves_the_network_alone() -> None:
    network = plain_cnn().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one, two = (maximize(network, target=1, size=(28, 28), steps=9, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.array, two.array)
    assert maximize(network, target=1, size=(28, 28), steps=9, seed=8).array.tolist() != one.array.tolist()
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_previews_come_on_the_way_and_may_end_the_search() -> None:
    network = plain_cnn()
    steps = [(m.done, len(m.curve)) for m in maximizing(network, target=1, size=(28, 28), steps=10, every=4)]
    assert steps == [(4, 4), (8, 8), (10, 10)]
    seen: list[Maximized] = []

    def enough(found: Maximized) -> bool:
        seen.append(found)
        return len(seen) < 2

    assert maximize(network, target=1, size=(28, 28), steps=100, every=5, preview=enough) is seen[-1]
    assert seen[-1].done == 10


def test_values_that_are_not_finite_are_taken_back() -> None:
    class Cliff(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x: Any) -> Any:
            mean = x.mean(dim=(1, 2, 3))
            return (mean + 0 * (0.6 - mean).sqrt())[:, None]  # not a number beyond 0.6

    found = maximize(Cliff(), target=0, size=(16, 16), steps=80, rate=0.5, shaken=False)
    assert 0.55 < found.objective <= 0.6
    assert np.isfinite(found.array).all()
    assert "taken back" in found.notes[0]

    class Lost(Cliff):
        def forward(self, x: Any) -> Any:
            return x.mean(dim=(1, 2, 3))[:, None] * float("inf")

    with pytest.raises(NetworkError, match="nothing to climb"):
        maximize(Lost(), target=0, size=(16, 16), steps=3)


def test_shaking_moves_little_and_keeps_a_plain_picture() -> None:
    source = torch.Generator().manual_seed(0)
    plain = torch.full((3, 3, 20, 30), 0.25)
    torch.testing.assert_close(Shaking()(plain, source), plain)
    ramp = torch.linspace(0, 1, 40).expand(50, 1, 40, 40).contiguous()
    moved = Shaking(turn=0, zoom=0)(ramp, source)[:, 0, 20, 20]
    assert float((moved - ramp[0, 0, 20, 20]).abs().max()) <= 0.04 * 40 / 39 + 1e-3
    assert float(moved.std()) > 0.01
    still = Shaking(shift=0, turn=0, zoom=0)(ramp, source)
    torch.testing.assert_close(still, ramp, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({}, UsageError, "Say what is to answer"),
        ({"target": 1, "layer": "0"}, UsageError, "Say what is to answer"),
        ({"layer": "0"}, UsageError, "either a channel or a direction"),
        ({"layer": "0", "channel": 8}, UsageError, "8 channels of 0"),
        ({"layer": "0", "channel": 1, "place": (90, 0)}, UsageError, "28 rows"),
        ({"layer": "nothing", "channel": 1}, NotFoundError, "no layer 'nothing'"),
        ({"target": 10}, UsageError, "no class 10"),
        ({"target": 1, "steps": 0}, UsageError, "at least 1"),
        ({"layer": "0", "direction": [1, 2]}, UsageError, "8 numbers"),
    ],
)
def test_what_cannot_be_says_so(how: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        maximize(plain_cnn(), size=(28, 28), **how)


def test_a_recorded_network_says_its_own_size(tmp_path: Path) -> None:
    network = plain_cnn()
    torch.export.save(torch.export.export(network, (torch.rand(1, 1, 28, 28),), strict=False), tmp_path / "n.pt2")
    recorded = maximize(Network.open(tmp_path / "n.pt2"), layer="4", channel=3, steps=6)
    original = maximize(network, layer="4", channel=3, size=(28, 28), steps=6)
    np.testing.assert_allclose(recorded.array, original.array, atol=1e-4)


def test_a_chain_of_linear_layers_on_flat_pictures(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    np.savez(tmp_path / "n.npz", **{"layers.0.weight": weight})  # type: ignore[arg-type]
    found = maximize(Network.open(tmp_path / "n.npz"), target=0, steps=200, shaken=False)
    assert found.array.shape == (64,)
    best = weight[0].clip(min=0).sum()
    assert 0.9 * best < found.objective <= best + 1e-4
