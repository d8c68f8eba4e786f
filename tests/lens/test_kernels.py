"""Filters against the weights and a principal component analysis by singular values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.errors import NotFoundError, UsageError
from epochal.network import Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal.lens.kernels import filters  # noqa: E402
from tests.lens.known import plain_cnn, resnet20  # noqa: E402


def test_kernels_on_colours_are_shown_in_colours(tmp_path: Path) -> None:
    network = resnet20()
    found = filters(network)
    weight = network.conv1.weight.detach().numpy()
    np.testing.assert_array_equal(found.array, weight)
    assert (found.layer, found.look) == ("conv1", "colours")
    limit = np.abs(weight).max()
    for i in (0, 7):
        for at in ((0, 0), (1, 2)):
            expected = [round(float(weight[i, c, at[0], at[1]] / limit / 2 + 0.5) * 255) for c in range(3)]
            assert found.pictures()[i, at[0], at[1]].tolist() == expected
    norms = np.linalg.norm(weight.reshape(16, -1), axis=1)
    assert found.order.tolist() == np.argsort(-norms).tolist()
    found.save(tmp_path / "filters.png")
    with Image.open(tmp_path / "filters.png") as picture:
        assert picture.width > 300


def test_deep_kernels_by_principal_components() -> None:
    network = resnet20()
    found = filters(network, layer="layer2.1.conv1")
    assert found.look == "components"
    places = found.array.transpose(0, 2, 3, 1).reshape(-1, 32).astype(np.float64)
    left, values, _ = np.linalg.svd(places, full_matrices=False)
    assert found.explained == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())
    # What is drawn is each place's first components, up to sign and scale.
    shown = found.pictures().astype(np.float64).reshape(-1, 3)
    for c in range(3):
        assert abs(np.corrcoef(shown[:, c], left[:, c])[0, 1]) > 0.999


def test_filters_of_a_film_keep_their_components_and_scale() -> None:
    network = resnet20()
    last = filters(network, layer="layer2.1.conv1")
    with torch.no_grad():
        network.get_parameter("layer2.1.conv1.weight").mul_(0.5)
    half = filters(network, layer="layer2.1.conv1")
    np.testing.assert_array_equal(half.pictures(), last.pictures())  # alone, each has its own scale
    shown = half.pictures(like=last).astype(int) * 2 - 127.5
    np.testing.assert_allclose(shown, last.pictures(), atol=2)


def test_one_input_channel(tmp_path: Path) -> None:
    network = plain_cnn()
    one = filters(network, layer="3", channel=5)
    assert one.look == "channel"
    assert one.pictures().shape == (12, 3, 3, 3)
    strongest = np.unravel_index(np.abs(one.array[:, 5]).argmax(), (12, 3, 3))
    assert tuple(one.pictures()[strongest]) in {tuple(one._scale("light").colours[i]) for i in (1, 255)}
    assert filters(network, layer="0").channel == 0
    one.save(tmp_path / "one.svg")
    assert "Krizhevsky" in (tmp_path / "one.svg").read_text()
    with pytest.raises(UsageError, match="input channels 0 to 7"):
        filters(network, layer="3", channel=8)


def test_what_has_no_kernels(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no layer '8'.*\n.*There are: 0, 3, 6"):
        filters(plain_cnn(), layer="8")
    with pytest.raises(NotFoundError, match="no convolution"):
        filters(nn.Sequential(nn.Linear(3, 2)))
    np.savez(tmp_path / "n.npz", **{"layers.0.weight": np.ones((2, 4), np.float32)})  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="no convolution"):
        filters(Network.open(tmp_path / "n.npz"))


def test_transposed_kernels_have_outputs_first() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(3, 5, 2))
    assert filters(network).array.shape == (5, 3, 2, 2)


def test_of_a_recorded_program(tmp_path: Path) -> None:
    network = plain_cnn()
    torch.export.save(torch.export.export(network, (torch.rand(1, 1, 28, 28),), strict=False), tmp_path / "n.pt2")
    np.testing.assert_array_equal(
        filters(Network.open(tmp_path / "n.pt2"), layer="3").array, network.state_dict()["3.weight"].numpy()
    )
