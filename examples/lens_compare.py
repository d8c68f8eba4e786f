"""What a training does to a network as a whole: its layers compared, probed, and its way over the loss.

Needs: torch, sklearn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import epochal
from epochal import lens

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
labels = torch.tensor(digits.target)

model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(256, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

with epochal.init(project="digits", name="compared") as run:
    run.watch(model, inputs=images[:2])
    for epoch in range(5):
        model.train()
        for batch in torch.randperm(len(images)).split(60):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss}, epoch=epoch)

run = epochal.open().run("latest")
x, y = images[:400], labels[:400]

first, last = run.network(run.steps("params")[0]), run.network()
lens.cka(first, last, x).save("cka.png")  # which layers the training has changed
lens.linear_probes(last, x, y).save("probes.png")  # where the digits can be told apart
lens.film(lens.spectra, run).save("spectra.npz")  # singular values of all weights, at each snapshot

landscape = lens.loss_landscape(last, x, y, path=run, size=11)
landscape.save("path.gif")  # the way that the training took
print(f"{landscape.variance.sum():.0%} of the way lies in this plane")
