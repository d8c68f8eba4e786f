"""The two threads behind a writer: one folds the journal each second, one does jobs, which may be slow.

Both are daemons: they never keep the training process alive.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from epochal.errors import StorageFullError
from epochal.store.drain import Drain

__all__ = ["PERIOD_SECS", "Workers"]

PERIOD_SECS = 1.0


class Workers:
    """Folds each second and on demand; runs submitted jobs in order."""

    def __init__(self, drain: Drain, *, period_secs: float = PERIOD_SECS) -> None:
        self._drain = drain
        self._period = period_secs
        self._wanted = threading.Event()
        self._stopping = False
        self._cycled = threading.Condition()
        self._cycles = 0
        self._folder_thread = threading.Thread(target=self._fold_loop, name="epochal-fold", daemon=True)
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._job_lock = threading.Condition()
        self._job_thread: threading.Thread | None = None
        self._submitted = self._done = 0

    def start(self) -> None:
        """Begin folding."""
        self._folder_thread.start()

    def wake(self) -> None:
        """Ask for a fold now."""
        self._wanted.set()

    @property
    def pending(self) -> int:
        """How many jobs have not ended."""
        return self._submitted - self._done

    def submit(self, job: Callable[[], object]) -> None:
        """Queue a job."""
        with self._job_lock:
            self._submitted += 1
            if self._job_thread is None:
                self._job_thread = threading.Thread(target=self._job_loop, name="epochal-jobs", daemon=True)
                self._job_thread.start()
        self._jobs.put(job)

    def _job_loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except StorageFullError:
                pass  # whoever raised it counted what was lost, and told of it
            except Exception as error:  # noqa: BLE001 - the thread's outermost edge: recording must not end here
                self._drain.drop("job", 1, f"a part of the recording failed: {type(error).__name__}: {error}")
            del job  # it may hold large arrays, and the next may be long in coming
            with self._job_lock:
                self._done += 1
                self._job_lock.notify_all()

    def _fold_loop(self) -> None:
        while not self._stopping:
            self._wanted.wait(self._period)
            self._wanted.clear()
            try:
                self._drain.cycle()
            except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the next second tries again
                self._drain.problem(f"recording stumbled and goes on: {type(error).__name__}: {error}")
            with self._cycled:
                self._cycles += 1
                self._cycled.notify_all()

    def flush(self, timeout: float | None) -> bool:
        """Wait for the jobs submitted so far, then for a whole fold; say whether it came in time and succeeded."""
        deadline = None if timeout is None else time.monotonic() + timeout
        goal = self._submitted
        with self._job_lock:
            if not self._job_lock.wait_for(lambda: self._done >= goal, _left(deadline)):
                return False
        if not self._drain.media.wait(_left(deadline)):
            return False
        with self._cycled:
            # The cycle under way may have begun before the last number came: the one after it has them all.
            goal = self._cycles + 2
        while True:
            self._drain.renew_all = True
            self.wake()
            with self._cycled:
                if self._cycles >= goal:
                    return not self._drain.failing
                self._cycled.wait_for(lambda: self._cycles >= goal, min(0.01, _left(deadline, 0.01)))
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def stop(self) -> None:
        """Do the jobs that wait, then end both threads."""
        if self._job_thread is not None:
            self._jobs.put(None)
            if self._job_thread is not threading.current_thread():
                self._job_thread.join()
        self._drain.media.stop()
        self._stopping = True
        self.wake()
        if self._folder_thread is not threading.current_thread():
            self._folder_thread.join()


def _left(deadline: float | None, default: float = 3600.0) -> float:
    return default if deadline is None else max(0.0, deadline - time.monotonic())
