"""How many processors the lens may take."""

from __future__ import annotations

import torch

__all__ = ["limit_threads"]


def limit_threads(count: int) -> None:
    """From now on PyTorch calculates on `count` threads in this process."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
