"""Memory that stays in the process between two forwards."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["hold_memory"]

_MOST_HELD = 31 << 20


@cache
def hold_memory() -> None:
    """From now on the C library keeps up to twice 31 MB of freed memory, once in a process.

    What layers put out for a batch is some megabytes. By itself glibc gives them back to the system after each forward
    and asks for them again in the next, page by page, which took up to half of the time of a small network. Freeing one
    large piece raises its threshold (mallopt(3), M_MMAP_THRESHOLD: up to 32 MB, it follows what is freed); the piece
    itself is never touched and costs nothing. Other C libraries lose nothing by it.
    """
    torch.empty(_MOST_HELD, dtype=torch.uint8)
