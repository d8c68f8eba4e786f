"""What a network said of examples: at one step, and over the whole training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts.scores import (
    Calibration,
    ClassScores,
    Normalise,
    ScoreCurve,
    calibration,
    class_scores,
    confusion,
    normalised,
    precision_recall,
    predicted_classes,
    roc,
)

__all__ = ["PredictionHistory", "PredictionSet"]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class PredictionSet:
    """What a network said of N examples at a step.

    `probabilities` [N, C] float32, `labels` [N] int64 or None, `ids` [N] whole numbers or texts or None, `class_names`
    of C or None. `inputs` are the examples, None where none were logged: pictures as uint8 [N, H, W, C] (the numbers
    that 0 and 255 stand for are in `range`, None for 0 and 255 themselves), texts as a tuple, anything else as it was;
    `feature_names` are those of the columns of a table. Where `shown` is set, `inputs` are for people, and the network
    was given something else: of rows of a table `prepared` says what, `inputs * scale + offset` column by column.
    """

    name: str
    step: int
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | None = None
    ids: npt.NDArray[np.int64] | Sequence[str] | None = None
    class_names: Sequence[str] | None = None
    inputs: Any = None
    range: tuple[float, float] | None = None
    feature_names: Sequence[str] | None = None
    shown: bool = False
    prepared: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def __repr__(self) -> str:
        n, classes = self.probabilities.shape
        return f"PredictionSet({self.name!r}, step {self.step}, {n} examples, {classes} classes)"

    @property
    def given(self) -> npt.NDArray[Any] | None:
        """The examples as the network was given them, [N, ...]; None where that is not known, as of texts.

        Pictures are [N, H, W, C] float32 in the numbers that their 255 steps stand for.
        """
        if self.inputs is None or isinstance(self.inputs, tuple):
            return None
        inputs = np.asarray(self.inputs)
        if self.shown:
            if self.prepared is None or inputs.ndim != 2:
                return None
            scale, offset = self.prepared
            return (inputs * scale + offset).astype(np.float32)
        if inputs.dtype != np.uint8 or inputs.ndim != 4:
            return inputs
        low, high = self.range or (0.0, 255.0)
        return (low + inputs.astype(np.float64) / 255 * (high - low)).astype(np.float32)

    @property
    def predicted(self) -> Ints:
        """The likeliest class of each example, [N]; -1 where its probabilities are not finite."""
        return predicted_classes(self.probabilities)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability of the likeliest class, [N]; NaN where probabilities are not finite."""
        found = self.predicted
        best = self.probabilities.max(axis=1).astype(np.float64)
        return np.where(found >= 0, best, np.nan)

    @property
    def right(self) -> Flags:
        """Which answers are right, [N]."""
        found: Flags = self.predicted == self._labels()
        return found

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """The cross-entropy of each example, [N]: minus the logarithm of the probability of its class."""
        labels = self._labels()
        with np.errstate(divide="ignore"):
            found: npt.NDArray[np.float64] = -np.log(
                self.probabilities[np.arange(len(labels)), labels].astype(np.float64).clip(0.0, 1.0)
            )
        return np.where(self.predicted >= 0, found + 0.0, np.nan)

    def _labels(self) -> Ints:
        if self.labels is None:
            raise UsageError(
                f"{self.name!r} was logged without the right answers", hint="give labels= to run.log_predictions()"
            )
        return self.labels

    def confusion(self, normalise: Normalise | None = None) -> npt.NDArray[Any]:
        """How many examples of each class (row) were said to be of each class (column), [C, C].

        `normalise` makes shares of them: of the "rows" (then the diagonal is the recall), of the "columns" (the
        precision), or of "all". Examples without a finite answer are left out.
        """
        counts = confusion(self._labels(), self.predicted, self.probabilities.shape[1])
        return counts if normalise is None else normalised(counts, normalise)

    def scores(self) -> ClassScores:
        """Precision, recall, F1 and support of each class, and the accuracy."""
        return class_scores(self.confusion())

    def roc(self, of: int | str) -> ScoreCurve:
        """The ROC curve of one class, by number or name, against all others, and the area under it."""
        k = self._class(of)
        return roc(self._labels() == k, self.probabilities[:, k])

    def precision_recall(self, of: int | str) -> ScoreCurve:
        """Precision over recall of one class, by number or name, against all others, and the average precision."""
        k = self._class(of)
        return precision_recall(self._labels() == k, self.probabilities[:, k])

    def calibration(self, bins: int = 15) -> Calibration:
        """How often the network is right where it is so sure: the reliability diagram, and the expected error."""
        return calibration(self.right, self.confidence, bins=bins)

    def _class(self, of: int | str) -> int:
        classes = self.probabilities.shape[1]
        if isinstance(of, str):
            if of not in (names := list(self.class_names or ())):
                raise UsageError(f"there is no class {of!r}", hint=f"there are {', '.join(names[:10]) or 'no names'}")
            return names.index(of)
        if not 0 <= int(of) < classes:
            raise UsageError(f"there is no class {of}", hint=f"there are {classes}, from 0")
        return int(of)


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class PredictionHistory:
    """Which class a network said each of N examples to be of, at T steps.

    `predicted` is [T, N], -1 where probabilities were not finite; `labels` are [N]. All steps are of the same examples:
    `others` counts further steps at which there were other ones.
    """

    name: str
    steps: Ints
    predicted: Ints
    labels: Ints | None
    class_names: Sequence[str] | None = None
    others: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        steps, n = self.predicted.shape
        return f"PredictionHistory({self.name!r}, {steps} steps, {n} examples)"

    @property
    def right(self) -> Flags:
        """Which answers are right, [T, N]."""
        if self.labels is None:
            raise UsageError(
                f"{self.name!r} was logged without the right answers", hint="give labels= to run.log_predictions()"
            )
        found: Flags = self.predicted == self.labels
        return found

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """The share of right answers at each step, [T]; examples without a finite answer are left out."""
        known = (self.predicted >= 0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(self.right.sum(axis=1) / known)

    def _until(self, step: int | None) -> int:
        """How many of the steps count when it is `step`."""
        return len(self.steps) if step is None else int(np.searchsorted(self.steps, step, side="right"))

    def forgotten(self, step: int | None = None) -> Ints:
        """The examples that were right at some step before and are wrong at `step` (the last one)."""
        right = self.right[: self._until(step)]
        if not len(right):
            return np.empty(0, np.int64)
        return np.flatnonzero(right.any(axis=0) & ~right[-1])

    def never_learned(self, step: int | None = None) -> Ints:
        """The examples that were wrong at every step up to `step` (the last one)."""
        return np.flatnonzero(~self.right[: self._until(step)].any(axis=0))

    def forgettings(self, step: int | None = None) -> Ints:
        """How often each example went from right to wrong between two steps, [N] (Toneva et al. 2019)."""
        right = self.right[: self._until(step)]
        counts: Ints = (right[:-1] & ~right[1:]).sum(axis=0).astype(np.int64)
        return counts

    def flips(self, step: int | None = None) -> Ints:
        """How often what the network said of each example changed between two steps, [N]."""
        said = self.predicted[: self._until(step)]
        counts: Ints = (said[:-1] != said[1:]).sum(axis=0).astype(np.int64)
        return counts

    def flipped(self, since: int, step: int | None = None) -> Ints:
        """The examples of which something else is said at `step` (the last one) than at `since`."""
        end, start = self._until(step) - 1, max(0, self._until(since) - 1)
        if end < 0:
            return np.empty(0, np.int64)
        return np.flatnonzero(self.predicted[end] != self.predicted[start])
