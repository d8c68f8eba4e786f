"""Memory that stays in the process between two steps."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["hold_memory"]

_LARGEST = 31 << 20


@cache
def hold_memory() -> None:
    """From now on the C library keeps up to 62 MB of freed memory, once in a process; nothing is written to it.

    What layers put out for a batch is some megabytes, freed after each step. By itself glibc gives them back to the
    system and asks for them again in the next, page by page. Whether it does hangs by which other memory lies behind
    them, so that a few small pieces of a recorder can cost a training 5 %, and the lens half of its time. glibc
    learns from what is freed (mallopt(3), M_MMAP_THRESHOLD: pieces up to 32 MB, and it keeps twice that), which one
    large piece teaches it. Where the user has set these bounds, or has another C library, nothing changes.
    """
    np.empty(_LARGEST, np.uint8)
