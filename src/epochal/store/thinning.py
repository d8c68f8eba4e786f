"""Keeping the snapshots that one process writes under a bound on the disk: dense early, then ever farther apart."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Any

from epochal.store.files import write_all
from epochal.store.layout import WriterFolder

__all__ = ["Shelf", "thinned_steps", "to_let_go"]

KINDS = ("params", "grads")
Best = Callable[[], Mapping[str, int]]
"""Returns the step at which each metric was best."""


class Shelf:
    """The snapshots on the disk, and room for more. Belongs to the thread that writes them, apart from `keep`.

    `limit` is what they may take in bytes, None for all that come. `told` is called with what readers must know
    whenever snapshots were let go of: a mapping for state.json's `thinned`.
    """

    def __init__(self, folder: WriterFolder, limit: float | None, *, told: Callable[[Mapping[str, Any]], None]) -> None:
        self.limit = limit
        self.bytes = 0
        self.thinned = 0
        self._folder = folder
        self._told = told
        self._sizes: dict[int, int] = {}
        self._kept: set[int] = set()
        self._span: tuple[int, int] | None = None

    def keep(self, step: int) -> None:
        """Never let go of the snapshot at a step."""
        self._kept.add(step)

    def add(self, step: int, size: int) -> None:
        """Note that a snapshot was written, or a part of one."""
        self._sizes[step] = self._sizes.get(step, 0) + size
        self.bytes += size

    def make_room(self, step: int, size: int, *, best: Best) -> list[int]:
        """Delete snapshots until one of `size` bytes at `step` fits; return the steps of those that are gone.

        The last, the best ones and those that were asked for by name stay, also where that is too much.
        """
        self._forget(step)
        if self.limit is None or self.bytes + size <= self.limit:
            return []
        steps = sorted({*self._sizes, step})
        nearest = {min(steps, key=lambda s: abs(s - at)) for at in best().values()}
        enough = self.limit - size
        # Letting go of a few more at once keeps a run of very many small snapshots from sorting them all each time.
        spare = len(steps) // 64
        gone: list[int] = []
        for candidate in to_let_go(steps, self._kept | nearest | {step}):
            if self.bytes <= enough and len(gone) >= spare:
                break
            if self._delete(candidate):
                gone.append(candidate)
        if gone:
            self._note(gone)
        return gone

    def _forget(self, step: int) -> None:
        """A snapshot of the same step is about to be replaced."""
        self.bytes -= self._sizes.pop(step, 0)

    def _delete(self, step: int) -> bool:
        for kind in KINDS:
            try:
                os.unlink(self._folder.snapshot(kind, step))  # noqa: PTH108 - in a loop over thousands
            except FileNotFoundError:
                continue
            except OSError:  # read-only by now, or held open where that locks a file: it stays
                return False
        self._forget(step)
        return True

    def _note(self, gone: list[int]) -> None:
        self.thinned += len(gone)
        first, last = self._span or (gone[0], gone[0])
        self._span = min(first, *gone), max(last, *gone)
        with contextlib.suppress(OSError):  # the number of them is told all the same
            fd = os.open(self._folder.thinned, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, "".join(f"{step}\n" for step in gone).encode())
            finally:
                os.close(fd)
        self._told({"count": self.thinned, "limit": self.limit, "first": self._span[0], "last": self._span[1]})


def to_let_go(steps: Sequence[int], fixed: Collection[int]) -> Iterator[int]:
    """Yield steps (growing) in the order in which they may go: each leaves the smallest hole on a logarithmic scale.

    So what is left lies ever more evenly over the logarithm of the steps, which is densely at the beginning. The last
    and `fixed` ones stay; the first goes only when all between are gone.
    """
    if len(steps) < 2:
        return
    unit = max(1, min(b - a for a, b in pairwise(steps)))
    place = [log((step - steps[0]) / unit + 1) for step in steps]
    before, after = list(range(-1, len(steps) - 1)), list(range(1, len(steps) + 1))
    there = [True] * len(steps)
    free = [k for k in range(1, len(steps) - 1) if steps[k] not in fixed]
    heap = [(place[k + 1] - place[k - 1], k) for k in free]
    heapq.heapify(heap)
    movable = set(free)
    while heap:
        hole, k = heapq.heappop(heap)
        if not there[k] or hole < place[after[k]] - place[before[k]]:
            continue  # a neighbour went since: the entry with the larger hole comes later
        there[k] = False
        left, right = before[k], after[k]
        after[left], before[right] = right, left
        for neighbour in (left, right):
            if neighbour in movable:
                heapq.heappush(heap, (place[after[neighbour]] - place[before[neighbour]], neighbour))
        yield steps[k]
    if steps[0] not in fixed:
        yield steps[0]


def thinned_steps(folder: WriterFolder) -> list[int]:
    """Return the steps whose snapshots a writer let go of, in the order in which they went."""
    try:
        return [int(line) for line in folder.thinned.read_bytes().split(b"\n")[:-1] if line.isdigit()]
    except OSError:
        return []
