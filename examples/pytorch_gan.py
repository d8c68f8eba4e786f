"""Two networks in one run: a generator and a discriminator, each under its own name, with pictures of what is made.

Needs: torch, sklearn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

import epochal

torch.manual_seed(0)
real = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32)

generator = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh())
discriminator = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 1))
generator_steps = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
discriminator_steps = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
same_noise = torch.randn(16, 16)

with epochal.init(project="digits", name="adversaries") as run:
    run.watch(generator, name="generator")
    run.watch(discriminator, name="discriminator")
    step = 0
    for epoch in range(8):
        for batch in torch.randperm(len(real)).split(64):
            fake = generator(torch.randn(len(batch), 16))
            yes, no = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)

            discriminator_steps.zero_grad()
            told_apart = loss_of(discriminator(real[batch]), yes) + loss_of(discriminator(fake.detach()), no)
            told_apart.backward()
            discriminator_steps.step()

            generator_steps.zero_grad()
            deceived = loss_of(discriminator(fake), yes)
            deceived.backward()
            generator_steps.step()

            run.log({"loss": {"generator": deceived, "discriminator": told_apart}}, step=step)
            step += 1
        with torch.no_grad():
            made = generator(same_noise).reshape(4, 4, 8, 8).permute(0, 2, 1, 3).reshape(32, 32)
        run.log({"made": epochal.Image(made, range=(-1, 1))}, step=step - 1, epoch=epoch)
