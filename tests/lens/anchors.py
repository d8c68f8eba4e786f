"""Captum's answers, to hold ours against; and small networks that it does or does not treat rightly."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

Array = npt.NDArray[Any]


@pytest.fixture(scope="session")
def captum() -> Any:
    """`captum.attr`."""
    with quiet():
        return pytest.importorskip("captum.attr", reason="captum is not installed")


@contextmanager
def quiet() -> Iterator[None]:
    """Captum warns of the hooks that it sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def asked(method: Any, image: Array, **how: Any) -> Array:
    """What a method of captum says of one image, without the batch."""
    with quiet():
        found = method.attribute(torch.from_numpy(image)[None], **how)
    return cast(Array, found.detach()[0].numpy())


def close(ours: Array | None, theirs: Array | None, share: float = 1e-5) -> None:
    """Equal up to a share of the largest value."""
    assert ours is not None
    assert theirs is not None
    assert ours.shape == theirs.shape
    largest = float(np.abs(theirs).max())
    assert largest > 0
    assert float(np.abs(ours - theirs).max()) <= share * largest


def slopes(score: Callable[[Array], Array], image: Array, step: float = 1e-6) -> Array:
    """The gradient of a score by finite differences: both sides of each value, in double precision."""
    flat = image.astype(np.float64).ravel()
    moved = np.repeat(flat[None], 2 * flat.size, axis=0)
    moved[np.arange(flat.size), np.arange(flat.size)] += step
    moved[flat.size + np.arange(flat.size), np.arange(flat.size)] -= step
    found = score(moved.reshape(-1, *image.shape))
    slope: Array = (found[: flat.size] - found[flat.size :]) / (2 * step)
    return slope.reshape(image.shape)


class Fire(nn.Module):
    """Squeeze, then two widths side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.squeeze_activation(self.squeeze(x))
        wide = [self.expand1x1_activation(self.expand1x1(y)), self.expand3x3_activation(self.expand3x3(y))]
        joined: Tensor = torch.cat(wide, dim=1)
        return joined


def squeezed(seed: int = 0, classes: int = 7) -> nn.Module:
    """A small network after Iandola and others, "SqueezeNet" (2016): modules only, ReLU in place, class maps last."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(12, 6, 10), Fire(20, 6, 10), nn.MaxPool2d(3, stride=2, ceil_mode=True), Fire(20, 8, 12),
        nn.Dropout(), nn.Conv2d(24, classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip


class Twice(nn.Module):
    """Two convolutions with one activation used after both, as a module (`kind="module"`) or in another way."""

    def __init__(self, kind: str = "module", seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(2, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 6, 3, padding=1)
        self.last = nn.Linear(6, 4)
        self.act = nn.ReLU()
        self.kind = kind

    def bend(self, x: Tensor) -> Tensor:
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "module": self.act,
            "functional": F.relu,
            "method": lambda x: x.relu(),
            "in place": lambda x: F.relu(x, inplace=True),
            "clamp": lambda x: x.clamp(min=0),
            "maximum": lambda x: torch.maximum(torch.zeros(()), x),
            "threshold": lambda x: F.threshold(x, 0.0, 0.0),
            "relu6": F.relu6,
            "silu": F.silu,
        }
        return ways[self.kind](x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bend(self.first(x))
        y = self.bend(self.second(y))
        return cast(Tensor, self.last(y.mean(dim=(2, 3))))

    def backwards(self, image: Array, target: int, rule: Callable[[Array, Array], Array]) -> Array:
        """The rule written out by hand: `rule(what was given to the activation, what came back to it)`."""
        with torch.no_grad():
            x = torch.from_numpy(image)[None]
            first = self.first(x)
            second = self.second(self.bend(first.clone()))
            back = (self.last.weight[target] / second[0, 0].numel())[None, :, None, None].expand_as(second)
            back = torch.from_numpy(rule(second.numpy(), back.numpy()))
            back = F.conv_transpose2d(back, self.second.weight, padding=1)
            back = torch.from_numpy(rule(first.numpy(), back.numpy()))
            return F.conv_transpose2d(back, self.first.weight, padding=1)[0].numpy()


def exported(network: nn.Module, image: Array, *, batch: int = 1) -> Any:
    """The network as a run records it, opened again by way of the gate."""
    from epochal.frameworks.torch_export import export_program, program_bytes
    from epochal.network.program import load_network

    program, _ = export_program(network, ((torch.from_numpy(np.stack([image] * batch)),), {}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pt2"
        path.write_bytes(program_bytes(program))
        return load_network(path, graph=None, step=5, state={}, trust=False)


def image_for(*shape: int, seed: int = 0) -> Array:
    """Noise that is the same each time."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
