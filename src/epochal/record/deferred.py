"""Numbers that lie on an accelerator: reading one at once would make the training wait for all work before it.

They are copied on the device, which costs a few microseconds and keeps them from later changes, and brought to the host
together, several times a second. They are recorded with the step and time of their log call, by the writer's thread.
What is under way when the process is killed is lost; `run.finish()` and the end of the process wait for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, Protocol

from epochal.errors import StoreError

PERIOD_SECONDS = 0.25
MOST = 512
"""So many log calls are gathered at most."""
PATIENCE_SECONDS = 150.0
_NEAR = frozenset({"cpu", "meta"})
"""Devices whose values are read at once, or never."""

Call = tuple[tuple[str, ...], int, float]
"""Names, step and time of the numbers of one log call."""
Append = Callable[[Mapping[str, float], int, float], None]
"""Takes the numbers of one log call, with its step and time."""


class Delivery(Protocol):
    """Numbers on their way from a device."""

    def read(self) -> list[list[float]]:
        """The numbers of each call in the order given; waits for the device. Raises StoreError when that takes long."""
        ...


class Port(Protocol):
    """What the adapter of a framework does for numbers of its devices (`frameworks/*_deferred.py`)."""

    def hold(self, tensors: Sequence[Any]) -> object:
        """Copy one-element tensors on their devices, in order with the current work there."""
        ...

    def send(self, held: Sequence[Any]) -> Delivery:
        """Begin to bring to the host what was held, without waiting for it."""
        ...


def is_far(value: object) -> bool:
    """Whether a value is one real number in a tensor that lies on an accelerator."""
    device = getattr(value, "device", None)
    kind = getattr(device, "type", None) or getattr(device, "platform", None)
    return kind is not None and kind not in _NEAR and library_of(value) != ""


def library_of(value: object) -> str:
    """`torch` or `jax` where a value is one real number in an array of theirs, else nothing."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "torch" if value.numel() == 1 and not value.is_complex() else ""
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array):
        dtype = str(value.dtype)
        return "jax" if value.size == 1 and not dtype.startswith(("complex", "key<")) else ""
    return ""


def _port(library: str) -> Port:
    from importlib import import_module

    found: Port = import_module(f"epochal.frameworks.{library}_deferred")
    return found


class Deferred:
    """The numbers of one run that are under way. May be called from any thread.

    `append` records those of one log call; it is asked for late, because rules may come to stand before it.
    """

    def __init__(
        self,
        append: Callable[[], Append | None],
        submit: Callable[[Callable[[], object]], None],
        lost: Callable[[int, str], object],
    ) -> None:
        self._append, self._submit, self._lost = append, submit, lost
        self._ports: dict[str, Port] = {}
        self._lock = threading.RLock()
        self._idle = threading.Condition()
        self._gathered: dict[str, list[tuple[tuple[str, ...], int, float, object]]] = {}
        self._sent_at = 0.0
        self._under_way = 0
        self._over = False

    def put(self, tensors: Mapping[str, Any], step: int, t: float) -> None:
        """Take the numbers of one log call."""
        parts: dict[str, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            parts.setdefault(library_of(tensor), {})[name] = tensor
        with self._lock:
            for library, part in parts.items():
                if library not in self._ports:
                    self._ports[library] = _port(library)
                held = self._ports[library].hold(list(part.values()))
                self._gathered.setdefault(library, []).append((tuple(part), step, t, held))
            count = max(map(len, self._gathered.values()), default=0)
            if count >= MOST or monotonic() - self._sent_at >= PERIOD_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Send for all that was gathered."""
        with self._lock:
            gathered, self._gathered = self._gathered, {}
            self._sent_at = monotonic()
            for library, held in gathered.items():
                calls = [call[:3] for call in held]
                sent: list[Delivery] = []
                with self._counting(calls):
                    sent.append(self._ports[library].send([tensors for *_, tensors in held]))
                for delivery in sent:
                    with self._idle:
                        self._under_way += _count(calls)
                    self._submit(partial(self._record, delivery, calls))

    def settle(self) -> None:
        """Send for the rest and wait until all is recorded."""
        self.flush()
        with self._idle:
            self._idle.wait_for(lambda: self._over or not self._under_way, PATIENCE_SECONDS)

    def finish(self) -> None:
        """Wait until all is recorded, and count what does not come."""
        self.settle()
        with self._idle:
            self._over = True
            missing = self._under_way
        if missing:
            self._lost(missing, f"they had not come from the device after {PATIENCE_SECONDS:.0f} seconds")

    def _record(self, delivery: Delivery, calls: list[Call]) -> None:
        """Write down what has come. Runs on the writer's thread."""
        whole: list[tuple[Call, Append, dict[str, float]]] = []
        try:
            with self._counting(calls):
                values = delivery.read()
                append = self._append()
                if self._over:
                    return  # they are counted
                if append is None:
                    raise StoreError("the run ended before they came")
                whole = [(c, append, dict(zip(c[0], row, strict=True))) for c, row in zip(calls, values, strict=True)]
            for call, write, numbers in whole:
                with self._counting([call]):
                    write(numbers, *call[1:])
        finally:
            with self._idle:
                self._under_way -= _count(calls)
                self._idle.notify_all()

    @contextmanager
    def _counting(self, calls: Sequence[Call]) -> Iterator[None]:
        """What is done with the numbers of some log calls: where it fails, they are lost."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - of the framework, or of who overhears
            message = error.message if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            self._lost(_count(calls), message)


def _count(calls: Sequence[Call]) -> int:
    return sum(len(names) for names, *_ in calls)
