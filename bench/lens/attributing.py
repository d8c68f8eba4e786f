"""What attributions cost beside one forward with one way back, and beside captum where it is installed.

Each figure is a ratio of processor times on one thread, both measured in turns in the same process. The networks have
the layers of EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, ReLU6) and SqueezeNet 1.1 (Iandola et
al. 2016) at 224 x 224, with random parameters.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.table import Row
from epochal import lens

__all__ = ["attributing"]

Work = Callable[[], object]

SIX = ("saliency", "input_x_gradient", "guided_backprop", "deconvolution", "grad_cam", "guided_grad_cam")


class Inverted(nn.Module):
    """A block of MobileNetV2 and EfficientNet-Lite: wide, by channel, narrow, and around it where the shape allows."""

    def __init__(self, inputs: int, outputs: int, wider: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * wider
        wide = [nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()] if wider > 1 else []
        self.inner = nn.Sequential(
            *wide,
            nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.around = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return x + y if self.around else y


def lite0() -> nn.Sequential:
    torch.manual_seed(0)
    plan = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1),
            (6, 192, 4, 5, 2), (6, 320, 1, 3, 1))  # fmt: skip
    parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    inputs = 32
    for wider, outputs, count, kernel, stride in plan:
        for i in range(count):
            parts.append(Inverted(inputs, outputs, wider, kernel, stride if i == 0 else 1))
            inputs = outputs
    head = [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*parts, *head, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)).eval()


class Fire(nn.Module):
    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, squeezed, 1), nn.ReLU(inplace=True))
        self.one = nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU(inplace=True))
        self.three = nn.Sequential(nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.squeeze(x)
        return torch.cat([self.one(y), self.three(y)], dim=1)


def squeezenet() -> nn.Sequential:
    torch.manual_seed(0)
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool, Fire(64, 16, 64), Fire(128, 16, 64), pool,
        Fire(128, 32, 128), Fire(256, 32, 128), pool, Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256),
        Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip


def in_turns(*works: Work, times: int) -> list[float]:
    """The median processor seconds of each work, done in turns."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(times + 1):
        for work, into in zip(works, taken, strict=True):
            begin = process_time()
            work()
            if turn:  # the first one warms up
                into.append(process_time() - begin)
    return [statistics.median(times_) for times_ in taken]


def attributing(*, quick: bool = False) -> list[Row]:
    torch.set_num_threads(1)
    image = np.random.default_rng(0).normal(size=(3, 224, 224)).astype(np.float32)
    rows = []
    for name, network in (("Lite0", lite0()), ("SqueezeNet", squeezenet())):
        rows += beside_the_bare(name, network, image, 3 if quick else 9)
        if importlib.util.find_spec("captum") is not None:
            rows += beside_captum(name, network, image, 1 if quick else 3)
    return rows


def bare(network: nn.Module, image: Any) -> Work:
    """One forward, and one way back to the image alone."""

    def work() -> None:
        x = torch.from_numpy(image)[None].requires_grad_()
        torch.autograd.grad(network(x)[0, 7], x)

    return work


def beside_the_bare(name: str, network: nn.Module, image: Any, times: int) -> list[Row]:
    works: dict[str, Work] = {
        "bare": bare(network, image),
        "saliency": lambda: lens.saliency(network, image, target=7),
        "guided back-propagation": lambda: lens.guided_backprop(network, image, target=7),
        "Grad-CAM": lambda: lens.grad_cam(network, image, target=7),
        "LRP-ε": lambda: lens.lrp(network, image, target=7),
        "six gradient pictures": lambda: lens.attributions(network, image, SIX, target=7),
    }
    targets = {"saliency": 1.1, "six gradient pictures": 2.5}
    found = dict(zip(works, in_turns(*works.values(), times=times), strict=True))
    return [
        Row(f"{name}: {what}, of one forward and backward", found[what] / found["bare"], "x", targets.get(what))
        for what in works
        if what != "bare"
    ]


def beside_captum(name: str, network: nn.Module, image: Any, times: int) -> list[Row]:
    attr = importlib.import_module("captum.attr")
    x = torch.from_numpy(image)[None]
    pairs: dict[str, tuple[Work, Work, float | None]] = {
        "saliency": (
            lambda: lens.saliency(network, image, target=7),
            lambda: attr.Saliency(network).attribute(x.clone(), target=7, abs=False),
            None,
        ),
        "integrated gradients, 50 steps": (
            lambda: lens.integrated_gradients(network, image, target=7, steps=50),
            lambda: attr.IntegratedGradients(network).attribute(x, target=7, n_steps=50, internal_batch_size=10),
            0.75,
        ),
        "occlusion, 169 windows": (
            lambda: lens.occlusion(network, image, target=7, window=32, stride=16),
            lambda: attr.Occlusion(network).attribute(
                x, sliding_window_shapes=(3, 32, 32), strides=(3, 16, 16), target=7, perturbations_per_eval=10
            ),
            0.75,
        ),
    }
    rows = []
    for what, (ours, theirs, target) in pairs.items():
        one, other = in_turns(ours, theirs, times=3 * times if target is None else times)
        rows.append(Row(f"{name}: {what}, of captum's time", one / other, "x", target, f"captum {other:.2f} s"))
    return rows
