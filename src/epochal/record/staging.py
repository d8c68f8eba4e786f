"""Memory that looks are staged in: laid out as the snapshot's file, so that writing one is a single write.

A safetensors file is 8 bytes of header length, a JSON header and the tensors' bytes without gaps. The header is padded
with spaces to a length that fits every step, so the place of each tensor is known before the step is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.probe import Activation, Bytes, Late, TensorFact

Bind = Callable[[Sequence[Bytes], Sequence[TensorFact]], object]

ALIGNMENT = 64
POOL_BYTES = 1 << 30
"""Memory for looks of a large model: three (one filled, one written, one that says how far parameters moved since)."""
SMALL_POOL_BYTES = 32 << 20
SLOTS = 512
COPIED_BYTES = 1 << 16
# How the bytes of each element type are read for statistics; of others there are none.
_READ_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class Group:
    """Tensors of one floating type that lie end to end: `tensors` are their indices in the layout's facts."""

    code: str
    start: int
    stop: int
    tensors: npt.NDArray[np.intp]
    sizes: npt.NDArray[np.intp]

    @property
    def values(self) -> int:
        """How many values the group holds."""
        return int(self.sizes.sum())

    def read(self, buffer: Bytes) -> npt.NDArray[Any]:
        """The group's values in `buffer`, as float32 or float64, without a copy where they are that already."""
        raw = buffer[self.start : self.stop].view(_READ_AS[self.code])
        if self.code == "BF16":
            return (raw.astype("<u4") << 16).view("<f4")
        return raw.astype("<f4") if self.code == "F16" else raw


class Layout:
    """Where each tensor lies in a buffer: largest element type first, so that all are aligned.

    `chosen` says which tensors statistics are made of; all are stored.
    """

    __slots__ = ("_text", "bytes", "data_start", "facts", "groups", "places")

    def __init__(self, facts: Sequence[TensorFact], *, chosen: Callable[[str], bool] = lambda _: True) -> None:
        self.facts = tuple(facts)
        if any(f.name == "__metadata__" for f in facts):
            raise UsageError("a tensor is called '__metadata__', a name that safetensors keeps for itself")
        wanted = [chosen(f.name) for f in facts]
        order = sorted(range(len(facts)), key=lambda i: (-facts[i].itemsize, facts[i].code, not wanted[i]))
        at = 0
        spans = {}
        for i in order:
            spans[i] = (at, at + facts[i].size * facts[i].itemsize)
            at = spans[i][1]
        self._text = self._json(spans)
        longest = sum(map(len, self._text)) + 80
        self.data_start = -(-(8 + longest) // ALIGNMENT) * ALIGNMENT
        self.bytes = self.data_start + at
        self.places = tuple(
            (self.data_start + a, self.data_start + b) for a, b in (spans[i] for i in range(len(facts)))
        )
        members = {code: [i for i in order if wanted[i] and facts[i].code == code] for code in _READ_AS}
        self.groups = tuple(self._group(code, tensors) for code, tensors in members.items() if tensors)

    def _group(self, code: str, members: list[int]) -> Group:
        sizes = np.array([self.facts[i].size for i in members], np.intp)
        return Group(code, self.places[members[0]][0], self.places[members[-1]][1], np.array(members, np.intp), sizes)

    def _json(self, spans: Mapping[int, tuple[int, int]]) -> tuple[bytes, bytes]:
        """What comes before and after the step and the epoch, which alone differ from snapshot to snapshot."""
        aliases = {alias: f.name for f in self.facts for alias in f.aliases if alias not in ("step", "epoch")}
        entries = {
            f.name: {"dtype": f.code, "shape": list(f.shape), "data_offsets": list(spans[i])}
            for i, f in enumerate(self.facts)
        }
        metadata, tensors = (json.dumps(d, separators=(",", ":")) for d in ({**aliases, "format": "pt"}, entries))
        after = f'"}},{tensors[1:]}' if entries else '"}}'
        return f'{{"__metadata__":{metadata[:-1]},"step":"'.encode(), after.encode()

    def fill_header(self, buffer: Bytes, step: int, epoch: float | None) -> None:
        """Write the header of a snapshot at `step` in front of the tensors."""
        before, after = self._text
        facts = str(step) if epoch is None else f'{step}","epoch":"{epoch!r}'
        room = self.data_start - 8
        head = room.to_bytes(8, "little") + (before + facts.encode() + after).ljust(room)
        buffer[: self.data_start] = np.frombuffer(head, np.uint8)

    def cut(self, buffer: Bytes) -> list[Bytes]:
        """One byte array for each tensor."""
        return [buffer[a:b] for a, b in self.places]

    def blank(self, *, clean: bool = True) -> Bytes:
        """Memory for one snapshot, all zeros unless it need not be `clean` since all of it is written each time."""
        return np.zeros(self.bytes, np.uint8) if clean else np.empty(self.bytes, np.uint8)


@dataclass(slots=True, eq=False)
class Slot:
    """Room for one look, and what the look is. `params` and `grads` are what the probe copies into."""

    layout: Layout
    grad_layout: Layout
    buffer: Bytes
    grad_buffer: Bytes
    params: object
    grads: object
    step: int = 0
    t: float = 0.0
    epoch: float | None = None
    statistics: bool = False
    snapshot: bool = False
    with_parameters: bool = True
    with_gradients: Sequence[int] = ()
    activations: Callable[[], Sequence[Activation]] = tuple
    late: Late | None = None

    def part(self) -> Slot:
        """A copy of this look with memory of its own."""
        return Slot(
            self.layout,
            self.grad_layout,
            self.buffer.copy(),
            self.grad_buffer.copy(),
            None,
            None,
            self.step,
            self.t,
            self.epoch,
            self.statistics,
            self.snapshot,
            self.with_parameters,
            self.with_gradients,
            self.activations,
            self.late,
        )


class Pool:
    """A bounded stock of slots. `take`, `settle` and `give` may be called from different threads.

    Slots of a small model are copies of one that all looks are staged in: copying a few kilobytes is cheaper than
    preparing views of many slots. Large ones are staged where they stay.
    """

    def __init__(self, layout: Layout, grad_layout: Layout, bind: Bind) -> None:
        self.layout, self.grad_layout = layout, grad_layout
        self._bind = bind
        self._free: list[Slot] = []
        self._lock = threading.Condition()
        self.made = 0
        each = max(1, layout.bytes + grad_layout.bytes)
        # At least three (one being filled, one being written, one kept to say how far parameters moved), where memory
        # allows; with fewer none is kept.
        self.limit = max(min(SLOTS, SMALL_POOL_BYTES // each), min(3, POOL_BYTES // each), 1)
        self._stage = self._make() if each <= COPIED_BYTES else None
        self.made = 0

    def take(self) -> Slot | None:
        """A slot to stage a look in, None when the writer has not given one back yet."""
        if self._stage is not None:
            return self._stage if self.made < self.limit else None
        try:
            return self._free.pop()
        except IndexError:
            return self._make() if self.made < self.limit else None

    def settle(self, slot: Slot) -> Slot:
        """The look to hand over, now that `slot` is filled."""
        if slot is not self._stage:
            return slot
        part = slot.part()
        with self._lock:
            self.made += 1
        if part.late is not None:
            part.params = self._bind(self.layout.cut(part.buffer), self.layout.facts)
            part.grads = self._bind(self.grad_layout.cut(part.grad_buffer), self.grad_layout.facts)
        return part

    @property
    def ready(self) -> bool:
        """Whether `take` would return a slot."""
        return bool(self._free) or self.made < self.limit

    def wait(self, seconds: float) -> bool:
        """Wait until `take` would return a slot; say whether that came true in time."""
        with self._lock:
            return self._lock.wait_for(lambda: self.ready, seconds)

    def give(self, slot: Slot) -> None:
        """Give a slot back."""
        slot.activations, slot.late = tuple, None
        with self._lock:
            if self._stage is None:
                self._free.append(slot)
            elif slot is not self._stage:
                self.made -= 1
            self._lock.notify_all()

    def _make(self) -> Slot:
        self.made += 1
        buffer, grads = self.layout.blank(clean=False), self.grad_layout.blank()
        params = self._bind(self.layout.cut(buffer), self.layout.facts)
        return Slot(
            self.layout,
            self.grad_layout,
            buffer,
            grads,
            params,
            self._bind(self.grad_layout.cut(grads), self.grad_layout.facts),
        )
