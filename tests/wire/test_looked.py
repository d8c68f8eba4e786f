"""What the lens found in volumes, as the wire packs it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from epochal.wire.frames import decode
from epochal.wire.looked import drawn, packed, said_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from epochal.lens.methods import look  # noqa: E402

SIDES = (4, 6, 8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv3d(1, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 192, 3)).eval()


def test_maps_of_volumes_keep_their_depth(network: nn.Module) -> None:
    image = np.random.default_rng(0).random((1, *SIDES)).astype(np.float32)
    data = np.stack([image, 1 - image])
    names = ["saliency", "feature_maps", "filters", "top_examples"]
    found = look(network, image, names, target=1, layer="0", data=data)
    found |= look(network, image, ["maximize"], target=1, options={"maximize": {"steps": 3, "size": SIDES}})
    header, arrays = decode(packed("saliency", found["saliency"], None))
    assert arrays["maps"].shape == (1, *SIDES)
    np.testing.assert_array_equal(arrays["maps"][0], found["saliency"].map)
    header, arrays = decode(packed("feature_maps", found["feature_maps"], None))
    assert arrays["maps"].shape == (5, *SIDES)
    assert header["channels"] == found["feature_maps"].order.tolist()
    np.testing.assert_array_equal(arrays["maps"][1], found["feature_maps"].array[header["channels"][1]])
    assert decode(packed("filters", found["filters"], None))[1]["pixels"].shape == (5, 3, 9, 3)
    volume = decode(packed("maximize", found["maximize"], None))[1]["maps"]
    np.testing.assert_array_equal(volume[0], found["maximize"].volume.astype(np.float32))
    header, arrays = decode(packed("top_examples", found["top_examples"], None))
    assert arrays["pixels"].shape == (4, 168, 168, 3)
    assert header["examples"]["boxes"] == [None, None]
    for name, result in found.items():
        said = said_of(name, result, 0.1)
        assert json.dumps(said)
        assert drawn(name, result, None, title="t", caption="c", mode="light")[:4] == b"\x89PNG"
