"""Asking a watched network about a fixed set of examples each epoch, in place of the script.

The network answers in evaluation mode and is left as it was (the adapter of its framework sees to both). What that
cost is booked on the account of looking, so that looks which nobody asked for grow rarer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import floor, isfinite
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.policy import Account
from epochal.record.prepared import prepared_columns
from epochal.record.probe import Probe

__all__ = ["Examined", "Outputs", "as_probabilities", "split_examples"]

Outputs = Literal["raw", "softmax", "sigmoid"]
APART = 1.2
"""Without epochs the next step asked about is so much larger than the last: a hundred thousand steps make 60 of them,
for all that is said of all examples takes room each time."""
_OFF = 1e-3
"""How far rows that sum to 1 are from it at most, in half precision too."""


def split_examples(examples: object) -> tuple[object, object, object]:
    """`(inputs, labels)` or `(inputs, labels, shown)` as these three; UsageError for anything else."""
    if not isinstance(examples, tuple | list) or len(examples) not in (2, 3):
        what = f"{len(examples)} parts" if isinstance(examples, tuple | list) else f"a {type(examples).__name__}"
        raise UsageError(
            f"examples= got {what}",
            hint="give (x, y): what the network is asked and the right answers; or (x, y, shown)",
        )
    inputs, labels = examples[0], examples[1]
    if len(examples) == 3:
        return inputs, labels, examples[2]
    # Of several inputs people are shown the first: a series of predictions has one picture or row for each example.
    several = list(inputs.values()) if isinstance(inputs, dict) else inputs
    return inputs, labels, several[0] if isinstance(inputs, tuple | dict) and several else inputs


def same_numbers(shown: object, given: object) -> bool:
    """Whether two arrays hold the same numbers, in whatever shape: pictures, and their pixels in a row."""
    try:
        one, other = np.asarray(shown), np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # of another kind, or on a device
        return False
    numbers = one.dtype.kind in "fiub" and other.dtype.kind in "fiub"
    return numbers and one.size == other.size and np.array_equal(one.reshape(-1), other.reshape(-1))


def rows_of(inputs: object) -> int:
    """How many examples there are; of several inputs, in the first. UsageError where that cannot be told."""
    if isinstance(inputs, dict):
        inputs = tuple(inputs.values())
    if isinstance(inputs, tuple) and inputs:
        return rows_of(inputs[0])
    try:
        return len(inputs)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(
            f"examples cannot be counted in a {type(inputs).__name__}", hint="give an array or a tensor [N, ...]"
        ) from None


def as_probabilities(answers: npt.NDArray[Any], outputs: Outputs | None) -> npt.NDArray[np.float64]:
    """What a network put out, [N, C] or [N] or [N, 1], as probabilities [N, C].

    `outputs` says what it is: "raw" scores (softmax makes probabilities of them, of a single score the logistic
    function), "softmax": probabilities whose rows sum to 1, "sigmoid": the probability of the second of two classes.
    None is "raw", unless the numbers look like something else: that raises UsageError rather than to be guessed.
    """
    if outputs is not None and outputs not in get_args(Outputs):
        raise UsageError(f"outputs is {outputs!r}", hint="use 'raw', 'softmax' or 'sigmoid'")
    found = np.asarray(answers, np.float64)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim not in (1, 2):
        raise UsageError(
            f"the network answers with {answers.shape}, not with a score for each class [N, C]",
            hint="log what it says with run.log_predictions()",
        )
    good = found[np.isfinite(found)] if found.ndim == 1 else found[np.isfinite(found).all(axis=1)]
    inside = bool(good.size and good.min() >= 0 and good.max() <= 1)
    if found.ndim == 1:
        if outputs == "softmax":
            raise UsageError("the network has one output, no softmax", hint="say outputs='sigmoid' or 'raw'")
        if outputs is None and inside:
            raise UsageError(
                "the network's output lies between 0 and 1: it may be a probability or a score",
                hint="say which: run.watch(..., outputs='sigmoid'), or 'raw'",
            )
        if outputs == "sigmoid" and good.size and not inside:
            raise UsageError(
                f"the network's outputs are no probabilities: they lie from {good.min():.4g} to {good.max():.4g}",
                hint="say outputs='raw', and the logistic function makes them so",
            )
        second = found if outputs == "sigmoid" else _logistic(found)
        return np.stack([1 - second, second], axis=1)
    if outputs == "sigmoid":
        raise UsageError(
            f"the network has {found.shape[1]} outputs, outputs='sigmoid' is for one",
            hint="several labels of one example are not recorded; for classes say 'softmax' or 'raw'",
        )
    sums = inside and float(np.abs(good.sum(axis=1) - 1).max()) <= _OFF
    if outputs == "softmax":
        if good.size and not sums:
            raise UsageError(
                "the network's outputs are no probabilities: their rows do not sum to 1",
                hint="say outputs='raw', and softmax makes them so",
            )
        return found
    if outputs is None and sums:
        raise UsageError(
            "the network's outputs are probabilities already", hint="say so: run.watch(..., outputs='softmax')"
        )
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = np.exp(found - found.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return shares


def _logistic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # Two forms, so that neither overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


class Examined:
    """One network and the examples that it is asked about. `tick` asks it at each new whole epoch, and once in `every`
    steps.

    Without either it is asked at steps that lie ever further apart, where its cost stays within the
    account's budget. `log` takes the step, the probabilities and what that cost in seconds.
    """

    def __init__(
        self,
        probe: Probe,
        examples: object,
        *,
        outputs: Outputs | None,
        account: Account,
        log: Callable[[Examined, int, npt.NDArray[np.float64], float], None],
        name: str = "predictions",
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        every: int = 0,
    ) -> None:
        if outputs is not None and outputs not in get_args(Outputs):
            raise UsageError(f"outputs is {outputs!r}", hint="use 'raw', 'softmax' or 'sigmoid'")
        if not callable(getattr(probe, "answers", None)):
            raise UsageError(
                f"examples= needs a network that can be called, {probe.framework} parameters cannot",
                hint="log what it says with run.log_predictions()",
            )
        self.probe, self.name = probe, name
        self.inputs, self.labels, self.shown = split_examples(examples)
        self.otherwise = self.shown is not self.inputs and not same_numbers(self.shown, self.inputs)
        """Whether what is shown is something else than what the network is given."""
        self.prepared = prepared_columns(self.shown, self.inputs) if self.otherwise else None
        """How the one becomes the other, where both are rows of numbers."""
        self.rows = rows_of(self.inputs)
        # What a network says of itself is no guess.
        self.outputs = outputs or getattr(probe, "outputs", None)
        self.class_names, self.feature_names = class_names, feature_names
        self._account, self._log, self._every = account, log, every
        self._busy = threading.Lock()
        self._first: tuple[int, npt.NDArray[np.float64], float] | None = None
        self._epoch: int | None = None
        self._step: int | None = None
        self._asked_at = 0.0
        self._seconds = 0.0
        self.broken = False

    def begin(self, step: int | None) -> None:
        """Ask the untrained network; what it says is kept until the first log call tells which step that was."""
        if (said := self._ask()) is not None:
            self._first = (step or 0, *said)

    def tick(self, step: int, epoch: float | None, now: float) -> None:
        """Ask the network, if this log call is one of a new epoch (or the account covers it where there are none)."""
        if self.broken or not self._busy.acquire(blocking=False):
            return  # it is being asked right now, by another thread, or it logs while it answers
        try:
            first, self._first = self._first, None
            if first is not None and step > first[0]:
                self._hand_over(*first)
            if self._due(step, epoch, now) and (said := self._ask()) is not None:
                self._asked_at = now
                self._hand_over(step, *said)
            elif first is not None and step <= first[0]:
                self._hand_over(step, *first[1:])
        finally:
            self._busy.release()

    def finish(self, step: int | None) -> None:
        """Ask once more, where the last step was not asked about."""
        if self.broken or not self._busy.acquire(blocking=False):
            return
        try:
            first, self._first = self._first, None
            if first is not None and (step is None or step > first[0]):
                self._hand_over(*first)
            if step is not None and step != self._step and not self.probe.gone and (said := self._ask()) is not None:
                self._hand_over(step, *said)
        finally:
            self._busy.release()

    def _due(self, step: int, epoch: float | None, now: float) -> bool:
        asked = bool(self._every) and (self._step is None or step // self._every != self._step // self._every)
        if epoch is not None and isfinite(epoch):
            new, self._epoch = floor(epoch) != self._epoch, floor(epoch)
            return new or asked
        if asked or self._every:
            return asked
        if self._epoch is not None or (self._step is not None and step < max(self._step + 1, self._step * APART)):
            return False
        budget = self._account.budget
        return budget is None or (budget > 0 and abs(now - self._asked_at) >= self._seconds / budget)

    def _ask(self) -> tuple[npt.NDArray[np.float64], float] | None:
        try:
            found = self.probe.answers(self.inputs, self.rows)  # type: ignore[attr-defined]
            if found is None:
                return None  # a network whose parameters are not there yet
            answers, seconds = found
            self._account.caller += seconds
            self._seconds = seconds
            if len(answers) != self.rows:
                raise UsageError(f"the network gives {len(answers)} answers for {self.rows} examples")
            return as_probabilities(answers, self.outputs), seconds
        except BaseException:
            self.broken = True  # it would go wrong each epoch
            raise

    def _hand_over(self, step: int, probabilities: npt.NDArray[np.float64], seconds: float) -> None:
        self._step = step
        self._log(self, step, probabilities, seconds)
