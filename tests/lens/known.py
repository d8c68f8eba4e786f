"""Networks whose answers are known: a trained ResNet-20 whose parameters lie in a file, and small ones made here.

The architecture is written from section 4.2 of "Deep Residual Learning for Image Recognition" (He, Zhang, Ren, Sun,
2015): 6n + 2 layers with n = 3, identity shortcuts everywhere ("option A": where the picture shrinks, each second place
is kept and the new channels are zero), functional ReLU.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

Array = npt.NDArray[Any]

SHARED = Path(os.environ.get("EPOCHAL_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
RESNET20 = SHARED / "networks" / "resnet20-cifar10.safetensors"
CIFAR10 = SHARED / "cifar10-subset.npz"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.layer3(self.layer2(self.layer1(y)))
        return cast(Tensor, self.linear(y.mean(dim=(2, 3))))


def resnet20() -> ResNet20:
    """The trained network; the test is skipped where its parameters are missing."""
    from epochal.store.safetensors import read_file

    if not RESNET20.is_file():
        pytest.skip(f"the trained ResNet-20 is not there: {RESNET20}")
    network = ResNet20()
    state = {name: torch.from_numpy(np.array(value)) for name, value in read_file(RESNET20).items()}
    lacking = network.load_state_dict(state, strict=False)
    assert not lacking.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in lacking.missing_keys)
    return network.eval()


def cifar10(count: int = 16) -> tuple[Array, Array]:
    """Test pictures [N, 3, 32, 32] as the network takes them, and their classes [N]."""
    if not CIFAR10.is_file():
        pytest.skip(f"the pictures of CIFAR-10 are not there: {CIFAR10}")
    with np.load(CIFAR10) as data:
        pictures, labels = data["x_test"][:count], data["y_test"][:count]
    scaled = (pictures.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)), labels.astype(np.int64)


def plain_cnn(seed: int = 0, *, channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Convolutions, ReLU modules and pooling in one line, with random parameters; takes [N, channels, 28, 28]."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
    ).eval()  # fmt: skip
