"""What every part of a run begins with: which step a call is about, and whether the run still records."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from epochal.errors import UsageError
from epochal.record.guard import Guard
from epochal.record.values import as_number
from epochal.store import RunWriter

if TYPE_CHECKING:
    from epochal.record.examined import Examined

STEP_LIMIT = 2**62
"""Steps are kept as int64; the half of it leaves room to count on."""


class Edge:
    """The part of `Run` that its other parts share."""

    __slots__ = ("_append", "_closed", "_epoch", "_guard", "_step", "_writer", "id")

    id: str
    _writer: RunWriter | None
    _append: Callable[[Mapping[str, float], int, float], None] | None
    _closed: str
    _guard: Guard
    _step: int
    _epoch: float | None

    @property
    def step(self) -> int | None:
        """The step of the last log call, None before the first."""
        return None if self._step < 0 else self._step

    def _as_step(self, step: Any) -> int:
        """A step given as another kind of whole number; the own counter's next where it is none."""
        try:
            whole = operator.index(step)
        except TypeError:
            number = as_number(step)
            whole = int(number) if number is not None and number.is_integer() else -1
        if not 0 <= whole < STEP_LIMIT:
            whole = self._step + 1
            message = (
                f"step is {step!r}, not a whole number from 0 to 2^62: step {whole}, the next one, was taken instead"
            )
            if self._guard.strict:
                raise UsageError(message)
            self._guard.lost("steps", message, once="steps")
        return whole

    def _log_examined(self, asked: Examined, step: int, probabilities: object, seconds: float) -> None:
        """Record what a network said of its examples; `Examples` does."""
        raise NotImplementedError

    def _refuse(self) -> None:
        """Count a call that came after the end, and say so once; where nothing is recorded at all, nothing is lost."""
        if self._closed in ("off", "forked"):
            return
        message = f"run {self.id} was {self._closed} before this call: nothing is recorded any more"
        if self._guard.strict:
            raise UsageError(message, hint="start a new run with epochal.init()")
        self._guard.lost("late", message + ". Start a new run with epochal.init()", once="late")
