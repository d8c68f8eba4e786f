"""Trials in processes of this machine: cores divided among them, memory watched, deaths told of."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import site
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from epochal.errors import UsageError
from epochal.facts.lab import TrialState
from epochal.lab.metrics import metrics_of
from epochal.lab.runner import Ended, Task
from epochal.lab.words import in_words
from epochal.store import RunFolder
from epochal.store.labs import take_outcome

__all__ = ["LocalRunner"]

TAIL_BYTES = 16_000
LOOK_SECS = 0.5
CLOSE_SECS = 3.0
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")
LEAST_FREE = 0.03
"""Where less than this share of the memory is left, the largest trial is ended, before the kernel ends any process."""


class LocalRunner:
    """Runs up to `jobs` trials at once, each with cores of its own: `cpus` of them, or an equal part of all.

    `memory` is what a trial may use, in bytes; without it trials may use what there is.
    """

    def __init__(self, *, jobs: int = 1, cpus: int | None = None, memory: int | None = None, gpus: float = 0.0) -> None:
        if jobs < 1:
            raise UsageError(f"jobs is {jobs}, expected 1 or more")
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        count = len(cores) or os.cpu_count() or 1
        self.threads = cpus or max(1, count // jobs)
        self._memory = memory
        self._messages: queue.SimpleQueue[tuple[_Seat, str, int]] = queue.SimpleQueue()
        self._places = [_cores(cores, index, jobs, self.threads) for index in range(jobs)]
        self._devices = _devices() if gpus or jobs > 1 else []
        self._seats: list[_Seat | None] = [None] * jobs
        self._kills = _oom_kills()
        self._looked = 0.0
        self._warm = ""

    @property
    def slots(self) -> int:
        """How many trials can run at once."""
        return len(self._seats)

    def start(self, task: Task) -> None:
        """Begin an attempt at a free seat."""
        index = next(i for i, seat in enumerate(self._seats) if seat is None or seat.task is None)
        if task.train is None:
            self._warm = "torch"
        seat = self._seats[index]
        if seat is None or not seat.alive:
            if seat is not None:
                seat.close()
            environment = {f"{name}_NUM_THREADS": str(self.threads) for name in _THREADS} | {"PYTHONHASHSEED": "0"}
            if self._devices:
                environment["CUDA_VISIBLE_DEVICES"] = self._devices[index % len(self._devices)]
            seat = self._seats[index] = _Seat(self._places[index], self._warm, environment, self._messages)
        seat.begin(replace(task, threads=self.threads, memory=task.memory or self._memory))

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended; waits up to so many seconds for something to end."""
        deadline = time.monotonic() + seconds
        found: list[Ended] = []
        while True:
            self._watch_memory()
            left = 0.0 if found else deadline - time.monotonic()
            try:
                seat, kind, value = self._messages.get(timeout=max(0.0, min(left, LOOK_SECS)))
            except queue.Empty:
                if left <= 0:
                    return found
                continue
            if kind == "pid":
                seat.pid = value
            elif seat.task is not None:
                found.append(self._ended(seat, value))

    def kill(self, number: int) -> None:
        """End the attempt at a trial at once."""
        for seat in self._seats:
            if seat is not None and seat.task is not None and seat.task.trial.number == number:
                seat.end("it was ended")

    def close(self) -> None:
        """End what still runs, and the seats."""
        for seat in self._seats:
            if seat is not None:
                seat.close()
        self._seats = [None] * len(self._seats)

    def _ended(self, seat: _Seat, code: int) -> Ended:
        task, seat.task = seat.task, None
        assert task is not None  # noqa: S101 - the caller has looked
        state = take_outcome(task.lab_path, task.trial, task.attempt)
        if state is not None:
            return Ended(state=state)
        run = RunFolder.of(Path(task.root), task.project, task.run_id)
        there = run.run_json.is_file()
        state = TrialState(
            trial=task.trial,
            status="failed",
            run=task.run_id if there else None,
            attempt=task.attempt,
            error=self._why(seat, code),
            traceback=seat.tail() or None,
            seconds=time.monotonic() - seat.began,
            metrics=metrics_of(run.path, objective=task.objective) if there else {},
            resumable=True,
        )
        return Ended(state=state)

    def _why(self, seat: _Seat, code: int) -> str:
        """What ended a process that left no word."""
        used = f"; it used {in_words(seat.used)} of memory when last seen" if seat.used else ""
        kills, self._kills = self._kills, _oom_kills()
        if seat.ended_for:
            return f"the process of the trial was ended: {seat.ended_for}"
        if code >= 0:
            return f"the process of the trial ended by itself with exit code {code} before the training was done{used}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        if -code == signal.SIGKILL and self._kills > kills:
            return f"the process of the trial was killed by the system for lack of memory (SIGKILL){used}"
        return f"the process of the trial was killed by signal {-code} ({name}){used}"

    def _watch_memory(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECS:
            return
        self._looked = now
        busy = [seat for seat in self._seats if seat is not None and seat.task is not None and seat.pid]
        for seat in busy:
            seat.look()
            bound = seat.task.memory if seat.task is not None else None
            if bound and seat.used > bound:
                seat.end(f"it used {in_words(seat.used)} of memory, more than the {in_words(bound)} it may")
        free, total = _memory()
        largest = max(busy, key=lambda seat: seat.used, default=None)
        if largest is not None and free < LEAST_FREE * total and largest.used > LEAST_FREE * total:
            largest.end(
                f"it used {in_words(largest.used)} of memory, and of the machine's {in_words(total)} "
                f"only {in_words(free)} were left"
            )


class _Seat:
    """A process that runs one trial after the other, each in a fork of itself."""

    def __init__(
        self,
        cores: Sequence[int],
        warm: str,
        environment: Mapping[str, str],
        messages: queue.SimpleQueue[tuple[_Seat, str, int]],
    ) -> None:
        self.task: Task | None = None
        self.pid = 0
        self.used = 0
        self.ended_for = ""
        self.began = 0.0
        self._messages = messages
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own Python
            [sys.executable, "-P", "-m", "epochal.lab.seat", ",".join(map(str, cores)), warm],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_python_path(), **environment},
            start_new_session=True,
        )
        for work in (self._read_answers, self._read_output):
            threading.Thread(target=work, name="epochal-lab-seat", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process can take another task."""
        return self._process.poll() is None

    def begin(self, task: Task) -> None:
        """Give it a task; where it is dying, its end is told as the task's."""
        self.task, self.pid, self.used, self.ended_for, self.began = task, 0, 0, "", time.monotonic()
        with self._lock:
            self._tail.clear()
            self._tail_bytes = 0
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(task.to_json().encode("ascii") + b"\n")
            self._process.stdin.flush()

    def look(self) -> None:
        """See how much memory the trial uses, with what it has started."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            used = process.memory_info().rss
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    used += child.memory_info().rss
            self.used = used

    def end(self, why: str) -> None:
        """Kill the trial and what it has started."""
        self.ended_for = self.ended_for or why
        if not self.pid:  # not begun yet: the seat goes with it
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def tail(self) -> str:
        """The end of what the trial printed."""
        # What was printed last may still be in the pipe.
        time.sleep(0.05)
        with self._lock:
            return b"".join(self._tail)[-TAIL_BYTES:].decode("utf-8", "replace")

    def close(self) -> None:
        """End it, and what it runs."""
        if self.task is not None:
            self.end("the lab ended")
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_answers(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        with self._process.stdout as answers:
            for line in answers:
                facts: dict[str, Any] = json.loads(line)
                for kind, value in facts.items():
                    self._messages.put((self, kind, value))
        self._messages.put((self, "gone", self._process.wait()))

    def _read_output(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with self._process.stderr as output:
            while chunk := output.read1(1 << 16):  # type: ignore[attr-defined]
                with self._lock:
                    self._tail.append(chunk)
                    self._tail_bytes += len(chunk)
                    while self._tail_bytes - len(self._tail[0]) > TAIL_BYTES:
                        self._tail_bytes -= len(self._tail.popleft())


def _cores(cores: list[int], index: int, jobs: int, threads: int) -> list[int]:
    """The cores of a seat: none are named where they cannot be told apart."""
    if not cores:
        return []
    if jobs * threads <= len(cores):
        return cores[index * threads : (index + 1) * threads]
    return [cores[(index * threads + i) % len(cores)] for i in range(min(threads, len(cores)))]


def _devices() -> list[str]:
    """The accelerators that trials are spread over."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
    with contextlib.suppress(OSError):
        return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return []


def _python_path() -> dict[str, str]:
    """Where this package lies, for a process that would not find it."""
    package = str(Path(__file__).parents[2])
    if package in site.getsitepackages():
        return {}
    return {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _memory() -> tuple[float, float]:
    """Free and total memory in bytes: of the machine, or of the container where that has less."""
    machine = psutil.virtual_memory()
    free, total = float(machine.available), float(machine.total)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        bound = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "active_file"):  # given back when it is wanted
                used -= int(value)
        if bound < total:
            free, total = min(free, float(bound - used)), float(bound)
    return free, total


def _oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory so far, as far as it tells."""
    count = 0
    for path, key in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    count += int(value)
    return count
