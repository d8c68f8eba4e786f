"""Maps of a network trained on ImageNet (ReLU6, shortcuts, padding as a module of its own), against captum."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.lens.anchors import asked, captum, close, exported
from tests.lens.test_pretrained import lite0

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

from epochal import lens  # noqa: E402
from epochal.lens.photos import open_photo  # noqa: E402

Array = npt.NDArray[Any]
pytestmark = pytest.mark.torch
assert captum
assert lite0


@pytest.fixture(scope="module")
def chelsea(lite0: Any) -> Array:
    found: Array = open_photo("chelsea", lite0).array
    return found


def test_gradients_and_class_activation_are_as_captum_says(captum: Any, lite0: Any, chelsea: Array) -> None:
    module = lite0.module
    close(
        lens.saliency(lite0, chelsea, target=282).array, asked(captum.Saliency(module), chelsea, target=282, abs=False)
    )
    found = lens.grad_cam(lite0, chelsea, target=282)
    theirs = captum.LayerGradCam(module, dict(module.named_modules())[found.layer])
    close(found.coarse, asked(theirs, chelsea, target=282, relu_attributions=True)[0])
    assert found.coarse is not None
    assert found.coarse.shape == (7, 7)


@pytest.mark.slow
def test_integrated_gradients_and_occlusion_are_as_captum_says(captum: Any, lite0: Any, chelsea: Array) -> None:
    module = lite0.module
    found = lens.integrated_gradients(lite0, chelsea, target=282, steps=24)
    theirs = asked(captum.IntegratedGradients(module), chelsea, target=282, n_steps=24, internal_batch_size=4)
    close(found.array, theirs.astype(np.float32), 5e-4)
    covered = lens.occlusion(lite0, chelsea, target=282, window=64, stride=40)
    method = captum.Occlusion(module)
    sizes: dict[str, Any] = {"sliding_window_shapes": (3, 64, 64), "strides": (3, 40, 40)}
    close(covered.array, asked(method, chelsea, target=282, **sizes).astype(np.float32), 5e-5)


def _positive(_module: nn.Module, through: Any, _back: Any) -> Any:
    return (through[0].clamp(min=0),)


def test_rules_act_on_its_relu6(captum: Any, lite0: Any, chelsea: Array) -> None:
    """Captum's is the plain gradient here. By definition, hooks on each ReLU6 give the rule in another way."""
    module = copy.deepcopy(lite0.module)
    plain = lens.saliency(lite0, chelsea, target=282).array
    theirs = asked(captum.GuidedBackprop(module), chelsea, target=282)
    close(theirs, plain)
    for part in module.modules():
        if isinstance(part, nn.ReLU6):
            part.inplace = False
            part.register_full_backward_hook(_positive)
    by_hooks = asked(captum.Saliency(module), chelsea, target=282, abs=False)
    found = lens.guided_backprop(lite0, chelsea, target=282)
    close(found.array, by_hooks)
    assert np.abs(found.array - plain).max() > 0.1 * np.abs(found.array).max()


def test_the_exported_network_gives_the_same_maps(lite0: Any, chelsea: Array) -> None:
    recorded = exported(lite0.module, chelsea)
    for name in ("saliency", "guided_backprop", "deconvolution", "grad_cam", "lrp"):
        one, other = (getattr(lens, name)(n, chelsea, target=282) for n in (lite0, recorded))
        close(other.array, one.array)


def test_relevance_that_nothing_but_biases_speak_for_is_lost_and_said(lite0: Any, chelsea: Array) -> None:
    """Its convolutions by channel have one input each: where that is zero, the answer is that of the bias alone."""
    found = lens.lrp(lite0, chelsea, target=282, rule="z+")
    assert 0 < found.numbers["relevance"] < found.score
    assert found.numbers["conservation_error"] == pytest.approx(1 - found.numbers["relevance"] / found.score)
    assert "adds up to" in found.notes[0]
