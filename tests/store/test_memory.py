"""Freed memory stays in the process: counted in pages that the system had to bring again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
if sys.argv[1] == "held":
    from epochal.store.memory import hold_memory
    hold_memory()
for turn in range(50):
    if turn == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [np.empty(1 << 22, np.uint8) for _ in range(5)]
    for piece in pieces:
        piece[::4096] = 1
    del pieces, piece
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so eagerly")
def test_freed_memory_is_used_again() -> None:
    def pages(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert pages("held") < pages("plain") / 10
