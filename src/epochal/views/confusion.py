"""Confusion matrices of a series of predictions at many steps, without reading the inputs of its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.facts.scores import confusion, predicted_classes
from epochal.store import StoredRun
from epochal.views.predictions import last_items, read_answers

__all__ = ["Confusions", "nearest_before", "prediction_series", "read_confusions"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Confusions:
    """Counts [T, C, C] of truth (rows) and prediction (columns) at `steps`; `labels` of the examples of each step."""

    steps: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    labels: Sequence[npt.NDArray[np.int64]]
    class_names: Sequence[str]


def prediction_series(stored: StoredRun, asked: str | None = None) -> str:
    """The series of predictions that is meant: the one asked for, else `predictions`, else the first there is."""
    if asked is not None:
        return asked
    there = [name for name, series in stored.media_series().items() if "predictions" in series.kinds]
    return "predictions" if not there or "predictions" in there else there[0]


def nearest_before(steps: Sequence[int], step: int) -> int:
    """The last of the (growing) steps at `step` or before, else the first."""
    return max((s for s in steps if s <= step), default=steps[0])


def read_confusions(stored: StoredRun, name: str, steps: Sequence[int] | None = None) -> Confusions:
    """The matrices at these steps, or at all.

    Raises NotFoundError where nothing was logged (at a step), UsageError where the right answers were not logged or the
    number of classes changes.
    """
    items = {item.step: item for item in last_items(stored, name)}
    chosen = sorted(items) if steps is None else sorted(set(steps))
    if missing := [step for step in chosen if step not in items]:
        near = sorted(sorted(items, key=lambda s: abs(s - missing[0]))[:4])
        raise NotFoundError(f"There are no predictions {name!r} at step {missing[0]}.", hint=f"Nearest: {near}.")
    counts, labels = [], []
    names: Sequence[str] | None = None
    for step in chosen:
        probabilities, truth, named = read_answers(stored, items[step])
        if truth is None:
            raise UsageError(
                f"{name!r} was logged without the right answers", hint="give labels= to run.log_predictions()"
            )
        names = named or names
        labels.append(truth)
        counts.append(confusion(truth, predicted_classes(probabilities), probabilities.shape[1]))
    if len({one.shape for one in counts}) > 1:
        sizes = sorted({one.shape[0] for one in counts})
        raise UsageError(
            f"The number of classes of {name!r} changes: {', '.join(map(str, sizes))}.", hint="Choose steps of one."
        )
    classes = counts[0].shape[0]
    return Confusions(
        steps=np.array(chosen, np.int64),
        counts=np.stack(counts),
        labels=labels,
        class_names=names if names is not None and len(names) == classes else [str(k) for k in range(classes)],
    )
