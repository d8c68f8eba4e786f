"""Real PyTorch models that are watched while they train; import this only where PyTorch is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from epochal.record import Run, init
from epochal.store import StatisticsTable, StoredRun

State = dict[str, Tensor]


class Block(nn.Module):
    """Batch norm, dropout, an in-place activation and a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.norm(self.first(x)))
        out: Tensor = self.head(h + self.drop(self.second(h)))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3, bias=False)
        self.decoder = nn.Linear(4, 3, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder(x) + self.decoder(x)
        return out


class Branching(nn.Module):
    """Control flow that depends on the data: cannot be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.a(x)
        if float(out.sum()) > 1e9:
            return out * 2
        return out


def column(table: StatisticsTable, name: str) -> npt.NDArray[np.float64]:
    return table.columns[name].astype(np.float64)


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("torch", dir=tmp_path, strict=True, **options)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def batch(seed: int, n: int = 16) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=made), torch.randint(0, 3, (n,), generator=made)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    x, y = batch(seed)
    optimizer.zero_grad()
    out: Tensor = model(x.to(next(model.parameters()).dtype))
    loss = F.cross_entropy(out.float(), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def train(model: nn.Module, run: Run, epochs: int, *, steps: int = 2, first: int = 0) -> list[State]:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    kept = []
    for epoch in range(first, first + epochs):
        losses = [step_of(model, optimizer, epoch * steps + k) for k in range(steps)]
        run.log({"loss": losses[-1]}, step=epoch, epoch=epoch)
        kept.append({k: v.detach().clone() for k, v in model.state_dict().items()})
    return kept


def hooks_left(model: nn.Module) -> int:
    count = 0
    for module in model.modules():
        count += len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
    return count + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())
