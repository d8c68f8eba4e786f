"""How faithful maps are, as Quantus scores it: those of the lens within the noise of captum's, and above chance.

Quantus brings many packages along, so it is in no extra: `pip install quantus captum` where this is to be run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
quantus = pytest.importorskip("quantus", reason="Quantus is not installed (pip install quantus)")
attr = pytest.importorskip("captum.attr", reason="captum is not installed (epochal[frameworks])")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

from epochal import lens  # noqa: E402
from tests.lens.known import cifar10, resnet20  # noqa: E402

COUNT = 8
SEEDS = (0, 1, 2)


def ours(network: Any, x: Any, y: Any, method: str) -> Any:
    how: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": 50}, "occlusion": {"window": 8, "stride": 4}}
    return np.stack(
        [
            getattr(lens, method)(network, one, target=int(label), **how.get(method, {})).array
            for one, label in zip(x, y, strict=True)
        ]
    )


def captums(network: Any, x: Any, y: Any, method: str) -> Any:
    y_ = torch.from_numpy(y)
    made: dict[str, Any] = {
        "saliency": lambda t: attr.Saliency(network).attribute(t, target=y_, abs=False),
        "input_x_gradient": lambda t: attr.InputXGradient(network).attribute(t, target=y_),
        "integrated_gradients": lambda t: attr.IntegratedGradients(network).attribute(t, target=y_, n_steps=50),
        "occlusion": lambda t: attr.Occlusion(network).attribute(
            t, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4), target=y_
        ),
    }
    return made[method](torch.from_numpy(x).requires_grad_()).detach().numpy()


def correlated(network: Any, x: Any, y: Any, maps: Any, seed: int) -> float:
    """The mean correlation of what a map says of random sets of pixels with what the network loses without them."""
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=40, subset_size=96, perturb_baseline="black", disable_warnings=True, display_progressbar=False
    )
    np.random.seed(seed)
    found = metric(model=network, x_batch=x, y_batch=y, a_batch=maps, device="cpu", channel_first=True)
    return float(np.mean(found))


def flipped(network: Any, x: Any, y: Any, maps: Any) -> float:
    """The mean of the class's score as pixels are taken away, the most important first: less is better."""
    metric = quantus.PixelFlipping(
        features_in_step=64,
        perturb_baseline="mean",
        disable_warnings=True,
        display_progressbar=False,
    )
    found = metric(model=network, x_batch=x, y_batch=y, a_batch=maps, device="cpu", channel_first=True)
    return float(np.mean(found))


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion"])
def test_maps_are_as_faithful_as_captums(method: str) -> None:
    network = resnet20()
    x, y = (held[:: len(held) // COUNT][:COUNT] for held in cifar10(2000))
    own, other = ours(network, x, y, method), captums(network, x, y, method)
    assert own.shape == other.shape
    scores = np.array([[correlated(network, x, y, maps, seed) for seed in SEEDS] for maps in (own, other)])
    assert np.abs(np.subtract(*scores.mean(axis=1))) <= 2 * max(scores[1].std(), 0.01), scores
    area, expected = flipped(network, x, y, own), flipped(network, x, y, other)
    assert area == pytest.approx(expected, rel=0.03)
    if method == "occlusion":  # a gradient alone ranks the pixels of so few pictures no better than chance
        chance = [flipped(network, x, y, np.random.default_rng(s).normal(size=own.shape)) for s in SEEDS]
        assert area < min(chance), (area, chance)
