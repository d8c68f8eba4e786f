"""Class activation maps: against captum, and against sums written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.lens.anchors import Twice, asked, captum, close, exported, image_for, squeezed
from tests.lens.known import cifar10, plain_cnn, resnet20

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor, nn  # noqa: E402

from epochal import lens  # noqa: E402
from epochal.errors import NetworkError, NotFoundError, UsageError  # noqa: E402

Array = npt.NDArray[Any]
pytestmark = pytest.mark.torch
assert captum


@pytest.mark.parametrize("layer", ["conv1", "layer1.0.conv2", "layer2.2", "layer3.2.bn2", "layer3"])
def test_grad_cam_is_as_captum_says(captum: Any, layer: str) -> None:
    network, (images, _) = resnet20(), cifar10(2)
    for image in images:
        found = lens.grad_cam(network, image, layer=layer)
        inner = dict(network.named_modules())[layer]
        theirs = asked(captum.LayerGradCam(network, inner), image, target=found.target, relu_attributions=True)[0]
        close(found.coarse, theirs)
        large = captum.LayerAttribution.interpolate(torch.from_numpy(theirs)[None, None], (32, 32), "bilinear")
        close(found.array, large[0, 0].numpy())
        assert found.layer == layer


def test_guided_grad_cam_is_as_captum_says(captum: Any) -> None:
    network: Any = squeezed()
    image = image_for(3, 33, 33)
    found = lens.guided_grad_cam(network, image, target=5, layer="6")
    theirs = captum.GuidedGradCam(network, network[6])
    close(found.array, asked(theirs, image, target=5, interpolate_mode="bilinear"))
    assert found.layer == "6"


def maps_and_gradient(network: Any, image: Array, layer: nn.Module, target: int) -> tuple[Array, Array]:
    """What a layer puts out and the gradient there, by PyTorch's own means."""
    held: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _i, output: held.append(output))
    score = network(torch.from_numpy(image)[None])[0, target]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, held)
    return held[0].detach()[0].numpy(), gradient[0].numpy()


def test_the_ways_of_weighting_are_those_of_their_papers() -> None:
    network, image = plain_cnn(seed=3), image_for(1, 28, 28)
    maps, gradient = maps_and_gradient(network, image, network[6], 4)
    plus, each = np.zeros(maps.shape[1:]), np.zeros(maps.shape[1:])
    for a, g in zip(maps.astype(np.float64), gradient.astype(np.float64), strict=True):
        below = 2 * g**2 + a.sum() * g**3
        share = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
        plus += (share * np.maximum(g, 0)).sum() * a
        each += np.maximum(g, 0) * a
    close(lens.grad_cam_plus_plus(network, image, target=4, layer="6").coarse, np.maximum(plus, 0))
    close(lens.layer_cam(network, image, target=4, layer="6").coarse, np.maximum(each, 0))


def test_the_layer_that_says_most_is_found() -> None:
    assert lens.grad_cam(resnet20(), cifar10(1)[0][0]).layer == "layer3"
    assert lens.grad_cam(plain_cnn(), image_for(1, 28, 28)).layer == "7"
    assert lens.grad_cam(squeezed(), image_for(3, 33, 33)).layer == "9"
    assert lens.grad_cam(exported(resnet20(), cifar10(1)[0][0]), cifar10(1)[0][0]).layer == "layer3"


@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_plus_plus", "layer_cam", "guided_grad_cam"])
def test_the_exported_network_gives_the_same_maps(name: str) -> None:
    network, (images, _) = resnet20(), cifar10(1)
    recorded = exported(network, images[0])
    for layer in (None, "layer2.0.conv1"):
        one, other = (getattr(lens, name)(n, images[0], layer=layer) for n in (network, recorded))
        close(other.array, one.array)
        assert one.layer == other.layer


def test_a_layer_before_one_that_writes_in_place_is_seen_as_it_was() -> None:
    """A hook alone would hold the rectified values, and the gradient behind the rectifier."""
    network, image = Twice("in place"), image_for(2, 9, 9)
    found = lens.grad_cam(network, image, target=0, layer="second")
    other = lens.grad_cam(Twice("functional"), image, target=0, layer="second")
    close(found.coarse, other.coarse)


def test_a_module_that_runs_twice_is_two_layers() -> None:
    network, image = Twice("module"), image_for(2, 9, 9)
    first, second = (lens.layer_cam(network, image, target=0, layer=name) for name in ("act", "act@2"))
    assert "runs 2 times" in first.notes[0]
    recorded = exported(network, image)
    close(lens.layer_cam(recorded, image, target=0, layer="act@2").coarse, second.coarse)
    with torch.no_grad():
        deep = network.act(network.second(network.act(network.first(torch.from_numpy(image)[None]))))
    weight = network.last.weight.detach()[0].numpy() / deep[0, 0].numel()
    expected = (np.maximum(weight, 0)[:, None, None] * deep[0].numpy()).sum(axis=0)
    close(second.coarse, expected)
    with pytest.raises(NetworkError, match="it ran 2 times"):
        lens.layer_cam(network, image, target=0, layer="act@3")


def test_layers_that_cannot_be_looked_at_are_said() -> None:
    network, image = resnet20(), cifar10(1)[0][0]
    with pytest.raises(NotFoundError, match=r"no layer 'layer3.9'") as wrong:
        lens.grad_cam(network, image, layer="layer3.9")
    assert "layer3.1" in wrong.value.hint
    with pytest.raises(UsageError, match="no maps of places"):
        lens.grad_cam(network, image, layer="linear")
    with pytest.raises(UsageError, match="named by a text"):
        lens.grad_cam(network, image, layer=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Which layer"):
        lens.grad_cam(nn.Linear(4, 2), np.ones(4, np.float32))


def test_a_layer_that_does_not_run_or_does_not_matter_is_said() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.aside = (nn.Conv2d(1, 2, 3) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            y: Tensor = self.used(x).mean(dim=(2, 3))
            return y

    image = image_for(1, 6, 6)
    with pytest.raises(NetworkError, match="did not run"):
        lens.grad_cam(Spare(), image, target=0, layer="idle")
    with pytest.raises(NetworkError, match="does not depend on layer 'aside'"):
        lens.grad_cam(Spare(), image, target=0, layer="aside")


def test_signals_and_volumes_have_maps_of_their_own_shape() -> None:
    torch.manual_seed(0)
    signal = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    found = lens.grad_cam(signal, image_for(2, 20), target=0)
    assert (found.array.shape, found.layer) == ((20,), "1")
    assert lens.saliency(signal, image_for(2, 20)).map.shape == (20,)
    volume = nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    assert lens.grad_cam(volume, image_for(1, 7, 8, 9), target=0).array.shape == (7, 8, 9)


def test_blocks_that_put_out_several_tensors_are_not_chosen_unasked() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Conv2d(1, 3, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.line(x)
            return {"first": y, "second": y + 1}

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Several()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.block(x)["first"].mean(dim=(2, 3))
            return y

    network, image = Around(), image_for(1, 6, 6)
    found = lens.layer_cam(network, image, target=0)
    assert found.layer == "block.line"
    np.testing.assert_array_equal(lens.layer_cam(network, image, target=0, layer="block").array, found.array)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_layers_are_refused() -> None:
    scripted = torch.jit.script(plain_cnn())
    image = image_for(1, 28, 28)
    close(lens.saliency(scripted, image, target=0).array, lens.saliency(plain_cnn(), image, target=0).array)
    with pytest.raises(NetworkError, match="TorchScript"):
        lens.grad_cam(scripted, image, target=0)
    with pytest.raises(NetworkError, match="TorchScript"):
        lens.guided_backprop(scripted, image, target=0)
