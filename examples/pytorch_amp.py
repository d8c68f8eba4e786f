"""Mixed precision, gradients summed over several batches and clipped: recorded as the optimizer gets them, unscaled.

Needs: torch, sklearn
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import epochal

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.float16 if device == "cuda" else torch.bfloat16
digits = load_digits()
pixels = torch.tensor(digits.data / 16, dtype=torch.float32, device=device)
labels = torch.tensor(digits.target, device=device)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
scaler = torch.amp.GradScaler(device)
config = {"lr": 2e-3, "batch": 32, "batches_per_step": 4, "clip": 1.0}

with epochal.init(project="digits", name="mixed precision", config=config) as run:
    run.watch(model)
    step = 0
    for epoch in range(10):
        batches = torch.randperm(len(pixels), device=device).split(run.config["batch"])
        for start in range(0, len(batches) - 3, 4):
            total = torch.zeros((), device=device)
            for batch in batches[start : start + 4]:
                with torch.autocast(device, dtype=dtype):
                    loss = cross_entropy(model(pixels[batch]), labels[batch]) / 4
                scaler.scale(loss).backward()
                total += loss.detach()
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), run.config["clip"])
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            # Tensors may stay on the GPU: logging them does not wait for it.
            run.log({"loss": total, "gradient_norm": norm, "scale": scaler.get_scale()}, step=step)
            step += 1
        with torch.no_grad():
            accuracy = (model(pixels).argmax(dim=1) == labels).float().mean()
        run.log({"accuracy": accuracy}, step=step - 1, epoch=epoch)
