"""`wandb.plot`: charts made of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.dropin.wandb.values import Table, as_numpy
from epochal.record.media import Chart

__all__ = [
    "bar",
    "confusion_matrix",
    "histogram",
    "line",
    "line_series",
    "pr_curve",
    "roc_curve",
    "scatter",
]

MOST_POINTS = 10_000


def line(table: Table, x: str, y: str, stroke: str | None = None, title: str = "", split_table: bool = False) -> Chart:
    """Lines of column `y` over column `x`, one for each value of column `stroke`."""
    return Chart("line", table.columns, table.data, x=x, y=y, series=stroke, title=title)


def line_series(
    xs: Iterable[Any],
    ys: Iterable[Iterable[Any]],
    keys: Iterable[str] | None = None,
    title: str = "",
    xname: str = "x",
    split_table: bool = False,
) -> Chart:
    """Several lines: `ys` over one list `xs`, or each over its own; `keys` names them."""
    lines = [list(y) for y in ys]
    across = [x if np.isscalar(x) else list(x) for x in xs]
    shared = not across or np.isscalar(across[0])
    names = list(keys) if keys is not None else [f"line_{k}" for k in range(len(lines))]
    if len(names) != len(lines):
        raise ValueError(f"{len(names)} keys for {len(lines)} lines")
    if not shared and len(across) != len(lines):
        raise ValueError(f"{len(across)} lists of x for {len(lines)} lines")
    rows = []
    for k, (name, values) in enumerate(zip(names, lines, strict=True)):
        places: Any = across if shared else across[k]
        if len(places) != len(values):
            raise ValueError(f"line {name!r} has {len(values)} values for {len(places)} places")
        rows += [[x, y, str(name)] for x, y in zip(places, values, strict=True)]
    return Chart("line", [xname, "y", "line"], rows, x=xname, y="y", series="line", title=title)


def bar(table: Table, label: str, value: str, title: str = "", split_table: bool = False) -> Chart:
    """A bar of column `value` for each entry of column `label`."""
    return Chart("bar", table.columns, table.data, x=label, y=value, title=title)


def scatter(table: Table, x: str, y: str, title: str = "", split_table: bool = False) -> Chart:
    """Points at columns `x` and `y`."""
    return Chart("scatter", table.columns, table.data, x=x, y=y, title=title)


def histogram(table: Table, value: str, title: str = "", split_table: bool = False) -> Chart:
    """How often values of a column come."""
    return Chart("histogram", table.columns, table.data, x=value, title=title)


def confusion_matrix(
    probs: Any = None,
    y_true: Any = None,
    preds: Any = None,
    class_names: Sequence[str] | None = None,
    title: str = "Confusion Matrix Curve",
    split_table: bool = False,
) -> Chart:
    """How often each class was taken for which: `y_true` and `preds` are class numbers, or `probs` is [N, classes].

    Labels that are no numbers are put in order of their names. Raises ValueError for shapes that do not fit, and for
    numbers below 0.
    """
    if (probs is None) == (preds is None):
        raise ValueError("Must provide probabilities or predictions but not both to confusion matrix")
    if y_true is None:
        raise ValueError("y_true is missing")
    said = np.argmax(as_numpy(probs), axis=1) if preds is None else as_numpy(preds).reshape(-1)
    truth = as_numpy(y_true).reshape(-1)
    if len(said) != len(truth):
        raise ValueError("y_true and predicted sequences must have the same length")
    if truth.dtype.kind not in "iub" or said.dtype.kind not in "iub":
        known = sorted({*truth.tolist(), *said.tolist()}, key=str)
        place = {name: k for k, name in enumerate(known)}
        truth, said = (np.array([place[name] for name in found.tolist()]) for found in (truth, said))
        class_names = class_names if class_names is not None else [str(name) for name in known]
    if min(truth.min(initial=0), said.min(initial=0)) < 0:
        raise ValueError("y_true and predictions are numbers of classes: none may be negative")
    size = int(max(truth.max(initial=-1), said.max(initial=-1))) + 1
    names = (
        [str(name) for name in class_names] if class_names is not None else [f"Class_{k}" for k in range(1, size + 1)]
    )
    if len(names) < size:
        raise ValueError(f"{len(names)} class names for {size} classes")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (truth.astype(np.intp), said.astype(np.intp)), 1)
    rows = [[names[a], names[p], int(counts[a, p])] for a in range(len(names)) for p in range(len(names))]
    columns = ["Actual", "Predicted", "nPredictions"]
    return Chart("matrix", columns, rows, x="Predicted", y="Actual", value="nPredictions", title=title)


def pr_curve(
    y_true: Iterable[Any] | None = None,
    y_probas: Iterable[Any] | None = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    interp_size: int = 21,
    title: str = "Precision-Recall Curve",
    split_table: bool = False,
) -> Chart | None:
    """Precision over recall of each class, at `interp_size` evenly spaced recalls; `y_probas` is [N, classes].

    At a recall r stands the precision at the highest threshold that reaches it.
    """
    if y_true is None or y_probas is None:
        return None
    rows: list[list[Any]] = []
    recalls = np.linspace(0, 1, interp_size)
    for name, positive, score in _each_class(y_true, y_probas, labels, classes_to_plot):
        hits, false = _counts(positive, score)
        precision = hits / np.maximum(hits + false, 1)
        recall = hits / max(1, int(positive.sum()))
        for r in recalls:
            reached = np.flatnonzero(recall >= r - 1e-12)
            rows.append([name, float(precision[reached[0]]) if len(reached) else 0.0, float(r)])
    return Chart("line", ["class", "precision", "recall"], rows, x="recall", y="precision", series="class", title=title)


def roc_curve(
    y_true: Any,
    y_probas: Any = None,
    labels: Sequence[str] | None = None,
    classes_to_plot: Sequence[Any] | None = None,
    title: str = "ROC Curve",
    split_table: bool = False,
) -> Chart | None:
    """True over false positive rate of each class; `y_probas` is [N, classes]."""
    if y_probas is None:
        return None
    rows: list[list[Any]] = []
    for name, positive, score in _each_class(y_true, y_probas, labels, classes_to_plot):
        hits, false = (np.concatenate([[0], found]) for found in _counts(positive, score))
        wrong, right = false / max(1, int((~positive).sum())), hits / max(1, int(positive.sum()))
        kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), MOST_POINTS)).round().astype(np.intp))
        rows += [[name, float(wrong[k]), float(right[k])] for k in kept]
    return Chart("line", ["class", "fpr", "tpr"], rows, x="fpr", y="tpr", series="class", title=title)


Class = tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.float64]]


def _each_class(truth: Any, probas: Any, labels: Sequence[str] | None, wanted: Sequence[Any] | None) -> list[Class]:
    """Name, which examples are of it, and how probable it was said to be."""
    true = as_numpy(truth if hasattr(truth, "shape") else list(truth)).reshape(-1)
    scores = as_numpy(probas if hasattr(probas, "shape") else list(probas)).astype(np.float64)
    if scores.ndim != 2 or len(scores) != len(true):
        raise ValueError(f"y_probas has shape {scores.shape}, expected [{len(true)}, classes]")
    classes = np.unique(true) if true.dtype.kind not in "iub" else np.arange(scores.shape[1])
    found = []
    for k, one in enumerate(classes.tolist()[: scores.shape[1]]):
        if wanted is not None and one not in wanted:
            continue
        found.append((str(labels[k]) if labels is not None else str(one), true == one, scores[:, k]))
    return found


def _counts(positive: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """True and false positives at each distinct threshold, highest first."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    hits = np.cumsum(positive[order])[ends]
    return hits, ends + 1 - hits
