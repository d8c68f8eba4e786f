"""The processes of a PyTorch training: who they are, and a place where they can leave word for each other.

Word goes through the store that they met in, not by a collective call: a broadcast would hang, or take the place of
the training's own next one, as soon as one process does not take part.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch.distributed as dist

from epochal.record.ranks import machine

__all__ = ["TorchGroup", "group"]


def group() -> TorchGroup | None:
    """The default process group, None where none was made in this process."""
    if not dist.is_available() or not dist.is_initialized():
        return None
    return TorchGroup(dist.get_rank(), dist.get_world_size(), _store())


def _store() -> Any:
    """The store of the default group; None where there is none, as with the MPI backend."""
    with contextlib.suppress(AttributeError, RuntimeError, ValueError, KeyError):
        return dist.distributed_c10d._get_default_store()
    return None


class TorchGroup:
    """The default process group."""

    def __init__(self, rank: int, world_size: int, store: Any) -> None:
        self.rank, self.world_size = rank, world_size
        self._store = store
        self._machine = machine()
        self.post(f"epochal/machine/{rank}", self._machine)

    def post(self, key: str, text: str) -> None:
        """Leave a text in the group's store; where there is none or it is gone, nobody reads it there."""
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                self._store.set(key, text)

    def local_rank(self) -> int:
        """How many of the lower ranks on this machine have asked for the group so far."""
        return sum(self.read(f"epochal/machine/{rank}") == self._machine for rank in range(self.rank))

    def read(self, key: str) -> str | None:
        """The text of a key, None while nobody left one."""
        if self._store is None:
            return None
        try:
            return self._store.get(key).decode() if self._store.check([key]) else None
        except (RuntimeError, NotImplementedError):  # the process that kept the store is gone, or it cannot be asked
            return None
