"""A convolutional network of three dimensions on volumes, recorded with its kernels, feature maps and confusion.

The volumes are scikit-learn's digits, made three layers deep and turned by quarters about the upright axis.

Needs: torch, sklearn
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import epochal

digits = load_digits()
draw = np.random.default_rng(0)
volumes = np.zeros((len(digits.images), 8, 8, 8), np.float32)
volumes[:, 3:6] = digits.images[:, None] / 16
for volume in volumes:
    volume[:] = np.rot90(volume, draw.integers(4), axes=(0, 2))
x, y = torch.from_numpy(volumes[:, None]), torch.from_numpy(digits.target)
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm3d(8), nn.MaxPool3d(2),
    nn.Conv3d(8, 16, 3, padding=1), nn.ReLU(), nn.BatchNorm3d(16), nn.MaxPool3d(2),
    nn.Flatten(), nn.Linear(16 * 2**3, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(network.parameters(), lr=0.005)

with epochal.init("volumes", config={"filters": [8, 16], "lr": 0.005}) as run:
    run.watch(network, inputs=x_train[:8], examples=(x_test[:200], y_test[:200]))
    run.log({"first": epochal.Voxels(volumes[0])}, step=0)
    for epoch in range(1, 6):
        network.train()
        for batch in torch.randperm(len(x_train)).split(32):
            optimizer.zero_grad()
            loss = cross_entropy(network(x_train[batch]), y_train[batch])
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            scores = network(x_test)
        accuracy = (scores.argmax(1) == y_test).float().mean()
        step = epoch * -(-len(x_train) // 32)
        run.log(
            {"loss": loss, "val_loss": cross_entropy(scores, y_test), "val_accuracy": accuracy}, step=step, epoch=epoch
        )
    print(f"{accuracy:.1%} of the test volumes are recognised")
