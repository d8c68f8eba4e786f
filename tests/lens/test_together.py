"""Several methods that share a forward, and the check against random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lens.anchors import exported, image_for
from tests.lens.known import cifar10, plain_cnn, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn  # noqa: E402

import epochal  # noqa: E402
from epochal import lens  # noqa: E402
from epochal.errors import NotFoundError, UsageError  # noqa: E402
from epochal.lens.attribute.sanity_check import rank_correlation  # noqa: E402
from epochal.lens.attribute.together import METHODS  # noqa: E402

pytestmark = pytest.mark.torch

SIX = ("saliency", "input_x_gradient", "guided_backprop", "deconvolution", "grad_cam", "guided_grad_cam")


def test_together_each_is_as_it_is_alone() -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    found = lens.attributions(
        network, image, (*SIX, "grad_cam_plus_plus", "occlusion"), options={"occlusion": {"window": 16}}
    )
    assert list(found) == [*SIX, "grad_cam_plus_plus", "occlusion"]
    for name, one in found.items():
        how = {"window": 16} if name == "occlusion" else {}
        alone = getattr(lens, name)(network, image, **how)
        np.testing.assert_allclose(one.array, alone.array, atol=1e-6 * np.abs(alone.array).max())
        assert (one.target, one.layer, one.notes) == (alone.target, alone.layer, alone.notes)


def test_six_of_them_take_one_forward_and_three_ways_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    lens.grad_cam(network, image)  # finds the layer, once for a network
    count = {"forward": 0, "back": 0}
    network.register_forward_hook(lambda *_: count.update(forward=count["forward"] + 1))
    back = torch.autograd.grad

    def counted(*given: Any, **how: Any) -> Any:
        count["back"] += 1
        return back(*given, **how)

    monkeypatch.setattr("torch.autograd.grad", counted)
    lens.attributions(network, image, SIX)
    assert count == {"forward": 1, "back": 3}


def test_every_method_has_a_public_name_and_takes_any_network() -> None:
    network, image = plain_cnn(), image_for(1, 28, 28)
    for name, method in METHODS.items():
        assert getattr(lens, name) is method
        assert name in lens.__all__
    found = lens.attributions(network, image, list(METHODS), target=2, options={"rise": {"masks": 20}})
    assert all(one.target == 2 and one.map.shape == (28, 28) and one.caption for one in found.values())
    assert all(np.isfinite(one.array).all() for one in found.values())


def test_unknown_methods_are_said() -> None:
    with pytest.raises(NotFoundError, match="no method 'salience'") as wrong:
        lens.attributions(plain_cnn(), image_for(1, 28, 28), ["salience"])
    assert "saliency" in wrong.value.hint
    with pytest.raises(UsageError, match="was not asked"):
        lens.attributions(plain_cnn(), image_for(1, 28, 28), ["saliency"], options={"rise": {}})


def test_rank_correlation_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    random = np.random.default_rng(0)
    one, other = random.integers(0, 6, (9, 9)), random.normal(size=(9, 9))
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(other, np.exp(other)) == pytest.approx(1)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4)))


def test_a_map_of_what_was_learnt_changes_with_the_weights() -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradient = lens.sanity_check(lens.saliency, network, image, seed=1)
    assert abs(gradient.correlation) < 0.5
    assert gradient.stages == ("all weights",)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    again = lens.sanity_check(lens.saliency, network, image, seed=1)
    assert again.correlation == gradient.correlation


def test_a_map_that_only_tells_of_the_image_does_not_change() -> None:
    """What an edge detector would do: the check finds it out."""

    def edges(network: Any, image: Any, *, target: Any = None) -> Any:
        found = lens.saliency(network, image, target=target)
        drawn = np.abs(np.gradient(np.asarray(image)[0])[0])
        return lens.Attribution(
            method="edges", array=drawn, map=drawn.copy(), target=found.target, score=found.score, caption="edges"
        )

    check = lens.sanity_check(edges, resnet20(), cifar10(1)[0][0])
    assert check.correlation == pytest.approx(1)


def test_a_cascade_goes_from_the_output_to_the_input(tmp_path: Any) -> None:
    network, image = plain_cnn(), image_for(1, 28, 28)
    check = lens.sanity_check(lens.grad_cam, network, image, stages="cascade")
    assert check.stages == ("from 10 on", "from 6 on", "from 3 on", "from 0 on")
    assert len(check.maps) == len(check.correlations) == 4
    assert check.save(tmp_path / "check.png").stat().st_size > 500
    assert check.film().frames.shape == (5, 28, 28)


def test_the_weights_are_back_also_after_an_error() -> None:
    network = plain_cnn()
    before = [p.detach().clone() for p in network.parameters()]
    calls = []

    def fails(asked: Any, image: Any, *, target: Any = None) -> Any:
        calls.append([p.detach().clone() for p in network.parameters()])
        if len(calls) == 2:
            raise RuntimeError("no")
        return lens.saliency(asked, image, target=target)

    with pytest.raises(RuntimeError, match="no"):
        lens.sanity_check(fails, network, image_for(1, 28, 28))
    assert not torch.equal(calls[1][0], before[0])
    assert all(torch.equal(one, now) for one, now in zip(before, network.parameters(), strict=True))


def test_recorded_networks_and_numpy_chains_are_checked_too(tmp_path: Any) -> None:
    network, image = plain_cnn(), image_for(1, 28, 28)
    recorded = exported(network, image)
    assert abs(lens.sanity_check(lens.saliency, recorded, image).correlation) < 0.9
    random = np.random.default_rng(0)
    arrays: Any = {"layers.0.weight": random.normal(size=(6, 30)), "layers.1.weight": random.normal(size=(3, 6))}
    np.savez(tmp_path / "net.npz", **arrays)
    chain = epochal.Network.open(tmp_path / "net.npz")
    first = lens.saliency(chain, np.ones(30), target=0).array
    assert abs(lens.sanity_check(lens.saliency, chain, np.ones(30)).correlation) < 0.9
    np.testing.assert_array_equal(lens.saliency(chain, np.ones(30), target=0).array, first)


def test_a_network_without_weights_cannot_be_checked() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(dim=1, keepdim=True)

    with pytest.raises(epochal.EpochalError, match="no weights"):
        lens.sanity_check(lens.saliency, Sum(), np.ones(3, np.float32))


def test_a_weight_of_one_number_is_made_random_as_well() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Tanh(), nn.Flatten(), nn.Linear(16, 2))
    found = lens.sanity_check(lens.saliency, network, torch.rand(1, 4, 4))
    assert np.isfinite(found.maps[-1].map).all()
    assert found.maps[-1].map.any()
