"""Occlusion, RISE and Score-CAM: against captum, and against sums that can be written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.lens.anchors import Twice, asked, captum, close, exported, image_for
from tests.lens.known import cifar10, plain_cnn, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812
from torch import nn  # noqa: E402

from epochal import lens  # noqa: E402
from epochal.errors import NetworkError, UsageError  # noqa: E402
from epochal.lens.attribute.rise import rise_masks  # noqa: E402

Array = npt.NDArray[Any]
pytestmark = pytest.mark.torch
assert captum


@pytest.mark.parametrize(
    ("window", "stride", "baseline"), [(8, 4, 0.0), (8, 5, -1.0), ((9, 6), (7, 2), 0.5), (32, 1, 0.0), (5, 5, 0.0)]
)
def test_occlusion_is_as_captum_says(captum: Any, window: Any, stride: Any, baseline: float) -> None:
    """Also where windows hang over the edge."""
    network, image = resnet20(), cifar10(1)[0][0]
    sizes, steps = (tuple(v) if isinstance(v, tuple) else (v, v) for v in (window, stride))
    theirs = asked(
        captum.Occlusion(network),
        image,
        sliding_window_shapes=(3, *sizes),
        strides=(3, *steps),
        baselines=baseline,
        target=4,
        perturbations_per_eval=8,
    )
    found = lens.occlusion(network, image, target=4, window=window, stride=stride, baseline=baseline)
    close(found.array, theirs.astype(np.float32))
    np.testing.assert_array_equal(found.map, found.array[0])


def test_what_a_window_hides_of_a_sum_is_its_part_of_the_sum() -> None:
    """The network is linear: covering a window takes away what stood in it, times the weights."""
    random = np.random.default_rng(0)
    weights, image = random.normal(size=(1, 12, 12)), random.normal(size=(1, 12, 12))
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(144, 1, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(weights.reshape(1, -1)))
    found = lens.occlusion(network, image, window=4, stride=4)
    parts = (weights * image)[0].reshape(3, 4, 3, 4).sum(axis=(1, 3))
    assert found.coarse is not None
    np.testing.assert_allclose(found.coarse, parts, rtol=1e-9)
    np.testing.assert_allclose(found.map, np.kron(parts, np.ones((4, 4))), rtol=1e-9)
    assert found.numbers["windows"] == 9


def test_rise_is_the_weighted_mean_of_its_masks() -> None:
    """The formula of the paper, mask by mask."""
    network, image = resnet20(), cifar10(1)[0][0]
    found = lens.rise(network, image, target=3, masks=60, seed=4, cells=5, keep=0.4)
    example = torch.from_numpy(image)[None]
    masks = torch.cat(list(rise_masks(60, (32, 32), cells=5, keep=0.4, seed=4, example=example)))
    total: Array = np.zeros((32, 32))
    with torch.no_grad():
        for mask in masks:
            confidence = float(F.softmax(network(example * mask), dim=1)[0, 3])
            total += confidence * mask.numpy().astype(np.float64)
    close(found.array, (total / (60 * 0.4)).astype(np.float32))
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert float(masks.mean()) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("cells", [4, 2])
def test_rise_comes_to_the_expected_map_of_a_sum(cells: int) -> None:
    """A mask is B·cells: open places i and j come together p² + p(1 − p)(BBᵀ)ᵢⱼ of the time, over all shifts."""
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.arange(16, dtype=torch.float64)[None] / 8)
    found = lens.rise(network, np.ones((1, 4, 4)), masks=40_000, cells=cells, keep=0.5)
    # The cells drawn over one more than they are, straight between their middles, of which four places are cut out.
    side = 4 // cells
    middles = (np.arange((cells + 1) * side) + 0.5) * cells / ((cells + 1) * side) - 0.5
    one = np.stack([np.interp(middles, np.arange(cells), row) for row in np.eye(cells)], axis=1)
    both = [np.kron(one[down : down + 4], one[right : right + 4]) for down in range(side) for right in range(side)]
    together = np.mean([b @ b.T for b in both], axis=0)
    parts = np.arange(16) / 8
    expected = 0.5 * parts.sum() + 0.5 * together @ parts
    np.testing.assert_allclose(found.map, expected.reshape(4, 4), atol=0.08)


def test_the_same_seed_gives_the_same_map_and_another_does_not() -> None:
    network, image = plain_cnn(), image_for(1, 28, 28)
    ways: list[tuple[Any, dict[str, Any]]] = [
        (lens.rise, {"masks": 50}),
        (lens.smoothgrad, {"samples": 5}),
        (lens.vargrad, {"samples": 5}),
    ]
    for method, how in ways:
        one, again, other = (method(network, image, target=0, seed=s, **how).array for s in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).max() > 0


def test_the_size_of_stacks_does_not_change_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = plain_cnn(), image_for(1, 28, 28)
    ways: Any = (
        lambda: lens.rise(network, image, target=0, masks=30),
        lambda: lens.smoothgrad(network, image, target=0, samples=12),
        lambda: lens.occlusion(network, image, target=0),
        lambda: lens.integrated_gradients(network, image, target=0, steps=12),
    )
    whole = [way().array for way in ways]
    monkeypatch.setattr("epochal.lens.asking._MOST_EXAMPLES", 7)
    for way, expected in zip(ways, whole, strict=True):
        close(way().array, expected)


def test_score_cam_is_the_sum_that_its_paper_writes() -> None:
    network: Any = plain_cnn(seed=2)
    image = image_for(1, 28, 28)
    held: list[Any] = []
    handle = network[4].register_forward_hook(lambda _m, _i, output: held.append(output.detach().clone()))
    example = torch.from_numpy(image)[None]
    with torch.no_grad():
        network(example)
        handle.remove()
        maps, scores = held[0][0], []
        for one in maps:
            large = F.interpolate(one[None, None], size=(28, 28), mode="bilinear", align_corners=False)
            mask = (large - large.min()) / (large.max() - large.min()) if large.max() > large.min() else None
            scores.append(-np.inf if mask is None else float(network(example * mask)[0, 6]))
    weights = np.exp(np.array(scores) - max(scores))
    weights /= weights.sum()
    expected = np.maximum((weights[:, None, None] * maps.numpy()).sum(axis=0), 0)
    found = lens.score_cam(network, image, target=6, layer="4")
    close(found.coarse, expected.astype(np.float32))
    flat = int(np.isinf(scores).sum())
    assert found.notes == ((f"{flat} of 12 maps are flat and count nothing",) if flat else ())


def test_smoothgrad_is_the_mean_of_gradients_that_captum_gives(captum: Any) -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    noise = np.random.default_rng(3).standard_normal((6, 3, 32, 32))
    points = (image + 0.2 * float(np.ptp(image)) * noise).astype(np.float32)
    method = captum.Saliency(network)
    gradients = np.stack([asked(method, point, target=1, abs=False) for point in points]).astype(np.float64)
    how: dict[str, Any] = {"target": 1, "samples": 6, "noise": 0.2, "seed": 3}
    close(lens.smoothgrad(network, image, **how).array, gradients.mean(axis=0).astype(np.float32))
    close(lens.vargrad(network, image, **how).array, gradients.var(axis=0).astype(np.float32), 1e-4)


def test_noise_does_not_change_what_a_linear_network_says() -> None:
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).double()
    image = image_for(1, 3, 3).astype(np.float64)
    weight = network[1].weight.detach().numpy()[0].reshape(1, 3, 3)
    np.testing.assert_allclose(lens.smoothgrad(network, image, target=0).array, weight, rtol=1e-9)
    assert lens.vargrad(network, image, target=0).array.max() < 1e-12
    assert "no range" in lens.smoothgrad(network, np.ones((1, 3, 3)), target=0).notes[0]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("occlusion", {"window": 8, "stride": 8}),
        ("rise", {"masks": 20}),
        ("score_cam", {}),
        ("smoothgrad", {"samples": 3}),
        ("vargrad", {"samples": 3}),
    ],
)
def test_the_exported_network_gives_the_same_maps(name: str, how: dict[str, Any]) -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    one, other = (getattr(lens, name)(n, image, **how) for n in (network, exported(network, image)))
    close(other.array, one.array, 1e-4 if name == "vargrad" else 1e-5)


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("occlusion", {"window": 3, "stride": 4}, "leave out parts"),
        ("occlusion", {"window": 0}, "at least 1"),
        ("occlusion", {"window": (3, 3, 3)}, "2 axes of places"),
        ("occlusion", {"window": 2.5}, "whole number"),
        ("rise", {"keep": 1.0}, "between 0 and 1"),
        ("rise", {"masks": 0}, "at least 1"),
        ("smoothgrad", {"noise": 0}, "above 0"),
        ("vargrad", {"samples": True}, "at least 1"),
    ],
)
def test_what_cannot_be_asked_is_said(name: str, how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        getattr(lens, name)(Twice(), image_for(2, 9, 9), **how)


def test_flat_maps_are_refused() -> None:
    network: Any = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        network[0].weight.zero_()
    with pytest.raises(NetworkError, match="flat"):
        lens.score_cam(network, image_for(1, 5, 5), target=0, layer="0")


def test_networks_that_count_on_the_order_in_memory_are_asked_in_it() -> None:
    """Pictures may be laid out with their channels last, which `view` does not take and `as_strided` takes wrongly."""

    class Viewed(nn.Module):
        def __init__(self, way: str) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last, self.way = nn.Conv2d(2, 3, 3), nn.Linear(75, 4), way

        def forward(self, x: Any) -> Any:
            y = self.first(x)
            flat = {
                "view": lambda: y.view(len(y), -1),
                "strided": lambda: y.as_strided((len(y), 75), (75, 1)),
                "flatten": lambda: y.flatten(1),
            }
            return self.last(flat[self.way]())

    image = image_for(2, 7, 7)
    for name, how in (("integrated_gradients", {"steps": 5}), ("occlusion", {}), ("smoothgrad", {"samples": 3})):
        maps = [
            getattr(lens, name)(Viewed(way), image, target=1, **how).array for way in ("flatten", "view", "strided")
        ]
        close(maps[1], maps[0])
        close(maps[2], maps[0])


@pytest.mark.parametrize("name", ["integrated_gradients", "smoothgrad", "vargrad", "occlusion", "rise", "score_cam"])
def test_long_methods_tell_how_far_they_are_and_can_be_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epochal.lens.asking._MOST_EXAMPLES", 4)
    network, image = plain_cnn().train(), image_for(1, 28, 28)
    how = {"steps": 10} if name == "integrated_gradients" else {}
    told: list[float] = []
    getattr(lens, name)(network, image, target=0, progress=told.append, **how)
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == 1

    class Ended(Exception):  # noqa: N818 - it is no error
        pass

    def end(share: float) -> None:
        raise Ended

    with pytest.raises(Ended):
        getattr(lens, name)(network, image, target=0, progress=end, **how)
    assert all(part.training for part in network.modules())
    assert not any(part._forward_hooks for part in network.modules())
