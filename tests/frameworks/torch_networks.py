"""Small PyTorch networks that tests take apart; import this only where PyTorch is there."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Mlp(nn.Module):
    """The Iris network of the demo."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Residual(nn.Module):
    """Batch norm, dropout, functional activations and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)
        self.middle = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.first(x)))
        h = h + self.drop(torch.tanh(self.middle(h)))
        out: Tensor = self.last(h)
        return out


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3)
        )
        self.head = nn.Linear(8 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(torch.flatten(F.gelu(self.body(x)), 1)), dim=1)


class Shared(nn.Module):
    """One layer used twice, two inputs joined, a parameter of the network's own, and a layer that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.full((4,), 2.0))
        self.lost = nn.Linear(2, 2)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.cat([self.layer(self.layer(left)), right * self.scale], dim=1)


class Deciding(nn.Module):
    """Goes one way or the other by what it is given: this cannot be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 2)
        self.down = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.up(x)) if x.sum() > 0 else self.down(x).sigmoid()


class Spiteful(nn.Module):
    """Its forward changes and replaces buffers, keeps what it saw, draws random numbers, and can be made to fail."""

    seen: Tensor
    last: Tensor

    def __init__(self, *, failing: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("last", torch.zeros(3))
        self.failing = failing
        self.calls = 0
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.cache = x * 2
        self.fresh = x
        self.seen += 1
        self.last = x[0]
        if self.failing:
            raise RuntimeError("no, not today")
        out: Tensor = self.layer(x + torch.rand(3))
        return out


class Grouped(nn.Module):
    """Named inputs, a dictionary of outputs, and a stretch without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"small": nn.Linear(4, 2), "large": nn.Linear(4, 6)})

    def forward(self, x: Tensor, *, mask: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            level = x.mean(dim=1, keepdim=True)
        return {"small": self.heads["small"](x * mask), "large": self.heads["large"](x - level)}
