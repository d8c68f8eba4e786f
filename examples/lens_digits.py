"""What a network of handwritten digits sees while it learns: its filters, where it looks, and what it waits for.

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
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(32 * 4 * 4, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

with epochal.init(project="digits", name="seen from inside") as run:
    run.watch(model, inputs=images[:2])
    for epoch in range(6):
        for batch in torch.randperm(len(images)).split(50):
            loss = cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss}, epoch=epoch)

# The run is enough from here on: the network was recorded with its training.
run = epochal.open().run("latest")
network, three = run.network(), images[3]

lens.film(lens.filters, run, layer="0").save("filters.gif")  # the kernels at each snapshot
lens.film(lens.saliency, run, image=three, target=3).save("saliency.gif")  # which pixels make it a three
lens.feature_maps(network, three, layer="2").save("maps.png")  # what the channels put out, strongest first
lens.grad_cam(network, three, layer="3").save("grad_cam.png")  # where the three is seen
lens.maximize(network, target=3).save("three.png")  # the picture that is more of a three than any digit
lens.top_examples(network, images, layer="3", k=6).save("examples.png")  # the digits that each channel waits for
