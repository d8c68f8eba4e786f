"""What feature maps, top examples and activation maximisation cost beside the bare network.

Each figure is a ratio of processor times on one thread, both measured in turns in the same process.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.table import Row
from epochal.lens import feature_maps, maximizing, top_examples

__all__ = ["seeing"]

Work = Callable[[], object]


class Bottleneck(nn.Module):
    """A block of ResNet-50: 1x1, 3x3, 1x1, and the shortcut (He et al. 2015)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width * 4, 1, bias=False), nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        shortcut = nn.Sequential(nn.Conv2d(inputs, width * 4, 1, stride, bias=False), nn.BatchNorm2d(width * 4))
        self.downsample = shortcut if stride != 1 or inputs != width * 4 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        y += x if self.downsample is None else self.downsample(x)
        out: torch.Tensor = self.relu(y)
        return out


def resnet50() -> nn.Sequential:
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    inputs = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(Bottleneck(inputs, width, first if i == 0 else 1))
            inputs = width * 4
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return nn.Sequential(*stem, *blocks, *head).eval()


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ).eval()  # fmt: skip


def turns(works: dict[str, Work], count: int) -> dict[str, float]:
    """The least processor seconds of each work, all taking turns."""
    for work in works.values():
        work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(count):
        for name, work in works.items():
            start = process_time()
            work()
            found[name].append(process_time() - start)
    return {name: min(times) for name, times in found.items()}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seeing(*, quick: bool = False) -> list[Row]:
    torch.set_num_threads(1)
    rows = _examples(3 if quick else 9)
    network, x = resnet50(), torch.randn(1, 3, 224, 224)
    both = turns({"bare": lambda: _forward(network, x), "maps": lambda: feature_maps(network, x[0])}, 3 if quick else 9)
    rows.append(Row("feature maps of all layers of ResNet-50, in forwards", both["maps"] / both["bare"], "x", 1.5))
    return rows + _maximizing(3 if quick else 7)


def _forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network(x)
    return found


def _examples(count: int) -> list[Row]:
    network = small()
    data = torch.from_numpy(np.random.default_rng(0).random((10_000, 1, 28, 28), np.float32))
    before = peak_mb()

    def bare() -> None:
        for part in data.split(128):
            _forward(network, part)

    bare()
    forward = peak_mb()
    layers = ["1", "4", "7"]
    both = turns({"bare": bare, "top": lambda: top_examples(network, data, layer=layers, k=9)}, count)
    return [
        Row("top 9 of 112 units over 10,000 images, in bare forwards", both["top"] / both["bare"], "x", 1.15),
        Row("the same, memory beyond that of the data and the bare pass", peak_mb() - max(before, forward), "MB", 500),
    ]


def _maximizing(count: int) -> list[Row]:
    network, x = small(), torch.randn(1, 1, 28, 28)

    def both_ways() -> Any:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(network(leaf)[0, 3], leaf)

    steps = 20
    found = turns(
        {
            "bare": lambda: [both_ways() for _ in range(steps)],
            "search": lambda: list(maximizing(network, target=3, size=(28, 28), steps=steps, every=steps)),
        },
        count,
    )
    ratio = found["search"] / found["bare"]
    return [Row("a step of activation maximisation on 28x28, in forwards and backwards", ratio, "x")]
