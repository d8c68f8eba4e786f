"""The demo's network and one step of its training in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

__all__ = ["Mlp", "TorchLearner"]

Array = npt.NDArray[Any]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Mlp(nn.Module):
    """A multi-layer perceptron of the given sizes, from features to classes, with one activation between layers."""

    def __init__(self, sizes: Sequence[int], *, activation: str = "relu") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes [n, classes] for examples [n, features], or pictures [n, height, width]."""
        # Pictures are taken as they are, so that the graph knows what a row of the first weight folds to.
        scores: Tensor = self.layers(x.flatten(1) if x.dim() > 2 else x)
        return scores


class TorchLearner:
    """A PyTorch network with its optimizer, as the demo's loop uses it."""

    engine = "torch"

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str,
        optimizer: str,
        lr: float,
        seed: int,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as if nothing happened
            torch.manual_seed(seed)
            self.network = Mlp(sizes, activation=activation)
        parameters = self.network.parameters()
        self._optimizer: torch.optim.Optimizer
        if optimizer == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=lr)
        elif optimizer == "rmsprop":
            self._optimizer = torch.optim.RMSprop(parameters, lr=lr)
        else:
            self._optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Train on one core: on networks of this size more cores are slower, and very slow beside a busy one."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def example(self, x: Array) -> object:
        """A batch as `run.watch` wants its inputs."""
        return (torch.from_numpy(x.copy()),)

    def examples(self, x: Array, labels: Array, shown: Array | None) -> Any:
        """Examples as `run.watch` wants them."""
        given = torch.from_numpy(x.copy())
        return (given, labels) if shown is None else (given, labels, shown)

    def learn(self, x: Array, labels: Array) -> float:
        """Take one step of training on a batch and return its loss."""
        self.network.train()
        self._optimizer.zero_grad()
        loss = cross_entropy(self.network(torch.from_numpy(x)), torch.from_numpy(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.item())

    def evaluate(self, x: Array, labels: Array) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        self.network.eval()
        with torch.no_grad():
            scores, truth = self.network(torch.from_numpy(x)), torch.from_numpy(labels)
            return float(cross_entropy(scores, truth).item()), float((scores.argmax(1) == truth).double().mean().item())
