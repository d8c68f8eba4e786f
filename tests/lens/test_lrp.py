"""Layer-wise relevance propagation: against captum, against sums written out in numpy, and by conservation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.lens.anchors import Twice, asked, captum, close, exported, image_for
from tests.lens.known import cifar10, plain_cnn, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import fusion  # noqa: E402

import epochal  # noqa: E402
from epochal import lens  # noqa: E402
from epochal.errors import NetworkError, UsageError  # noqa: E402

Array = npt.NDArray[Any]
pytestmark = pytest.mark.torch
assert captum


def test_both_rules_are_as_captum_says(captum: Any) -> None:
    rules = import_module("captum.attr._utils.lrp_rules")
    network: Any = plain_cnn()
    image = np.abs(image_for(1, 28, 28))
    network[9].rule = rules.EpsilonRule()
    theirs = asked(captum.LRP(network), image, target=3)
    close(lens.lrp(network, image, target=3, epsilon=1e-9).array, theirs)
    network[9].rule = rules.EpsilonRule()
    for layer in network:
        if hasattr(layer, "weight"):
            layer.rule = rules.Alpha1_Beta0_Rule(set_bias_to_zero=True)
    theirs = asked(captum.LRP(network), image, target=3)
    close(lens.lrp(network, image, target=3, rule="z+").array, theirs)


def dense(path: Any, activation: str = "relu") -> tuple[Any, list[Array]]:
    random = np.random.default_rng(0)
    made = [random.normal(size=(6, 8)), random.normal(size=6), random.normal(size=(4, 6)), random.normal(size=4)]
    names = ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
    arrays: Any = dict(zip(names, made, strict=True))
    np.savez(path / "net.npz", **arrays)
    return epochal.Network.open(path / "net.npz", activation=activation), made


def test_epsilon_is_the_sum_of_its_paper(tmp_path: Any) -> None:
    network, (w1, b1, w2, b2) = dense(tmp_path)
    x, epsilon = np.random.default_rng(1).normal(size=8), 0.3
    z1 = w1 @ x + b1
    a1 = np.maximum(z1, 0)
    z2 = w2 @ a1 + b2
    last = np.array([0, 0, z2[2], 0])
    relevance = np.zeros(6)
    for j in range(6):
        for k in range(4):
            relevance[j] += a1[j] * w2[k, j] / (z2[k] + epsilon * (1 if z2[k] >= 0 else -1)) * last[k]
    first = np.zeros(8)
    for i in range(8):
        for j in range(6):
            first[i] += x[i] * w1[j, i] / (z1[j] + epsilon * (1 if z1[j] >= 0 else -1)) * relevance[j]
    found = lens.lrp(network, x, target=2, epsilon=epsilon)
    np.testing.assert_allclose(found.array, first, rtol=1e-9)
    assert found.numbers["relevance"] == pytest.approx(first.sum())
    assert found.numbers["conservation_error"] == pytest.approx(abs(first.sum() - z2[2]) / abs(z2[2]))


def test_z_plus_is_the_sum_of_its_paper_for_inputs_of_both_signs(tmp_path: Any) -> None:
    network, (w1, b1, w2, b2) = dense(tmp_path)
    x = np.random.default_rng(1).normal(size=8)
    a1 = np.maximum(w1 @ x + b1, 0)
    score = (w2 @ a1 + b2)[2]
    speaks = np.maximum(a1 * w2[2], 0)
    relevance = speaks / speaks.sum() * score
    parts = np.maximum(x * w1, 0)
    whole = np.where(relevance != 0, parts.sum(axis=1), 1)
    first = (parts / whole[:, None] * relevance[:, None]).sum(axis=0)
    found = lens.lrp(network, x, target=2, rule="z+")
    np.testing.assert_allclose(found.array, first, rtol=1e-9)
    assert found.numbers["conservation_error"] < 1e-9


def test_relevance_is_kept_by_z_plus_in_a_residual_network() -> None:
    """Sums of branches, strides, padding, pooling and batch normalisation lose and make nothing."""
    network, (images, _) = resnet20(), cifar10(4)
    for image in images:
        found = lens.lrp(network, image, rule="z+")
        assert found.numbers["conservation_error"] < 1e-5
        assert found.notes == ()


def test_batch_normalisation_is_drawn_into_the_layer_before_it() -> None:
    """The same network with its normalisations folded into weights by PyTorch has none left."""
    torch.manual_seed(0)
    random: Any = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False),
        nn.ReLU(), nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    for _ in range(3):
        random(2 + 3 * torch.randn(8, 2, 9, 9))
    random.eval()
    with torch.no_grad():
        for part in (random[1], random[8]):
            part.weight.normal_()
            part.bias.normal_()
    fold, line = fusion.fuse_conv_bn_eval, fusion.fuse_linear_bn_eval
    folded = nn.Sequential(
        fold(random[0], random[1]), nn.ReLU(), fold(random[3], random[4]), nn.ReLU(), nn.Flatten(),
        line(random[7], random[8]), nn.ReLU(), random[10],
    ).eval()  # fmt: skip
    image = np.abs(image_for(2, 9, 9))
    for target in range(3):
        found = lens.lrp(random, image, target=target, rule="z+")
        assert found.score == pytest.approx(float(random(torch.from_numpy(image)[None]).detach()[0, target]), rel=1e-4)
        close(found.array, lens.lrp(folded, image, target=target, rule="z+").array, 1e-4)


def test_with_a_small_epsilon_and_rectifiers_it_is_input_times_gradient() -> None:
    """Known from theory, for any network of layers with weights, rectifiers and pooling."""
    network, image = Twice("functional").double(), image_for(2, 9, 9).astype(np.float64)
    expected = lens.input_x_gradient(network, image, target=0).array
    np.testing.assert_allclose(lens.lrp(network, image, target=0, epsilon=1e-12).array, expected, atol=1e-9)
    said = lens.lrp(resnet20(), cifar10(1)[0][0])
    assert said.numbers["conservation_error"] > 0.05
    assert "adds up to" in said.notes[0]


@pytest.mark.parametrize("rule", ["epsilon", "z+"])
def test_the_exported_network_gives_the_same(rule: Any) -> None:
    for network, image in ((resnet20(), cifar10(1)[0][0]), (Twice("in place"), image_for(2, 9, 9))):
        one, other = (lens.lrp(n, image, target=1, rule=rule) for n in (network, exported(network, image)))
        close(other.array, one.array)


@pytest.mark.parametrize("bend", [F.silu, F.gelu, F.hardswish, F.relu6, F.hardtanh])
def test_other_activations_pass_relevance_on(bend: Any) -> None:
    """One unit's answer a of its input z: the relevance of both is the same."""

    class Bent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(5, 4, bias=False)
            self.last = nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(bend(4 * self.line(x)))
            return y

    torch.manual_seed(0)
    found = lens.lrp(Bent().double(), image_for(5).astype(np.float64), target=0, epsilon=1e-12)
    assert found.numbers["conservation_error"] < 1e-6


class Refused(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.line, self.kind = nn.Linear(4, 4), kind

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.line(x)
        ways: dict[str, Any] = {
            "softmax": lambda: y.softmax(1),
            "gate": lambda: y * self.line(x + 1),
            "tanh": lambda: y.tanh(),
            "product": lambda: (x[:, :, None] @ y[:, None])[:, 0],
            "made weights": lambda: F.linear(y, y.T @ y),
        }
        found: Tensor = ways[self.kind]()
        return found


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("softmax", "softmax"),
        ("gate", "operation mul"),
        ("tanh", "operation tanh"),
        ("product", "operation bmm"),
        ("made weights", "made from the image"),
    ],
)
def test_what_has_no_rule_is_refused(kind: str, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        lens.lrp(Refused(kind), image_for(4), target=0)


def test_unknown_rules_are_said() -> None:
    with pytest.raises(UsageError, match="no rule 'gamma'"):
        lens.lrp(Twice(), image_for(2, 9, 9), rule="gamma")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="above 0"):
        lens.lrp(Twice(), image_for(2, 9, 9), epsilon=0)
