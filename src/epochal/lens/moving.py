"""The parameters of a network that are moved over its loss, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.layers import is_keras, named_layers
from epochal.network import Network

__all__ = ["Moved"]

Array = npt.NDArray[Any]


@final
class Moved:
    """The parameters that move: those of two or more axes."""

    def __init__(self, subject: Subject) -> None:
        module = subject.module
        own = {name: p for name, p in module.named_parameters() if p.dtype.is_floating_point}
        self.names = [name for name, p in own.items() if p.ndim > 1]
        self.still = len(own) - len(self.names)
        self.tensors = [own[name] for name in self.names]
        if not self.tensors:
            raise NetworkError("This network has no parameters of two or more axes that could be moved.")
        self._base = [p.detach().clone() for p in self.tensors]
        self._axes = [_filter_axis(subject.network, module, name, own[name]) for name in self.names]
        kinds = [type(part).__name__.lower() for part in named_layers(module).values()]
        # A recorded program has lost its classes, but not its running statistics.
        statistics = [name for name, _ in module.named_buffers() if "running_" in name]
        self.norms = any("norm" in kind for kind in kinds) or bool(statistics)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block parameters may be moved; afterwards they are as they were."""
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, base in zip(self.tensors, self._base, strict=True):
                    tensor.data.copy_(base)

    def to(self, places: Sequence[float], directions: Sequence[Sequence[Tensor]]) -> None:
        """Move to a place: the parameters and so much of each direction."""
        for i, (tensor, base) in enumerate(zip(self.tensors, self._base, strict=True)):
            moved = base.clone()
            for amount, direction in zip(places, directions, strict=True):
                moved.add_(direction[i], alpha=float(amount))
            tensor.data.copy_(moved)

    def random(self, seed: int, count: int) -> list[list[Tensor]]:
        """Random directions, each filter as long as that of the network."""
        generator = torch.Generator().manual_seed(int(seed))
        found = []
        for _ in range(count):
            drawn = []
            for base, axis in zip(self._base, self._axes, strict=True):
                noise = torch.randn(base.shape, generator=generator).to(base)
                others = [a for a in range(base.ndim) if a != axis]
                length = torch.linalg.vector_norm(noise, dim=others, keepdim=True)
                drawn.append(noise * (torch.linalg.vector_norm(base, dim=others, keepdim=True) / (length + 1e-10)))
            found.append(drawn)
        return found

    def flat(self, subject: Subject | None = None) -> Array:
        """These parameters of a network (None: of this one) in one row."""
        if subject is None:
            tensors = self._base
        else:
            own = dict(subject.module.named_parameters())
            wrong = [n for n, b in zip(self.names, self._base, strict=True) if n not in own or own[n].shape != b.shape]
            if wrong:
                raise UsageError(
                    f"The snapshots of the path do not fit the network: {wrong[0]} is not there, or of another shape.",
                    hint="Give the network of the same run: run.network(step).",
                )
            tensors = [own[name].detach() for name in self.names]
        row: Array = torch.cat([t.float().cpu().flatten() for t in tensors]).numpy()
        return row

    def split(self, row: Array) -> list[Tensor]:
        """A row as tensors like the parameters."""
        parts = torch.from_numpy(row.astype(np.float32)).split_with_sizes([b.numel() for b in self._base])
        return [part.reshape(base.shape).to(base) for part, base in zip(parts, self._base, strict=True)]


def _filter_axis(network: Any, module: nn.Module, name: str, parameter: Tensor) -> int:
    """The axis of a parameter that counts its filters or units."""
    graph = network.graph if isinstance(network, Network) else None
    for layer in () if graph is None else graph.layers:
        for known in layer.parameters:
            if known.name == name and known.shape == tuple(parameter.shape) and known.layout:
                return known.layout[0]
    if is_keras(module):
        for inner in named_layers(module).values():
            if any(getattr(weight, "value", None) is parameter for weight in getattr(inner, "weights", ())):
                return parameter.ndim - (2 if "Transpose" in type(inner).__name__ else 1)
        return parameter.ndim - 1
    owner = module.get_submodule(name.rpartition(".")[0])
    return 1 if "ConvTranspose" in type(owner).__name__ else 0
