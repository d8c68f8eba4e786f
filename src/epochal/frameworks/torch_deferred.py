"""Numbers in tensors on an accelerator, brought to the host without making the training wait (`record/deferred.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from epochal.frameworks import torch_device


class _Delivery:
    """Several log calls' numbers on their way."""

    def __init__(self, held: Sequence[list[torch.Tensor]]) -> None:
        self._counts = [len(tensors) for tensors in held]
        self._delivery = torch_device.Delivery([t for tensors in held for t in tensors])

    def read(self) -> list[list[float]]:
        """The numbers of each call."""
        tensors = iter(self._delivery.read())
        # A call of one kind was stacked: one tensor holds all of its numbers.
        return [[float(v) for _ in range(n) for v in next(tensors).reshape(-1).tolist()] for n in self._counts]


def hold(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of one-element tensors where they lie: one tensor of all where they are of one kind."""
    with torch.no_grad():
        flat = [t.detach().reshape(()) for t in tensors]
        first = flat[0]
        if len(flat) == 1:
            return [first.clone()]
        if all(t.dtype == first.dtype and t.device == first.device for t in flat):
            return [torch.stack(flat)]
        return [t.clone() for t in flat]


def send(held: Sequence[list[torch.Tensor]]) -> _Delivery:
    """Begin to bring copies to the host, those of one kind together."""
    return _Delivery(held)
