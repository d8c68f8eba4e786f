"""Feature maps against hooks of PyTorch's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochal as package
from epochal.errors import NetworkError, NotFoundError
from epochal.network import Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal.lens.colouring import enlarged, laid_over  # noqa: E402
from epochal.lens.maps import CITATION, feature_maps  # noqa: E402
from tests.lens.known import cifar10, plain_cnn, resnet20  # noqa: E402


def hooked(module: nn.Module, x: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in module.named_modules():
        if name:
            inner.register_forward_hook(lambda _m, _i, o, name=name: found.update({name: o.detach().clone().numpy()}))
    with torch.no_grad():
        module(x)
    return found


def test_all_layers_of_a_trained_resnet_from_one_forward_are_what_hooks_see() -> None:
    pictures, _ = cifar10(1)
    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    network = resnet20()
    handle = network.register_forward_pre_hook(count)
    maps = feature_maps(network, pictures[0])
    handle.remove()
    expected = hooked(network, torch.from_numpy(pictures))
    assert forwards == 1
    assert set(maps) == set(expected)
    assert len(maps) == 51  # 19 convolutions and normalisations, 9 blocks, 3 stages, 1 linear layer
    for name, value in expected.items():
        np.testing.assert_array_equal(maps[name].array, value[0], err_msg=name)


def test_what_is_written_over_in_place_is_as_it_was() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(6, 5), nn.Linear(5, 4), nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            y = self.act(self.a(x))
            z = self.b(y)
            z += 100
            return self.act(z * -1)

    forwards = 0

    def count(*_: Any) -> None:
        nonlocal forwards
        forwards += 1

    torch.manual_seed(0)
    network = Careless()
    x = torch.randn(1, 6)
    handle = network.register_forward_pre_hook(count)
    maps = feature_maps(network, x[0])
    handle.remove()
    assert forwards == 1
    with torch.no_grad():
        a = network.a(x)
        b = network.b(a.relu())
    np.testing.assert_array_equal(maps["a"].array, a[0].numpy())
    np.testing.assert_array_equal(maps["b"].array, b[0].numpy())
    np.testing.assert_array_equal(maps["act"].array, a[0].relu().numpy())
    np.testing.assert_array_equal(maps["act@2"].array, -(b[0] + 100).clamp(max=0).numpy())
    assert (network.act.inplace, network.training) == (True, True)
    np.testing.assert_array_equal(feature_maps(network, x[0], layer="act@2").array, maps["act@2"].array)
    with pytest.raises(NetworkError, match="act@3"):
        feature_maps(network, x[0], layer="act@3")


def test_what_is_written_over_unseen_is_asked_again() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 5)

        def forward(self, x: Any) -> Any:
            y = self.a(x)
            with torch._C.DisableTorchFunction():
                y.mul_(3)
            return y

    network, x = Hidden(), torch.rand(1, 6)
    with torch.no_grad():
        np.testing.assert_array_equal(feature_maps(network, x[0], layer="a").array, network.a(x)[0].numpy())


def test_a_recorded_program_has_the_maps_of_its_module(tmp_path: Path) -> None:
    network = plain_cnn()
    x = torch.rand(1, 1, 28, 28)
    torch.export.save(torch.export.export(network, (x,), strict=False), tmp_path / "n.pt2")
    recorded = feature_maps(Network.open(tmp_path / "n.pt2"), x[0])
    for name, maps in feature_maps(network, x[0]).items():
        np.testing.assert_allclose(recorded[name].array, maps.array, rtol=1e-5, atol=1e-6)


def test_strongest_first_and_pictures(tmp_path: Path) -> None:
    maps = feature_maps(plain_cnn(), torch.rand(1, 28, 28), layer="4")
    assert maps.array.shape == (12, 14, 14)
    expected = np.abs(maps.array).mean(axis=(1, 2))
    np.testing.assert_allclose(maps.strength, expected, rtol=1e-6)
    assert (np.diff(expected[maps.order]) <= 0).all()
    np.testing.assert_array_equal(maps.channel(), maps.array[np.argmax(expected)])
    photo = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    np.testing.assert_array_equal(maps.over(photo, opacity=0), photo)
    assert len(np.unique(maps.over(photo, 3, opacity=1).reshape(-1, 3), axis=0)) > 5
    maps.save(tmp_path / "maps.png", count=9)
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.width > 200
    maps.save(tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as held:
        np.testing.assert_array_equal(held["frames"][0], maps.array)
    assert "Zeiler" in maps.scene().note == CITATION
    with pytest.raises(NotFoundError, match="channels 0 to 11"):
        maps.channel(12)
    with pytest.raises(NotFoundError, match="Did you mean"):
        feature_maps(resnet20(), np.zeros((3, 32, 32), np.float32), layer="layer3.2.conv9")


def test_layers_without_places(tmp_path: Path) -> None:
    maps = feature_maps(plain_cnn(), torch.rand(1, 28, 28), layer=["9", "10"])
    assert {name: found.array.shape for name, found in maps.items()} == {"9": (16,), "10": (10,)}
    maps["10"].save(tmp_path / "scores.png")
    tokens = feature_maps(nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4)), torch.rand(5, 6), layer="0")
    assert tokens.array.shape == (4, 5)


def test_layers_of_a_chain_in_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=(5, 16)).astype(np.float32), random.normal(size=(3, 5)).astype(np.float32)
    np.savez(tmp_path / "n.npz", **{"layers.0.weight": one, "layers.1.weight": two})  # type: ignore[arg-type]
    network = Network.open(tmp_path / "n.npz", input_shape=(4, 4))
    image = random.random((4, 4))
    maps = feature_maps(network, image)
    np.testing.assert_allclose(maps["layers.0"].array, one @ image.ravel(), rtol=1e-5)
    np.testing.assert_allclose(maps["layers.1"].array, network(image[None])[0], rtol=1e-5)
    with pytest.raises(NotFoundError, match=r"There are: layers\.0, layers\.1"):
        feature_maps(network, image, layer="layers.2")


@pytest.mark.parametrize("shape", [(3, 4), (9, 2), (7, 7), (1, 1)])
def test_maps_grow_as_pytorch_grows_them(shape: tuple[int, int]) -> None:
    values = torch.rand(1, 1, *shape)
    expected = nn.functional.interpolate(values, (11, 13), mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(enlarged(values[0, 0].numpy(), (11, 13)), expected.numpy(), atol=1e-6)


def test_opacity_is_a_mean() -> None:
    photo, colours = np.full((2, 2, 3), 10, np.uint8), np.full((2, 2, 3), 110, np.uint8)
    assert (laid_over(photo, colours, 0.25) == 35).all()


def test_layers_of_a_recorded_network_that_takes_words(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Embedding(7, 6), torch.nn.Flatten(), torch.nn.Linear(24, 3))
    tokens = torch.tensor([[1, 5, 2, 6]])
    with package.init(project="p", dir=tmp_path, strict=True) as run:
        run.watch(net, inputs=tokens)
        run.log({"loss": 1.0}, step=1)
        run.snapshot(1)
    recorded = package.open(tmp_path).run("latest").network(1)
    found = feature_maps(recorded, tokens[0].float().numpy(), layer="0")
    np.testing.assert_allclose(found.array, net[0](tokens)[0].T.detach().numpy(), atol=1e-6)
