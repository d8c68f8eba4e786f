"""What the machine does while it trains: processors, memory, disk, network, GPUs, each some seconds, from a thread.

psutil and pynvml are imported in that thread only. Series are called `system/...`; units are in
`facts.SYSTEM_SERIES`. Of several processes on one machine, the first (LOCAL_RANK 0) tells of the machine, the others
of themselves.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import Any

from epochal.facts import SYSTEM_PREFIX, system_series
from epochal.record.system_gpu import gpu_sources
from epochal.store import RunWriter

PERIOD_SECS = 10.0
SHORTEST_SECS = 0.1
FIRST_SECS = 1.0
"""The first sample comes then; a run that ends before it has none: there would be nothing to see."""
LAST_SECS = 0.5
"""The last sample, at the end of the run, must be so long after the one before."""
JOIN_SECS = 5.0
TROUBLES = 3
"""A source that failed so often in a row is not asked again."""

Source = Callable[[], dict[str, float]]


class System:
    """Samples the machine from its making to `close`.

    `step()` says the step that the run is at; it raises ReferenceError when nobody holds the run any more.
    """

    def __init__(
        self,
        writer: RunWriter,
        step: Callable[[], int | None],
        *,
        period_secs: float = PERIOD_SECS,
        machine: bool = True,
    ) -> None:
        self._writer = writer
        self._step = step
        self._period = period_secs
        self._machine = machine
        self._ending = threading.Event()
        self._defined: set[str] = set()
        self._troubles: dict[str, int] = {}
        self._thread = threading.Thread(target=self._loop, name="epochal-system", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the last sample and stop."""
        self._ending.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECS)

    def _loop(self) -> None:
        try:
            # psutil takes tens of milliseconds to import: not while the training begins, and not for a short one.
            first = min(FIRST_SECS, self._period)
            if self._ending.wait(first / 2):
                return
            sources = make_sources(str(self._writer.folder), machine=self._machine)
            for source in sources.values():  # rates are since the call before
                with contextlib.suppress(Exception):
                    source()
            due, last = monotonic() + first / 2, None
            while True:
                ending = self._ending.wait(max(0.0, due - monotonic()))
                now = monotonic()
                if ending and (last is None or now - last < LAST_SECS):
                    return
                self._sample(sources)
                if ending:
                    return
                # After a pause of the whole machine there is one sample, not one for each that was missed.
                last, due = now, due + self._period * (1 + (now - due) // self._period)
        except ReferenceError:
            return  # the program let go of its run
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the training must not hear of it
            self._writer.drop("system", 1, f"the machine's numbers are not recorded: {type(error).__name__}: {error}")

    def _sample(self, sources: dict[str, Source]) -> None:
        found: dict[str, float] = {}
        for name, source in list(sources.items()):
            try:
                found.update(source())
                self._troubles[name] = 0
            except Exception as error:  # noqa: BLE001 - one source may fail where others do not
                self._troubles[name] = self._troubles.get(name, 0) + 1
                if self._troubles[name] == TROUBLES:
                    del sources[name]
                    message = f"system/{name} is not recorded any more: {type(error).__name__}: {error}"
                    self._writer.drop("system", TROUBLES, message)
        step = self._step()
        numbers = {SYSTEM_PREFIX + name: float(value) for name, value in found.items()}
        for name in numbers.keys() - self._defined:
            self._defined.add(name)
            if (facts := system_series(name)) is not None and facts.better is not None:
                self._writer.define(name, better=facts.better)
        self._writer.append_many(numbers, max(step or 0, 0), time())


def make_sources(folder: str, *, machine: bool = True) -> dict[str, Source]:
    """What can be sampled here, by name; each call gives numbers by the name of their series after `system/`."""
    import psutil

    process = psutil.Process()

    def own() -> dict[str, float]:
        with process.oneshot():
            return {"process_cpu": process.cpu_percent(None), "process_memory": process.memory_info().rss / 1e6}

    sources: dict[str, Source] = {"process": own}
    if machine:
        sources["cpu"] = lambda: {"cpu": psutil.cpu_percent(None)}
        sources["memory"] = lambda: {"memory": psutil.virtual_memory().percent}
        sources["disk_free"] = lambda: {"disk_free": psutil.disk_usage(folder).free / 1e9}
        sources["disk"] = rates(psutil.disk_io_counters, {"disk_read": "read_bytes", "disk_write": "write_bytes"})
        sources["net"] = rates(psutil.net_io_counters, {"net_sent": "bytes_sent", "net_received": "bytes_recv"})
    return {**sources, **gpu_sources(os.getpid(), machine=machine)}


def rates(count: Callable[[], Any], fields: Mapping[str, str], *, clock: Callable[[], float] = monotonic) -> Source:
    """Megabytes a second since the call before, from counters of bytes; nothing where the system has no such counters.

    A counter that went back was set to zero meanwhile: that stretch is left out.
    """
    before: dict[str, int] = {}
    then = clock()

    def take() -> dict[str, float]:
        nonlocal then
        counters, now = count(), clock()
        found: dict[str, float] = {}
        for name, field in fields.items() if counters is not None else ():
            value = getattr(counters, field)
            if name in before and value >= before[name] and now > then:
                found[name] = (value - before[name]) / (now - then) / 1e6
            before[name] = value
        then = now
        return found

    return take
