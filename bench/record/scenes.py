"""The trainings that recording is measured in, and the ways of recording them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from time import perf_counter, thread_time

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.tensorboard import SummaryWriter

import epochal

Record = Callable[[dict[str, float], int], None]
Seconds = tuple[float, float]
"""By the clock, and of the training thread's processor time: the latter is steady on a busy machine."""


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def iris() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))


@contextlib.contextmanager
def recording(kind: str, model: nn.Module, example: torch.Tensor, folder: str) -> Iterator[Record]:
    """A way of recording: `bare` (numbers computed, not kept), `log`, `watch`, `watch epochs`, `tensorboard`..."""
    if kind == "bare":
        yield lambda data, step: None
    elif kind.startswith("tensorboard"):
        writer = SummaryWriter(tempfile.mkdtemp(dir=folder))
        histograms = kind.endswith("histograms")

        def put(data: dict[str, float], step: int) -> None:
            for name, value in data.items():
                writer.add_scalar(name, value, step)
            if histograms and step % 10 == 0:
                for name, parameter in model.named_parameters():
                    writer.add_histogram(name, parameter, step)
                    writer.add_histogram(f"grad/{name}", parameter.grad, step)

        yield put
        writer.close()
    else:
        run = epochal.init("bench", dir=folder, strict=True)
        if kind.startswith("watch"):
            run.watch(model, inputs=example)
        if kind.endswith("epochs"):
            yield lambda data, step: run.log(data, step=step, epoch=step)
        else:
            yield lambda data, step: run.log(data, step=step)
        run.finish()


def train_mlp(kind: str, folder: str, *, steps: int = 2000) -> Seconds:
    """Seconds of the loop: 784-128-10, batches of 64, loss and accuracy of each step recorded."""
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(4096, 784), torch.randint(0, 10, (4096,))
    with recording(kind, model, x[:8], folder) as record:
        wall, processor = perf_counter(), thread_time()
        for step in range(steps):
            at = step % 64 * 64
            out = model(x[at : at + 64])
            loss = F.cross_entropy(out, y[at : at + 64])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            accuracy = (out.argmax(1) == y[at : at + 64]).float().mean().item()
            record({"loss": loss.item(), "accuracy": accuracy}, step)
        return perf_counter() - wall, thread_time() - processor


def train_iris(kind: str, folder: str, *, epochs: int = 150) -> Seconds:
    """Seconds of the loop: 4-12-12-3, 120 flowers in batches of 16, six numbers recorded after each epoch."""
    torch.manual_seed(0)
    model = iris()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(150, 4), torch.randint(0, 3, (150,))
    with recording(kind, model, x[:8], folder) as record:
        wall, processor = perf_counter(), thread_time()
        for epoch in range(epochs):
            model.train()
            for at in range(0, 120, 16):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[at : min(at + 16, 120)]), y[at : min(at + 16, 120)])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            model.eval()
            with torch.no_grad():
                out = model(x)
                losses = F.cross_entropy(out, y, reduction="none")
                right = (out.argmax(1) == y).float()
            record(
                {
                    "loss": losses[:120].mean().item(),
                    "val_loss": losses[120:].mean().item(),
                    "accuracy": right[:120].mean().item(),
                    "val_accuracy": right[120:].mean().item(),
                    "lr": 0.1,
                    "batch_loss": loss.item(),
                },
                epoch,
            )
        return perf_counter() - wall, thread_time() - processor
