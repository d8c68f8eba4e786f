"""What a network says of each validation digit, epoch by epoch: the Studio's Examples page, and the same in Python.

Needs: torch, sklearn
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import epochal

digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)
train, valid = slice(0, 1400), slice(1400, None)

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 10)
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

with epochal.init(project="digits", name="examples") as run:
    # Asked before the training and after each epoch, in evaluation mode; the training is the same to the last bit.
    run.watch(model, examples=(images[valid], labels[valid]))
    step = 0
    for epoch in range(12):
        for batch in torch.randperm(1400).split(64):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        run.log({"loss": loss}, step=step, epoch=epoch + 1)
    path = run.path

reader = epochal.RunReader.open(path)
said = reader.predictions()
print(f"{said.scores().accuracy:.1%} right, calibration error {said.calibration().ece:.3f}")
print("forgotten:", reader.forgotten().tolist(), "never learned:", reader.never_learned().tolist())
print(reader.confusion())
