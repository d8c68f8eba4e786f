"""What in a volume speaks for a class, in a network of three dimensions: cubes that turn in a GIF.

Needs: torch
"""

import numpy as np
import torch
from torch import nn

import epochal
from epochal import lens

rng = np.random.default_rng(0)
place = np.indices((10, 10, 10)) - 4.5
shells = {
    "ball": np.sqrt((place**2).sum(axis=0)) < 3.2,
    "cube": np.abs(place).max(axis=0) < 3,
    "pole": np.abs(place[1:]).max(axis=0) < 1.2,
}
names = list(shells)
labels = rng.integers(0, 3, 150)
noise = 0.15 * rng.random((150, 10, 10, 10))
volumes = np.stack([shells[names[label]] for label in labels]) * 0.8 + noise
x, y = torch.tensor(volumes[:, None], dtype=torch.float32), torch.tensor(labels)

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv3d(1, 6, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

with epochal.init("volumes") as run:
    run.watch(network, examples=(x[:12], y[:12]))
    for epoch in range(6):
        for part in torch.randperm(150).split(30):
            loss = nn.functional.cross_entropy(network(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = lens.saliency(network, x[0], target=int(y[0]))
        run.log({"loss": loss.item(), "saliency": epochal.Voxels(found.map)}, step=epoch, epoch=epoch)

# The same as a film over the training, and its last step turned once around.
film = epochal.open().run(run.id).film("saliency")
film.save("saliency.png", size="480x360")
film.at([len(film) - 1]).save("turning.gif", size="320x240")
