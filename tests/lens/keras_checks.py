"""Keras models: channels last, activations that are functions, nested layers. Run by `test_keras_networks.py`."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor, nn

from epochal import lens
from epochal.errors import EpochalError, MissingExtraError
from tests.lens.anchors import close, image_for

L: Any = keras.layers
Array = npt.NDArray[Any]
BACKEND = os.environ["KERAS_BACKEND"]


def convolutional(activation: Any = "relu", **last: Any) -> Any:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [L.Conv2D(5, 3, padding="same", name="deep"), L.Activation(activation, name="bent")], name="block"
    )
    return keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            L.Conv2D(4, 3, padding="same", activation=activation, name="first"),
            L.MaxPooling2D(name="pool"),
            inner,
            L.GlobalAveragePooling2D(name="mean"),
            L.Dense(6, name="last", **last),
        ]
    )


class Twin(nn.Module):
    """The same network, with its numbers, as PyTorch writes it: channels first, modules for rectifiers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.first, self.deep, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.Linear(5, 6)
        arrays = [torch.from_numpy(np.array(w)) for w in model.get_weights()]
        layer: Any
        with torch.no_grad():
            for layer, kernel, bias in zip((self.first, self.deep, self.last), arrays[::2], arrays[1::2], strict=True):
                layer.weight.copy_(kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T)
                layer.bias.copy_(bias)
        self.relu, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(self.relu(self.first(x)), 2)
        found: Tensor = self.last(self.relu2(self.deep(y)).mean(dim=(2, 3)))
        return found


IMAGE = image_for(12, 10, 3)
ON_TORCH = pytest.mark.skipif(BACKEND != "torch", reason="Keras runs on another backend here")


@ON_TORCH
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("saliency", {}),
        ("input_x_gradient", {}),
        ("guided_backprop", {}),
        ("deconvolution", {}),
        ("integrated_gradients", {"steps": 20}),
        ("occlusion", {"window": 4, "stride": 2}),
        ("smoothgrad", {"samples": 4}),
        ("lrp", {"rule": "epsilon"}),
    ],
)
def test_maps_are_those_of_the_same_network_in_pytorch(name: str, how: dict[str, Any]) -> None:
    model = convolutional()
    found = getattr(lens, name)(model, IMAGE, target=2, **how)
    assert found.array.shape == (12, 10, 3)
    assert found.map.shape == (12, 10)
    if name == "smoothgrad":  # its noise is drawn in the order of the values
        assert np.isfinite(found.array).all()
        return
    expected = getattr(lens, name)(Twin(model), np.ascontiguousarray(IMAGE.transpose(2, 0, 1)), target=2, **how)
    close(found.array, expected.array.transpose(1, 2, 0), 2e-5)
    close(found.map, expected.map, 2e-5)


@ON_TORCH
@pytest.mark.parametrize("name", ["grad_cam", "grad_cam_plus_plus", "layer_cam", "score_cam", "guided_grad_cam"])
def test_class_activation_maps_have_rows_and_columns(name: str) -> None:
    """Captum averages the wrong axes where channels lie last."""
    model = convolutional()
    found = getattr(lens, name)(model, IMAGE, target=1)
    expected = getattr(lens, name)(Twin(model), IMAGE.transpose(2, 0, 1).copy(), target=1, layer="relu2")
    assert found.layer == "block/bent" or found.layer == "block"
    theirs = expected.array.transpose(1, 2, 0) if name == "guided_grad_cam" else expected.array
    close(found.array, theirs, 2e-5)


@ON_TORCH
@pytest.mark.parametrize("activation", ["relu6", "silu"])
def test_other_activations_are_handled_or_said(activation: str) -> None:
    found = lens.guided_backprop(convolutional(activation), IMAGE, target=0)
    assert bool(found.notes) == (activation == "silu")
    plain = lens.saliency(convolutional(activation), IMAGE, target=0).array
    assert bool(np.abs(found.array - plain).max() > 1e-6) == (activation == "relu6")


@ON_TORCH
def test_probabilities_are_remarked_and_layers_named() -> None:
    model = convolutional(activation="relu")
    assert "probability" in lens.saliency(_with_softmax(model), IMAGE).notes[0]
    with pytest.raises(EpochalError, match="no layer 'blok/deep'") as wrong:
        lens.grad_cam(model, IMAGE, layer="blok/deep")
    assert "block/deep" in str(wrong.value)


def _with_softmax(model: Any) -> Any:
    return keras.Sequential([keras.Input((12, 10, 3)), model, L.Softmax()])


@ON_TORCH
def test_the_check_against_random_weights_gives_them_back() -> None:
    model = convolutional()
    before = model.get_weights()
    check = lens.sanity_check(lens.saliency, model, IMAGE, stages="cascade")
    assert len(check.stages) == 3
    assert abs(check.correlation) < 0.95
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.skipif(BACKEND == "torch", reason="this is about other backends")
def test_other_backends_are_told_what_to_do() -> None:
    with pytest.raises(MissingExtraError, match="another backend") as told:
        lens.saliency(convolutional(), IMAGE)
    assert "KERAS_BACKEND=torch" in told.value.hint


@ON_TORCH
def test_comparisons_know_where_keras_keeps_outputs() -> None:
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)), L.Conv2D(4, 3, activation="relu", name="c"), L.BatchNormalization(),
            L.Conv2DTranspose(5, 3, name="t"), L.Flatten(), L.Dense(3, activation="softmax", name="d"),
        ]
    )  # fmt: skip
    x = np.random.default_rng(0).random((40, 12, 12, 1)).astype(np.float32)
    y = np.arange(40) % 3
    spectra = lens.spectra(model)
    assert dict(zip(spectra.layers, spectra.shapes, strict=True)) == {"c": (4, 9), "t": (5, 36), "d": (3, 720)}
    kernel = model.get_layer("t").get_weights()[0]
    rows = kernel.transpose(2, 3, 0, 1).reshape(5, 36)
    np.testing.assert_allclose(spectra.values[1], np.linalg.svd(rows, compute_uv=False), rtol=1e-5)
    assert lens.linear_probes(model, x, y, features=60).features == (49, 36, 45, 3)
    before = model.get_weights()
    found = lens.loss_landscape(model, x, y, size=3)
    assert found.loss == "cross-entropy of probabilities"
    assert "running statistics" in found.notes[1]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert lens.cka(model, inputs=x).rows == ("c", "t", "d")
