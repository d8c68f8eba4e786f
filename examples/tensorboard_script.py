"""A script written for TensorBoard's SummaryWriter: only the import is another.

Needs: torch, sklearn
"""

import torch
from sklearn.datasets import load_iris
from torch import nn

from epochal.dropin.tensorboard import SummaryWriter

torch.manual_seed(0)
flowers = load_iris()
x = torch.tensor((flowers.data - flowers.data.mean(0)) / flowers.data.std(0), dtype=torch.float32)
y = torch.tensor(flowers.target)

model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
writer = SummaryWriter("runs/iris")
writer.add_graph(model, x[:1])

for step in range(100):
    optimizer.zero_grad()
    out = model(x)
    loss = nn.functional.cross_entropy(out, y)
    loss.backward()
    optimizer.step()
    writer.add_scalar("loss", loss, step)
    writer.add_scalars("accuracy", {"train": (out.argmax(1) == y).float().mean()}, step)
    if step % 10 == 0:
        for name, parameter in model.named_parameters():
            writer.add_histogram(name, parameter, step)

writer.add_pr_curve("virginica", y == 2, out.softmax(1)[:, 2].detach(), step)
writer.add_embedding(x, metadata=[flowers.target_names[k] for k in y], tag="flowers", global_step=step)
writer.add_hparams({"lr": 0.01, "hidden": 16}, {"final/loss": loss.item()}, global_step=step)
writer.close()
