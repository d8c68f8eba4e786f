"""The examples that a run recorded with its predictions, as its network takes them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.facts import Shape
from epochal.store import StoredRun
from epochal.views.predictions import last_items, read_predictions

__all__ = ["GivenExamples", "given_examples", "series_with_inputs"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenExamples:
    """Inputs [N, ...] as the network takes them, their classes [N] (None where not known) and what these are called."""

    inputs: Array
    labels: Array | None
    class_names: tuple[str, ...]
    series: str
    step: int


def series_with_inputs(run: StoredRun) -> list[str]:
    """The names of the predictions of a run whose examples were recorded as the network takes them."""
    found = []
    for name, series in run.media_series().items():
        if "predictions" not in series.kinds:
            continue
        meta = last_items(run, name)[-1].meta
        known = meta.get("inputs") in ("pictures", "numbers")
        if known and (meta.get("shown") is not True or meta.get("prepared") is not None):
            found.append(name)
    return found


def given_examples(
    run: StoredRun, shape: Shape, *, series: str | None = None, step: int | None = None
) -> GivenExamples:
    """The recorded examples of a series (None: the first that has them) at a step, as a network takes them.

    Of several steps those of the last one that is not after `step`. Examples of an unknown class are left out where
    others have one. Raises NotFoundError where a run has none, UsageError where they do not fit the network.
    """
    known = series_with_inputs(run)
    name = series or next(iter(known), None)
    if name is None:
        raise NotFoundError(
            f"Run {run.info().name!r} has no examples with the numbers that its network takes.",
            hint="Record some with run.watch(model, examples=(x, y)), or give a file of inputs.",
        )
    items = last_items(run, name)
    at = max((item.step for item in items if step is None or item.step <= step), default=items[0].step)
    found = read_predictions(run, name, at)
    given = found.given
    if given is None:
        raise UsageError(f"The examples of {name!r} were recorded without the numbers that the network takes.")
    inputs = np.asarray(given, np.float32)
    if not len(inputs) or inputs[0].size != prod(shape):
        size = inputs[0].size if len(inputs) else 0
        raise UsageError(f"The examples of {name!r} have {size:,} numbers; the network takes {list(shape)}.")
    if inputs.ndim == 4 and tuple(inputs.shape[1:]) != tuple(shape):
        inputs = inputs.transpose(0, 3, 1, 2)
    inputs = np.ascontiguousarray(inputs.reshape(len(inputs), *shape))
    labels = None if found.labels is None else np.asarray(found.labels, np.int64)
    if labels is not None and (labels < 0).any():
        inputs, labels = (inputs, None) if (labels < 0).all() else (inputs[labels >= 0], labels[labels >= 0])
    return GivenExamples(inputs=inputs, labels=labels, class_names=tuple(found.class_names or ()), series=name, step=at)
