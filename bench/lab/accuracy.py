"""How far 3D MNIST can be learned: by logistic regression, by the sixteen networks of mnist3d.toml, and by hand.

    epochal lab run bench/lab/mnist3d.toml --jobs 2 --dir RUNS
    python -m bench.lab.accuracy RUNS

The lab takes a quarter of an hour, networks by hand about ten minutes each. All choices are made on validation
examples; what is shown is the accuracy on the 2,000 test examples.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import epochal
import epochal.lab
from bench.table import Row, show
from epochal.demos.mnist3d import mnist3d

EPOCHS, BATCH, RATE = 16, 64, 4e-3


class Residual(nn.Module):
    """Two convolutions around which the input goes past."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1), nn.BatchNorm3d(channels), nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1), nn.BatchNorm3d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Of one shape [N, C, D, H, W] in and out."""
        return torch.relu(x + self.inner(x))


def by_hand() -> dict[str, nn.Module]:
    """Networks that no lab of ours makes, or makes so large."""
    residual = nn.Sequential(
        nn.Conv3d(1, 24, 5, stride=2, padding=2), nn.BatchNorm3d(24), nn.ReLU(), Residual(24),
        nn.Conv3d(24, 64, 3, stride=2, padding=1), nn.BatchNorm3d(64), nn.ReLU(), Residual(64),
        nn.AvgPool3d(2), nn.Flatten(), nn.Dropout(0.4), nn.Linear(512, 10),
    )  # fmt: skip
    plain = nn.Sequential(
        nn.Conv3d(1, 32, 5, stride=2, padding=2), nn.BatchNorm3d(32), nn.ReLU(),
        nn.Conv3d(32, 64, 3, padding=1), nn.BatchNorm3d(64), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(64, 128, 3, padding=1), nn.BatchNorm3d(128), nn.ReLU(), nn.MaxPool3d(2),
        nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    return {"residual": residual, "plain, wide": plain}


def grids(part: Any) -> Tensor:
    """Its examples [N, 1, 16, 16, 16] in whole numbers up to 255."""
    return torch.from_numpy(part.features).reshape(-1, 1, 16, 16, 16)


def trained(network: nn.Module, data: Any) -> tuple[float, float]:
    """Accuracy on validation and test examples after training with one cycle of the rate, noise, smoothed labels."""
    x, y = grids(data.training), torch.from_numpy(data.training.labels)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    steps = math.ceil(len(y) / BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, epochs=EPOCHS, steps_per_epoch=steps)
    for _ in range(EPOCHS):
        network.train()
        for rows in torch.randperm(len(y)).split(BATCH):
            batch = x[rows].float() / 255
            optimiser.zero_grad()
            scores = network(batch + 0.05 * torch.randn_like(batch))
            cross_entropy(scores, y[rows], label_smoothing=0.1).backward()
            optimiser.step()
            rate.step()
    return accuracy(network, data.validation), accuracy(network, data.test)


@torch.no_grad()
def accuracy(network: nn.Module, part: Any) -> float:
    """Part of the examples that get their own class."""
    network.eval()
    said = [network(batch.float() / 255).argmax(1) for batch in grids(part).split(256)]
    return float((torch.cat(said).numpy() == part.labels).mean())


def logistic(data: Any) -> float:
    """The best of three penalties on validation examples, on test examples."""
    from sklearn.linear_model import LogisticRegression

    def flat(part: Any) -> Any:
        return part.features.reshape(len(part.labels), -1).astype(np.float32) / 255

    found = []
    for penalty in (0.003, 0.01, 0.03):
        model = LogisticRegression(C=penalty, max_iter=500).fit(flat(data.training), data.training.labels)
        found.append([float((model.predict(flat(p)) == p.labels).mean()) for p in (data.validation, data.test)])
    return max(found)[1]


def main() -> None:
    """Show all three; of the lab also the two observations that the first lab of this kind made."""
    data = mnist3d()
    rows = []
    if len(sys.argv) > 1:
        result = epochal.lab.read("mnist3d", dir=sys.argv[1])
        best = result.best
        assert best is not None, "no trial has finished"
        confusion = epochal.open(sys.argv[1]).run(best.run or "").confusion()
        rows = [
            Row("best of the lab, chosen on validation examples", 100 * best.metrics["test_accuracy"], "%"),
            Row("validation: 6 taken for 9, of all 6", 100 * confusion[6, 9] / confusion[6].sum(), "%"),
            Row("validation: 1 found, of all 1", 100 * confusion[1, 1] / confusion[1].sum(), "%"),
        ]
    rows.append(Row("logistic regression, best of three penalties", 100 * logistic(data), "%"))
    for name, network in by_hand().items():
        torch.manual_seed(0)
        for layer in network.modules():
            if isinstance(layer, nn.Conv3d | nn.Linear):
                layer.reset_parameters()
        _, test = trained(network, data)
        rows.append(Row(f"by hand: {name}, {sum(p.numel() for p in network.parameters()):,} weights", 100 * test, "%"))
    show("3D MNIST: accuracy on 2,000 test examples", rows)


if __name__ == "__main__":
    main()
