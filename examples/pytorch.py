"""A plain PyTorch loop: two lines record the losses, the weights, their gradients, the activations and the network.

Needs: torch, sklearn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import epochal

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train, test = order[:1500], order[1500:]

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

with epochal.init(project="digits", name="convolutional", config={"lr": 3e-3, "batch": 50}) as run:
    run.watch(model)
    run.define("val_accuracy", better="max")
    step = 0
    for epoch in range(8):
        model.train()
        for batch in train[torch.randperm(len(train))].split(run.config["batch"]):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss}, step=step)
            step += 1
        model.eval()
        with torch.no_grad():
            scores = model(images[test])
        val_loss = cross_entropy(scores, labels[test])
        val_accuracy = (scores.argmax(dim=1) == labels[test]).float().mean()
        run.log({"val_loss": val_loss, "val_accuracy": val_accuracy}, step=step - 1, epoch=epoch)
