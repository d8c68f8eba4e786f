"""When a trial is to end before its time, and how it comes to hear of it."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Mapping

from epochal.lab.runner import StopKind, Task, asked_to_stop

__all__ = ["Pulse", "StopTrial"]

LOOK_SECS = 0.25
GRACE_SECS = 20.0
_LOSS = re.compile(r"loss", re.IGNORECASE)


class StopTrial(BaseException):
    """Ends a training from inside `run.log`. No Exception, so that training code does not catch it by accident."""


class Pulse:
    """Is told of all that a trial logs, and knows whether it is to stop.

    A training that asks `should_stop` ends by itself, and is ended only when it has not for a while; any other is ended
    at its next call of `run.log`. Only the thread that made this is ever ended.
    """

    def __init__(self, task: Task, *, asks: bool) -> None:
        self.kind: StopKind | None = None
        self.reason = ""
        self._task = task
        self._asks = asks
        self._thread = threading.get_ident()
        now = time.monotonic()
        self._looked = now
        self._deadline = math.inf if task.trial_seconds is None else now + task.trial_seconds
        self._stopped = math.inf

    def should_stop(self) -> bool:
        """Whether the training is to end now; costs next to nothing to ask."""
        self._look()
        return self.kind is not None

    def heard(self, numbers: Mapping[str, float], step: int) -> None:
        """Take note of what was logged; raises StopTrial where the training is to end at once."""
        if self._task.stop_on_nan and self.kind is None:
            wrong = [name for name, value in numbers.items() if not math.isfinite(value)]
            losses = [name for name in wrong if _LOSS.search(name)]
            for name in losses or [name for name in wrong if name.replace("/", "_") == self._task.objective]:
                self._stop("nan", f"{name} was {numbers[name]} at step {step}")
                break
        self._look()
        if self.kind is None or threading.get_ident() != self._thread:
            return
        if not self._asks or time.monotonic() - self._stopped > GRACE_SECS:
            raise StopTrial(self.reason)

    def _look(self) -> None:
        now = time.monotonic()
        if self.kind is not None or now - self._looked < LOOK_SECS:
            return
        self._looked = now
        if now > self._deadline:
            self._stop("time", f"the trial took longer than {self._task.trial_seconds:g} s")
        elif request := asked_to_stop(self._task):
            self._stop(*request)

    def _stop(self, kind: StopKind, reason: str) -> None:
        self.kind, self.reason, self._stopped = kind, reason, time.monotonic()
