"""Gradients and the rules of rectifiers: against captum where it is right, elsewhere against a derivation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.lens.anchors import Twice, asked, captum, close, exported, image_for, slopes, squeezed
from tests.lens.known import cifar10, plain_cnn, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, autograd, nn  # noqa: E402

import epochal  # noqa: E402
from epochal import lens  # noqa: E402
from epochal.errors import NetworkError, UsageError  # noqa: E402

Array = npt.NDArray[Any]
pytestmark = pytest.mark.torch
assert captum

PLAIN: dict[str, Any] = {"squeezed": (squeezed, (3, 33, 33)), "plain": (plain_cnn, (1, 28, 28))}


@pytest.mark.parametrize("which", PLAIN)
@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        ("saliency", "Saliency", {"abs": False}),
        ("input_x_gradient", "InputXGradient", {}),
        ("guided_backprop", "GuidedBackprop", {}),
        ("deconvolution", "Deconvolution", {}),
    ],
)
def test_networks_of_relu_modules_are_as_captum_says(
    captum: Any, which: str, ours: str, theirs: str, how: dict[str, Any]
) -> None:
    make, shape = PLAIN[which]
    network, image = make(), image_for(*shape)
    found = getattr(lens, ours)(network, image, target=3)
    close(found.array, asked(getattr(captum, theirs)(network), image, target=3, **how))
    assert found.target == 3
    assert found.score == pytest.approx(float(network(torch.from_numpy(image)[None]).detach()[0, 3]), rel=1e-6)


@pytest.mark.parametrize(("ours", "theirs"), [("saliency", "Saliency"), ("input_x_gradient", "InputXGradient")])
def test_a_trained_residual_network_is_as_captum_says(captum: Any, ours: str, theirs: str) -> None:
    network, (images, _) = resnet20(), cifar10(3)
    for image in images:
        found = getattr(lens, ours)(network, image)
        how = {"abs": False} if theirs == "Saliency" else {}
        close(found.array, asked(getattr(captum, theirs)(network), image, target=found.target, **how))


def test_the_gradient_is_the_slope() -> None:
    """Independent of any autograd: differences of the score, on both sides of each pixel."""
    network = Twice("functional").double()
    image = image_for(2, 6, 6).astype(np.float64)

    def score(batch: Array) -> Array:
        with torch.no_grad():
            found: Array = network(torch.from_numpy(batch))[:, 2].numpy()
        return found

    np.testing.assert_allclose(lens.saliency(network, image, target=2).array, slopes(score, image), atol=1e-7)


GUIDED = lambda given, back: np.maximum(back, 0) * (given > 0)  # noqa: E731 - the rule in one line
DECONVOLVED = lambda given, back: np.maximum(back, 0)  # noqa: E731


@pytest.mark.parametrize(
    "kind", ["module", "functional", "method", "in place", "clamp", "maximum", "threshold", "relu6"]
)
@pytest.mark.parametrize(("method", "rule"), [("guided_backprop", GUIDED), ("deconvolution", DECONVOLVED)])
def test_every_way_to_write_a_rectifier_follows_the_rule(kind: str, method: str, rule: Any) -> None:
    """By hand, since captum returns the plain gradient for all but modules, and has no case for reused ones."""
    network, image = Twice(kind), image_for(2, 9, 9)
    by_hand = network.backwards(image, 1, rule)
    found = getattr(lens, method)(network, image, target=1)
    close(found.array, by_hand)
    close(getattr(lens, method)(exported(network, image), image, target=1).array, by_hand)
    plain = lens.saliency(network, image, target=1).array
    assert np.abs(plain - by_hand).max() > 0.1 * np.abs(by_hand).max()
    assert found.notes == ()


def test_captum_leaves_functional_rectifiers_out(captum: Any) -> None:
    """Why the rules are held against a derivation by hand: here the two differ, and captum's is the plain gradient."""
    network, (images, _) = resnet20(), cifar10(1)
    theirs = asked(captum.GuidedBackprop(network), images[0], target=0)
    close(lens.saliency(network, images[0], target=0).array, theirs)
    ours = lens.guided_backprop(network, images[0], target=0).array
    assert np.abs(ours - theirs).max() > 0.5 * np.abs(theirs).max()


def test_a_residual_network_is_guided_as_its_copy_of_modules(captum: Any) -> None:
    """The same network with a module for each rectifier is one that captum treats rightly."""
    network, (images, _) = resnet20(), cifar10(2)
    twin = _with_modules(network)
    for image in images:
        for ours, theirs in (("guided_backprop", "GuidedBackprop"), ("deconvolution", "Deconvolution")):
            found = getattr(lens, ours)(network, image)
            close(found.array, asked(getattr(captum, theirs)(twin), image, target=found.target))


def _with_modules(network: nn.Module) -> nn.Module:
    class Block(nn.Module):
        def __init__(self, block: Any) -> None:
            super().__init__()
            self.block, self.one, self.two = block, nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            b = self.block
            y = b.bn2(b.conv2(self.one(b.bn1(b.conv1(x)))))
            if b.added:
                half = b.added // 2
                x = F.pad(x[:, :, :: b.stride, :: b.stride], (0, 0, 0, 0, half, half))
            z: Tensor = self.two(y + x)
            return z

    n: Any = network
    blocks = [Block(b) for b in (*n.layer1, *n.layer2, *n.layer3)]
    return nn.Sequential(
        n.conv1, n.bn1, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), n.linear
    ).eval()  # fmt: skip


def test_other_activations_keep_their_gradient_and_it_is_said() -> None:
    network, image = Twice("silu"), image_for(2, 9, 9)
    found = lens.guided_backprop(network, image, target=0)
    assert found.notes == ("no rectifier was found; it has SiLU: this is the plain gradient",)
    np.testing.assert_array_equal(found.array, lens.saliency(network, image, target=0).array)
    mixed = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(3))
    said = lens.guided_backprop(mixed.eval(), image).notes
    assert said == ("the rule acts on 1 rectifier; 1 × GELU keep their own gradient",)


class Own(autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *back: Tensor) -> Tensor:
        found: Tensor = back[0] * (ctx.saved_tensors[0] > 0)
        return found


class Hidden(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.line, self.kind = nn.Linear(4, 4), kind

    def forward(self, x: Tensor) -> Any:
        y = self.line(x)
        if self.kind == "own":
            own: Any = Own
            return own.apply(y)
        if self.kind == "checkpoint":
            from torch.utils.checkpoint import checkpoint

            return checkpoint(F.relu, y, use_reentrant=True)
        if self.kind == "slice":
            y[:, :2] = F.relu(y[:, :2].clone())
        return y


@pytest.mark.parametrize(
    ("kind", "said"),
    [("own", "a function of the network's own"), ("checkpoint", "recomputed"), ("slice", "written in place")],
)
def test_what_hides_a_rectifier_is_refused(kind: str, said: str) -> None:
    network = Hidden(kind).eval()
    with pytest.raises(NetworkError, match=said):
        lens.guided_backprop(network, np.ones(4, np.float32), target=0)
    if kind == "checkpoint":
        with pytest.raises(NetworkError, match="PyTorch cannot go back"):
            lens.saliency(network, np.ones(4, np.float32), target=0)
    else:
        assert lens.saliency(network, np.ones(4, np.float32), target=0).array.shape == (4,)


@pytest.mark.parametrize("which", ["twice", "resnet20", "squeezed"])
def test_the_exported_network_gives_the_same_maps(which: str) -> None:
    ways: dict[str, Any] = {
        "twice": lambda: (Twice("functional"), image_for(2, 9, 9)),
        "resnet20": lambda: (resnet20(), cifar10(1)[0][0]),
        "squeezed": lambda: (squeezed(), image_for(3, 33, 33)),
    }
    network, image = ways[which]()
    recorded = exported(network, image)
    for name in ("saliency", "input_x_gradient", "guided_backprop", "deconvolution"):
        one, other = getattr(lens, name)(network, image, target=2), getattr(lens, name)(recorded, image, target=2)
        close(other.array, one.array)
        close(other.map, one.map)
        assert (one.step, other.step) == (None, 5)


def test_a_network_is_left_as_it_was() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    network(torch.zeros(2, 1, 6, 6))
    network[2].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    image = image_for(1, 6, 6)
    given = image.copy()
    first, second = (lens.guided_backprop(network, image, target=0).array for _ in range(2))
    with torch.inference_mode():
        third = lens.guided_backprop(network, image, target=0).array
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(image, given)
    assert [m.training for m in network] == [True, True, False, True, True, True]
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_hooks for m in network.modules())


def test_maps_are_drawn_as_they_say() -> None:
    network, image = Twice(), image_for(2, 9, 9)
    found = lens.saliency(network, image, target=0)
    np.testing.assert_array_equal(found.map, np.abs(found.array).max(axis=0))
    summed = lens.input_x_gradient(network, image, target=0)
    np.testing.assert_allclose(summed.map, summed.array.sum(axis=0), rtol=1e-6)
    assert (found.signed, summed.signed) == (False, True)
    assert not found.array.flags.writeable


def test_images_may_be_tensors_lists_and_batches_of_one() -> None:
    network, image = Twice(), image_for(2, 9, 9)
    expected = lens.saliency(network, image, target=0).array
    for given in (torch.from_numpy(image), image.astype(np.float64), image[None], image.tolist()):
        np.testing.assert_array_equal(lens.saliency(network, given, target=0).array, expected)
    exported_found = lens.saliency(exported(network, image), image[None], target=0)
    close(exported_found.array, expected)


def test_no_target_is_the_highest() -> None:
    network, image = Twice(), image_for(2, 9, 9)
    top = int(network(torch.from_numpy(image)[None]).argmax())
    assert lens.saliency(network, image).target == top
    np.testing.assert_array_equal(
        lens.saliency(network, image).array, lens.saliency(network, image, target=np.int64(top)).array
    )


def test_chains_in_numpy_are_asked_like_modules(tmp_path: Any) -> None:
    """A network of arrays: its gradient is the product of its weights over the units that are on."""
    random = np.random.default_rng(0)
    w1, w2 = random.normal(size=(7, 12)), random.normal(size=(3, 7))
    b1, b2 = random.normal(size=7), random.normal(size=3)
    names = ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
    made: Any = dict(zip(names, (w1, b1, w2, b2), strict=True))
    np.savez(tmp_path / "net.npz", **made)
    network = epochal.Network.open(tmp_path / "net.npz", input_shape=(3, 4))
    image = random.normal(size=(3, 4))
    on = (w1 @ image.ravel() + b1) > 0
    found = lens.saliency(network, image, target=1)
    np.testing.assert_allclose(found.array, ((w2[1] * on) @ w1).reshape(3, 4), rtol=1e-9)
    assert found.map.shape == (3, 4)
    flat = lens.input_x_gradient(network, image.ravel(), target=1)
    np.testing.assert_allclose(flat.map, found.array.ravel() * image.ravel(), rtol=1e-9)


def test_attributions_are_saved_as_pictures(tmp_path: Any) -> None:
    found = lens.saliency(Twice(), image_for(2, 9, 9), target=0)
    for suffix in ("png", "svg", "npz"):
        assert found.save(tmp_path / f"map.{suffix}").stat().st_size > 200
    assert "saliency" in repr(found)


class Returns(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.line, self.what = nn.Linear(4, 3), what

    def forward(self, x: Tensor) -> Any:
        y = self.line(x)
        return {
            "pair": (y, y),
            "one of a list": [y],
            "nothing": None,
            "whole numbers": y.argmax(1),
            "sum": y.sum(),
            "not finite": y / 0,
            "detached": y.detach(),
            "constant": y * 0 + self.line.bias,
            "number": y[:, 0],
            "softmax": y.softmax(1),
        }[self.what]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("pair", "puts out 2 values"),
        ("nothing", "NoneType"),
        ("whole numbers", "int64"),
        ("sum", r"puts out \[\]"),
        ("not finite", "not finite"),
        ("detached", "does not depend"),
    ],
)
def test_answers_that_are_no_scores_are_refused(what: str, said: str) -> None:
    with pytest.raises(NetworkError, match=said):
        lens.saliency(Returns(what), np.ones(4, np.float32), target=0)


def test_one_number_is_a_score_and_probabilities_are_remarked() -> None:
    number = lens.saliency(Returns("number"), np.ones(4, np.float32))
    assert number.target == 0
    assert number.array.shape == (4,)
    assert lens.saliency(Returns("one of a list"), np.ones(4, np.float32), target=1).notes == ()
    assert "probability" in lens.saliency(Returns("softmax"), np.ones(4, np.float32)).notes[0]


@pytest.mark.parametrize(
    ("image", "target", "said"),
    [
        (np.ones((2, 9, 9), np.uint8), 0, "needs floating numbers"),
        (np.full((2, 9, 9), np.nan, np.float32), 0, "not finite"),
        (np.ones((3, 2, 9, 9), np.float32), 0, "One image at a time"),
        (np.float32(1), 0, "not a number"),
        (np.ones((2, 9, 9), np.float32), 4, "no class 4: they go from 0 to 3"),
        (np.ones((2, 9, 9), np.float32), -1, "no class -1"),
        (np.ones((2, 9, 9), np.float32), True, "truth value"),
        (np.ones((2, 9, 9), np.float32), "cat", "number of a class"),
        (np.ones((2, 9, 9), np.float32), (1, 2), "no place"),
        (np.array([["a"]]), 0, "array of numbers"),
    ],
)
def test_what_cannot_be_asked_is_said(image: Any, target: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lens.saliency(Twice(), image, target=target)


def test_wrong_shapes_and_kinds_of_network_are_said() -> None:
    with pytest.raises(NetworkError, match="could not run on an input"):
        lens.saliency(Twice(), image_for(5, 9, 9))
    with pytest.raises(
        UsageError, match=r"takes one image of shape \[2, any, any\]|takes one image of shape \[2, 9, 9\]"
    ):
        lens.saliency(exported(Twice(), image_for(2, 9, 9)), image_for(3, 9, 9))
    with pytest.raises(UsageError, match="no network that the lens knows"):
        lens.saliency(lambda x: x, image_for(2, 9, 9))


def test_a_recorded_network_with_a_fixed_batch_is_filled_up() -> None:
    """One that counts on its batch of 3 can be recorded for that size alone; one image is asked beside copies."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(2, 3, 3), nn.Linear(75, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(F.relu(self.first(x)).reshape(3, 75))
            return y

    network, image = Fixed().eval(), image_for(2, 7, 7)
    recorded = exported(network, image, batch=3)
    with torch.no_grad():
        scores = network(torch.from_numpy(np.stack([image] * 3)))[0]

    ways: dict[str, dict[str, Any]] = {
        "guided_backprop": {},
        "grad_cam": {"layer": "first"},
        "score_cam": {"layer": "first"},
        "integrated_gradients": {"steps": 7},
        "occlusion": {"window": 3},
        "lrp": {"rule": "z+"},
    }
    for name, how in ways.items():
        found = getattr(lens, name)(recorded, image, target=1, **how)
        assert found.score == pytest.approx(float(scores[1]), rel=1e-5)
        close(found.array, getattr(lens, name)(_Loose(network), image, target=1, **how).array)


class _Loose(nn.Module):
    """The same network for batches of any size."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.first, self.last = network.first, network.last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(F.relu(self.first(x)).flatten(1))
        return y
