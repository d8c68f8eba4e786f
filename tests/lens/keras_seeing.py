"""What is seen inside Keras models on PyTorch, whose channels come last. Run by `test_keras_networks.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal import lens
from epochal.lens.photos import preparation_of, prepare
from epochal.network import Preparation
from epochal.network.libraries import _KERAS as KERAS
from epochal.network.sources import open_source

pytestmark = pytest.mark.skipif(os.environ["KERAS_BACKEND"] != "torch", reason="the lens needs PyTorch's gradients")
L: Any = keras.layers


@pytest.fixture
def model() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 14, 3)),
            L.Conv2D(6, 3, padding="same", activation="relu", name="c1"),
            L.MaxPooling2D(name="pool"),
            L.Conv2D(8, 3, name="c2"),
            L.GlobalAveragePooling2D(name="mean"),
            L.Dense(4, name="d"),
        ]
    )


def images(count: int = 12) -> Any:
    return np.random.default_rng(0).random((count, 16, 14, 3)).astype(np.float32)


def below(model: Any, layer: str) -> Any:
    return keras.ops.convert_to_numpy(keras.Model(model.inputs, model.get_layer(layer).output)(images()))


def test_feature_maps_have_their_channels_first(model: Any) -> None:
    maps = lens.feature_maps(model, images()[0])
    assert {name: found.array.shape for name, found in maps.items()} == {
        "c1": (6, 16, 14), "pool": (6, 8, 7), "c2": (8, 6, 5), "mean": (8,), "d": (4,),
    }  # fmt: skip
    for name in ("c1", "pool", "c2"):
        np.testing.assert_allclose(maps[name].array, below(model, name)[0].transpose(2, 0, 1), rtol=1e-4, atol=1e-6)


def test_filters_have_their_outputs_first(model: Any) -> None:
    kernel = keras.ops.convert_to_numpy(model.get_layer("c2").kernel)
    np.testing.assert_array_equal(lens.filters(model, layer="c2").array, kernel.transpose(3, 2, 0, 1))


def test_a_model_of_keras_by_its_name(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    made = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    made.save_weights(tmp_path / "w.weights.h5")
    network = open_source("keras:MobileNetV2", weights=tmp_path / "w.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)
    array, shown = prepare(pixels, preparation_of(network)[0])
    assert array.shape == network.input_shape == (224, 224, 3)
    given = keras.applications.mobilenet_v2.preprocess_input(shown.astype(np.float32))
    np.testing.assert_allclose(array, given, atol=1e-5)
    np.testing.assert_allclose(
        network(array[None]), keras.ops.convert_to_numpy(made(given[None], training=False)), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121", "EfficientNetB0"])
def test_photos_are_prepared_as_keras_prepares_them(name: str) -> None:
    module = {"ResNet50": "resnet", "DenseNet121": "densenet", "EfficientNetB0": "efficientnet"}[name]
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    preparation = Preparation(size=(8, 8), channels_last=True, **KERAS[module])
    expected = getattr(keras.applications, module).preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(preparation.input(pixels), expected, atol=1e-4)


def test_top_examples_and_their_fields(model: Any) -> None:
    top = lens.top_examples(model, images(), layer="c2", k=3)
    best = below(model, "c2").max(axis=(1, 2))
    np.testing.assert_array_equal(top.indices, np.argsort(-best, axis=0, kind="stable")[:3].T)
    row, column = top.places[0, 0]
    start = (2 * row - 1, 2 * column - 1)  # 3, then 2 by 2, then 3: 8 pixels, a stride of 2
    expected = (max(0, start[0]), max(0, start[1]), min(16, start[0] + 8), min(14, start[1] + 8))
    assert top.field(0) == expected
    assert top.deconvolved(0).shape == top.crop(0).shape


def test_a_class_and_a_unit_are_raised(model: Any) -> None:
    for how in ({"target": 2}, {"layer": "c2", "channel": 3, "place": (1, 4)}):
        found = lens.maximize(model, steps=30, **how)
        assert found.array.shape == (16, 14, 3)
        assert found.objective > found.start
    answer = keras.ops.convert_to_numpy(model(lens.maximize(model, target=2, steps=5).array[None]))[0, 2]
    assert lens.maximize(model, target=2, steps=5).objective == pytest.approx(float(answer), rel=1e-3)
