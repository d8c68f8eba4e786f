"""How good answers are: confusion, precision and recall, curves and their areas, calibration. Pure functions of arrays.

Examples whose probabilities are not finite have no prediction (-1): they are left out of everything here and counted
by whoever shows it. What has no answer, such as the precision of a class that was never predicted, is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError

__all__ = [
    "Calibration",
    "ClassScores",
    "Normalise",
    "ScoreCurve",
    "calibration",
    "class_scores",
    "confusion",
    "normalised",
    "precision_recall",
    "predicted_classes",
    "roc",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Normalise = Literal["rows", "columns", "all"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassScores:
    """Figures of each class, arrays [C], and of all of them.

    `support` counts the examples that are of the class, `predicted` those that were said to be. `accuracy` is the share
    of right answers; `macro` are the means over classes where the figure exists, `weighted` those weighted by support.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints
    predicted: Ints
    accuracy: float

    def macro(self, figure: Literal["precision", "recall", "f1"]) -> float:
        """The mean of a figure over the classes that have one."""
        values = np.asarray(getattr(self, figure))
        good = values[np.isfinite(values)]
        return float(good.mean()) if len(good) else float("nan")

    def weighted(self, figure: Literal["precision", "recall", "f1"]) -> float:
        """The mean of a figure over classes weighted by their support, over those that have one."""
        values = np.asarray(getattr(self, figure))
        good = np.isfinite(values) & (self.support > 0)
        total = self.support[good].sum()
        return float((values[good] * self.support[good]).sum() / total) if total else float("nan")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScoreCurve:
    """A curve over falling thresholds, one point for each different score and the point before the first.

    Of ROC `x` is the false positive rate and `y` the true positive rate; of precision and recall `x` is the recall and
    `y` the precision. `thresholds` [n] belong to the points; the first is infinite: nothing is above it. `area` is the
    area under it: of ROC by trapezia, of precision and recall the average precision, the sum of the precision at each
    point times how much the recall grew there.
    """

    x: Floats
    y: Floats
    thresholds: Floats
    area: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calibration:
    """How far confidence is from being right, in bins of equal width (lo, hi], the first with its lower end.

    `confidence` and `accuracy` are means over the `count` examples of each bin, NaN in empty ones. `ece` is the
    expected calibration error (Guo et al. 2017): the mean distance of the two, weighted by count; `mce` the largest.
    """

    edges: Floats
    confidence: Floats
    accuracy: Floats
    count: Ints
    ece: float
    mce: float


def predicted_classes(probabilities: npt.NDArray[Any]) -> Ints:
    """The likeliest class of each row, the first of equals, [N]; -1 where the row is not finite."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1, np.int64)
    best: Ints = probabilities.argmax(axis=1).astype(np.int64, copy=False)
    # argmax finds a NaN first; only infinities and rows with one of them need more than a look at the winner.
    if not np.isfinite(probabilities).all():
        best[~np.isfinite(probabilities).all(axis=1)] = -1
    return best


def confusion(labels: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int) -> Ints:
    """How many examples of each class (row) were said to be of each class (column), [C, C]."""
    known = (predicted >= 0) & (labels >= 0)
    flat = labels[known].astype(np.int64) * classes + predicted[known].astype(np.int64)
    counts: Ints = np.bincount(flat, minlength=classes * classes).reshape(classes, classes).astype(np.int64)
    return counts


def normalised(counts: npt.NDArray[Any], by: Normalise) -> Floats:
    """Counts as shares: of their row (the truth), their column (the prediction), or of all; NaN where that is empty."""
    wide = np.asarray(counts, np.float64)
    if by not in ("rows", "columns", "all"):
        raise UsageError(f"normalise is {by!r}", hint="use 'rows', 'columns', 'all' or None")
    total = wide.sum() if by == "all" else wide.sum(axis=1 if by == "rows" else 0, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = wide / total
    return shares


def class_scores(counts: npt.NDArray[Any]) -> ClassScores:
    """Precision, recall, F1 and support out of a confusion matrix [C, C]."""
    right = np.diagonal(counts).astype(np.float64)
    support, predicted = counts.sum(axis=1).astype(np.int64), counts.sum(axis=0).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "precision": right / predicted,
            "recall": right / support,
            "f1": 2 * right / (predicted + support),
        }
        total = int(counts.sum())
    return ClassScores(
        **found, support=support, predicted=predicted, accuracy=float(right.sum() / total) if total else float("nan")
    )


def _counts_above(truth: npt.NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """How many true and false ones have at least each different score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_truth = scores[order], truth[order]
    last = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True)) if len(scores) else np.empty(0, np.int64)
    hits = np.cumsum(sorted_truth, dtype=np.float64)[last]
    return hits, last + 1.0 - hits, sorted_scores[last]


def _checked(truth: npt.NDArray[Any], scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], Floats]:
    yes, values = np.asarray(truth, np.bool_), np.asarray(scores, np.float64)
    if yes.ndim != 1 or yes.shape != values.shape:
        raise UsageError(f"truth {yes.shape} and scores {values.shape} are not of one length")
    good = np.isfinite(values)
    return yes[good], values[good]


def roc(truth: npt.NDArray[Any], scores: npt.NDArray[Any]) -> ScoreCurve:
    """The receiver operating characteristic: `truth` [N] says which examples are of the class, `scores` [N] how much.

    The area is NaN where there are only examples of the class, or none.
    """
    yes, values = _checked(truth, scores)
    hits, false, thresholds = _counts_above(yes, values)
    positives, negatives = float(yes.sum()), float((~yes).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.append(0.0, hits) / positives
        x = np.append(0.0, false) / negatives
    area = float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2) if positives and negatives else float("nan")
    return ScoreCurve(x=x, y=y, thresholds=np.append(np.inf, thresholds), area=area)


def precision_recall(truth: npt.NDArray[Any], scores: npt.NDArray[Any]) -> ScoreCurve:
    """Precision over recall: `truth` [N] says which examples are of the class, `scores` [N] how much the network does.

    The first point is (0, 1) by convention. The area is NaN where no example is of the class.
    """
    yes, values = _checked(truth, scores)
    hits, false, thresholds = _counts_above(yes, values)
    positives = float(yes.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / positives
        precision = hits / (hits + false)
    area = float((np.diff(recall, prepend=0.0) * precision).sum()) if positives else float("nan")
    return ScoreCurve(
        x=np.append(0.0, recall), y=np.append(1.0, precision), thresholds=np.append(np.inf, thresholds), area=area
    )


def calibration(right: npt.NDArray[Any], confidence: npt.NDArray[Any], *, bins: int = 15) -> Calibration:
    """The reliability diagram of answers: whether each was `right` [N], and its `confidence` [N] in 0 to 1."""
    if bins < 1:
        raise UsageError(f"bins is {bins}", hint="give the number of bins, such as 15")
    yes, values = _checked(right, confidence)
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Confidence a hair above 1 is rounding of single precision and belongs to the last bin.
    place = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(place, weights=values, minlength=bins) / count
        share = np.bincount(place, weights=yes.astype(np.float64), minlength=bins) / count
    some = count > 0
    gaps = np.abs(means - share)[some]
    ece = float((gaps * count[some]).sum() / count.sum()) if len(gaps) else float("nan")
    mce = float(gaps.max()) if len(gaps) else float("nan")
    return Calibration(edges=edges, confidence=means, accuracy=share, count=count, ece=ece, mce=mce)
