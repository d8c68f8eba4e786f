"""A channel or unit in place of a class, against PyTorch's own gradient of a network cut off there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.network import Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal import lens  # noqa: E402
from tests.lens.known import plain_cnn  # noqa: E402


def own(network: Any, x: Any, channel: int, place: tuple[int, int] | None) -> Any:
    leaf = x[None].clone().requires_grad_()
    flow = network[:4](leaf)[0, channel]
    (flow.mean() if place is None else flow[place]).backward()
    assert leaf.grad is not None
    return leaf.grad[0].numpy()


@pytest.mark.parametrize("place", [None, (4, 9)])
@pytest.mark.parametrize("kind", ["module", "program"])
def test_the_gradient_is_that_of_the_channel(kind: str, place: tuple[int, int] | None, tmp_path: Path) -> None:
    module, x = plain_cnn(), torch.rand(1, 28, 28)
    network: Any = module
    if kind == "program":
        torch.export.save(torch.export.export(module, (x[None],), strict=False), tmp_path / "n.pt2")
        network = Network.open(tmp_path / "n.pt2")
    seen = lens.inside(network, "3", place=place)
    found = lens.saliency(seen, x, target=7)
    np.testing.assert_allclose(found.array, own(module, x, 7, place), rtol=1e-5, atol=1e-7)
    assert found.target == 7
    assert lens.saliency(seen, x).score == pytest.approx(
        max(lens.saliency(seen, x, target=c).score for c in range(12)), rel=1e-6
    )


def test_every_kind_of_method_asks_it() -> None:
    module, x = plain_cnn(), torch.rand(1, 28, 28)
    seen = lens.inside(module, "3")
    cut = nn.Sequential(module[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for method, how in (
        (lens.guided_backprop, {}), (lens.integrated_gradients, {"steps": 8}), (lens.occlusion, {"window": 7}),
        (lens.smoothgrad, {"samples": 3}),
    ):  # fmt: skip
        one: Any = method
        np.testing.assert_allclose(
            one(seen, x, target=2, **how).map, one(cut, x, target=2, **how).map, rtol=1e-3, atol=1e-6
        )
    cam = lens.grad_cam(cut, x, target=2, layer="0.1").map
    np.testing.assert_allclose(lens.grad_cam(seen, x, target=2, layer="1").map, cam, rtol=1e-3, atol=1e-6)
    check = lens.sanity_check(lens.saliency, seen, x, target=2)
    assert check.correlation < 0.9
    np.testing.assert_array_equal(lens.saliency(seen, x, target=2).map, check.original.map)


def test_a_chain_in_numpy_has_layers_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {"layers.0.weight": random.normal(size=(5, 6)), "layers.0.bias": random.normal(size=5),
              "layers.1.weight": random.normal(size=(3, 5)), "layers.1.bias": random.normal(size=3)}  # fmt: skip
    np.savez(tmp_path / "n.npz", **arrays)
    seen = lens.inside(Network.open(tmp_path / "n.npz"), "layers.0")
    x = np.ones(6, np.float32)
    np.testing.assert_allclose(lens.saliency(seen, x, target=4).array, arrays["layers.0.weight"][4], rtol=1e-5)
    assert np.isfinite(lens.sanity_check(lens.saliency, seen, x, target=4).correlation)


def test_what_cannot_be_is_said() -> None:
    module, x = plain_cnn(), torch.rand(1, 28, 28)
    with pytest.raises(NotFoundError, match="no layer 'nowhere'"):
        lens.inside(module, "nowhere")
    with pytest.raises(UsageError, match="no row 14"):
        lens.saliency(lens.inside(module, "3", place=(14, 0)), x)
    with pytest.raises(UsageError, match="row, column"):
        lens.inside(module, "3", place=(1,))
    with pytest.raises(UsageError, match="no class 12: they go from 0 to 11"):
        lens.saliency(lens.inside(module, "3"), x, target=12)
    with pytest.raises(UsageError, match="no maps"):
        lens.saliency(lens.inside(module, "10", place=(0, 0)), x)
