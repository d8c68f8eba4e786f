"""From an accelerator to the writer's thread, without making the training wait for the device.

A copy to pinned memory is put on a stream of its own, behind all that the training's stream has been given so far, and
after it a copy of the number 1 to a place that held 0. Copies of one stream end in order, so a 1 says that the rest is
there. The writer's thread waits by reading that place: it calls nothing of the device, because a call from another
thread would spoil a CUDA graph that the training captures at that moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from epochal.errors import StoreError
from epochal.record.probe import Late

PATIENCE_SECONDS = 120.0
"""How long the writer's thread waits for a device before it gives a copy up."""
RING_SLOTS = 3
RING_BYTES = 1 << 30
"""Pinned memory for looks of one large model that are under way: three, or as many as fit, but always one."""
SMALL_RING_SLOTS = 512
SMALL_RING_BYTES = 32 << 20
"""Of a small model more looks fit, as many as this."""
DEVICE_BYTES = 1 << 30
"""Memory of the device for one copy of the model's parameters and gradients; never more than an eighth of what is
free. What does not fit is copied to the host on the training's own stream, which then waits for the bus."""
_ALIGNMENT = 64

Pairs = Sequence[tuple[torch.Tensor, torch.Tensor]]


class Arrival:
    """A copy under way."""

    __slots__ = ("_flag", "_kept")

    def __init__(self, flag: torch.Tensor, kept: Any) -> None:
        self._flag = flag.numpy()
        self._kept = kept  # what the copy reads must stay until it has

    @property
    def done(self) -> bool:
        """Whether all of it is there."""
        if not self._flag[0]:
            return False
        self._kept = None
        return True

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is there. Raises StoreError when that takes too long."""
        timeout = PATIENCE_SECONDS if timeout is None else timeout
        pause, deadline = 0.0002, time.monotonic() + timeout
        while not self.done:
            if time.monotonic() > deadline:
                raise StoreError(f"the device has not handed over its values in {timeout:g} seconds")
            time.sleep(pause)
            pause = min(0.005, 1.5 * pause)


class Carrier:
    """Carries tensors of one device to the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        api = torch.get_device_module(device)
        self._api: Any = api
        self._streams = hasattr(api, "Stream") and hasattr(api, "current_stream")
        self._pins = self._streams and device.type != "cpu"
        self._one = torch.ones(1, dtype=torch.int64, device=device)
        if self._streams:
            self._side = api.Stream(device=device) if self._pins else api.Stream()
            self._side.wait_stream(api.current_stream(device))

    def memory(self, size: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        """Memory of the host that the device can write to by itself."""
        return torch.empty(size, dtype=dtype, pin_memory=self._pins)

    def send(self, pairs: Pairs, *, aside: bool = True) -> Arrival:
        """Copy each pair's second tensor into its first, in order with the current stream's work.

        With `aside` on a stream of its own: the second tensors must not change any more then.
        """
        flag = self.memory(1, torch.int64)
        flag.zero_()
        if not self._streams:
            for host, there in pairs:
                host.copy_(there)
            flag.fill_(1)
            return Arrival(flag, None)
        if not aside:
            self._copy(pairs)
        self._side.wait_stream(self._api.current_stream(self.device))
        with self._api.stream(self._side):
            if aside:
                self._copy(pairs)
            flag.copy_(self._one, non_blocking=True)
        if self._pins and aside:
            for _, there in pairs:
                there.record_stream(self._side)
        return Arrival(flag, (flag, pairs))

    def await_last(self) -> None:
        """Let what the current stream is given from now on wait, on the device, until what was sent has left it."""
        if self._streams:
            self._api.current_stream(self.device).wait_stream(self._side)

    def _copy(self, pairs: Pairs) -> None:
        for host, there in pairs:
            host.copy_(there, non_blocking=True)

    def room(self) -> int:
        """Bytes of the device that a copy of the model may take."""
        try:
            free, _ = self._api.mem_get_info(self.device)
            free += self._api.memory_reserved(self.device) - self._api.memory_allocated(self.device)
        except (AttributeError, RuntimeError):
            return DEVICE_BYTES
        return min(DEVICE_BYTES, int(free) // 8)


_carriers: dict[torch.device, Carrier] = {}
_lock = threading.Lock()


def carrier(device: torch.device) -> Carrier:
    """The carrier of a device, made when first asked for."""
    with _lock:
        found = _carriers.get(device)
        if found is None:
            found = _carriers[device] = Carrier(device)
        return found


def carried(tensor: torch.Tensor) -> bool:
    """Whether a tensor's values have to be carried to be read."""
    return not tensor.is_cpu


class Delivery:
    """A few small tensors on their way to the host."""

    __slots__ = ("_arrivals", "_sizes", "_tensors", "_under_way")

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._tensors: list[torch.Tensor | None] = [None if carried(t) else t for t in tensors]
        self._under_way: list[tuple[list[int], torch.Tensor]] = []
        self._arrivals: list[Arrival] = []
        self._sizes: list[torch.Size] = []
        if any(t is None for t in self._tensors):
            self._send(tensors)

    def _send(self, tensors: list[torch.Tensor]) -> None:
        self._sizes = [t.shape for t in tensors]
        groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for i, tensor in enumerate(tensors):
            if self._tensors[i] is None:
                groups.setdefault((tensor.device, tensor.dtype), []).append(i)
        by_device: dict[torch.device, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for (device, dtype), members in groups.items():
            flat = torch.cat([tensors[i].reshape(-1) for i in members])
            host = carrier(device).memory(flat.numel(), dtype)
            by_device.setdefault(device, []).append((host, flat))
            self._under_way.append((members, host))
        for device, pairs in by_device.items():
            self._arrivals.append(carrier(device).send(pairs))

    @property
    def done(self) -> bool:
        """Whether all are there."""
        return all(arrival.done for arrival in self._arrivals)

    def read(self) -> list[torch.Tensor]:
        """The tensors, on the CPU, in the order given. Waits for the device; raises StoreError when it takes long."""
        for arrival in self._arrivals:
            arrival.wait()
        for members, host in self._under_way:
            parts = torch.split(host, [self._sizes[i].numel() for i in members])
            for i, part in zip(members, parts, strict=True):
                self._tensors[i] = part.view(self._sizes[i])
        return [t for t in self._tensors if t is not None]


def deliver(tensors: list[torch.Tensor]) -> Delivery:
    """Begin to carry small tensors to the host; those that are there are handed through."""
    return Delivery(tensors)


class _Slot:
    """Pinned memory for one look, cut into tensors."""

    __slots__ = ("arrivals", "flat", "owner", "views")

    def __init__(self, flat: torch.Tensor, views: list[torch.Tensor]) -> None:
        self.flat, self.views = flat, views
        self.arrivals: list[Arrival] = []
        self.owner = 0
        """Number of the look that it is lent to, 0 when it is free."""


class _OnTheWay:
    """One look's tensors between the device and the slot of the writer: called there, on the writer's thread."""

    def __init__(self, slot: _Slot, wanted: list[int]) -> None:
        self._slot, self._wanted, self._owner = slot, wanted, slot.owner

    def __call__(self, into: object, gradients_into: object) -> None:
        for arrival in self._slot.arrivals:
            arrival.wait()
        places: list[torch.Tensor] = [*into, *(gradients_into or ())]  # type: ignore[misc]
        with torch.no_grad():
            torch._foreach_copy_([places[i] for i in self._wanted], [self._slot.views[i] for i in self._wanted])
        self._release()

    def _release(self) -> None:
        if self._slot.owner == self._owner:
            self._slot.owner = 0

    def __del__(self) -> None:
        self._release()  # also where the look was dropped unread


class Ring:
    """The way of one model's parameters and gradients from its device: a copy there, pinned slots here.

    Tensors are numbered: the parameters first, then a gradient for each trainable one. A tensor is copied on the
    device before `send` returns, as far as the current stream is concerned: the optimizer may change it then.
    """

    def __init__(self, likes: Sequence[tuple[torch.Size, torch.dtype]]) -> None:
        self._likes = likes
        self._starts, self._ends = [], []
        at = 0
        for shape, dtype in likes:
            self._starts.append(at)
            self._ends.append(at + shape.numel() * dtype.itemsize)
            at = -(-self._ends[-1] // _ALIGNMENT) * _ALIGNMENT
        self.bytes = max(1, at)
        self._limit = max(
            1, min(RING_SLOTS, RING_BYTES // self.bytes), min(SMALL_RING_SLOTS, SMALL_RING_BYTES // self.bytes)
        )
        self._slots: list[_Slot] = []
        self._sent = 0
        # For each device its copy, None where that takes too much of its memory.
        self._copies: dict[torch.device, tuple[torch.Tensor, list[torch.Tensor]] | None] = {}

    def send(
        self, wanted: Sequence[int], tensors: Sequence[torch.Tensor], scaled: int, factor: torch.Tensor | None
    ) -> Late:
        """Begin to carry tensors to the host. The answer puts them into their places, on the writer's thread.

        The last `scaled` of them are multiplied by `factor`. Where no slot is free the look is lost, and the answer
        raises StoreError.
        """
        slot = self._free(tensors[0].device)
        if slot is None:
            return partial(_refuse, "looks made before were still on their way from the device")
        self._sent += 1
        slot.owner, slot.arrivals = self._sent, []
        way = _OnTheWay(slot, list(wanted))
        devices: dict[torch.device, list[int]] = {}
        for k, tensor in enumerate(tensors):
            devices.setdefault(tensor.device, []).append(k)
        first_scaled = len(tensors) - scaled if factor is not None else len(tensors)
        for device, members in devices.items():
            numbers = [wanted[k] for k in members]
            sources = [tensors[k] for k in members]
            few = sum(k >= first_scaled for k in members)
            by = None if factor is None or not few else factor.to(device, non_blocking=True)
            slot.arrivals.append(self._send_from(device, slot, numbers, sources, few, by))
        return way

    def _send_from(
        self,
        device: torch.device,
        slot: _Slot,
        numbers: list[int],
        sources: list[torch.Tensor],
        scaled: int,
        factor: torch.Tensor | None,
    ) -> Arrival:
        if device not in self._copies:
            self._copies[device] = self._copy_on(device)
        copy = self._copies[device]
        if copy is None:
            if factor is not None:
                sources = sources[:-scaled] + [s * factor.to(s.dtype) for s in sources[-scaled:]]
            pairs = [(slot.views[i], source) for i, source in zip(numbers, sources, strict=True)]
            return carrier(device).send(pairs, aside=False)
        flat, views = copy
        carrier(device).await_last()
        with torch.no_grad():
            torch._foreach_copy_([views[i] for i in numbers], sources)
            if factor is not None:
                torch._foreach_mul_([views[i] for i in numbers[-scaled:]], factor)
        runs = [(self._starts[a], self._ends[b]) for a, b in _runs(numbers)]
        return carrier(device).send([(slot.flat[a:b], flat[a:b]) for a, b in runs])

    def _copy_on(self, device: torch.device) -> tuple[torch.Tensor, list[torch.Tensor]] | None:
        if self.bytes > carrier(device).room():
            return None
        try:
            flat = torch.empty(self.bytes, dtype=torch.uint8, device=device)
        except RuntimeError:  # out of memory
            return None
        return flat, self._cut(flat)

    def _free(self, device: torch.device) -> _Slot | None:
        for slot in self._slots:
            if not slot.owner and all(arrival.done for arrival in slot.arrivals):
                return slot
        if len(self._slots) >= self._limit:
            return None
        try:
            flat = carrier(device).memory(self.bytes)
        except RuntimeError:  # no memory to pin
            self._limit = len(self._slots)
            return None
        self._slots.append(_Slot(flat, self._cut(flat)))
        return self._slots[-1]

    def _cut(self, flat: torch.Tensor) -> list[torch.Tensor]:
        spans = zip(self._likes, self._starts, self._ends, strict=True)
        return [flat[a:b].view(dtype).view(shape) for (shape, dtype), a, b in spans]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    found: list[tuple[int, int]] = []
    for n in numbers:
        if found and n == found[-1][1] + 1:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return found


def _refuse(message: str, into: object, gradients_into: object) -> None:
    raise StoreError(message)
