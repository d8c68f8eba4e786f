"""A question to the lens, checked, as the process that looks is given it."""

from __future__ import annotations

from typing import Any

import numpy as np

from epochal.errors import NetworkMissingError, NotFoundError, UsageError
from epochal.lens.methods import METHODS
from epochal.lens.photos import SAMPLES
from epochal.store.reader import StoredRun
from epochal.views.predictions import last_items
from epochal.wire.asking import askable
from epochal.wire.looking import checked_methods, checked_options, examples_series
from epochal.wire.schema_lens import LensQuestion

__all__ = ["asked_of", "recorded_at", "step_of", "uploaded"]


def asked_of(
    run: StoredRun, question: LensQuestion, step: int, picture: bytes | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of the task of looking; `picture` is the uploaded one that it names. Raises what is wrong."""
    methods = checked_methods(run, question.methods)
    if question.check and any(METHODS[name].kind != "attribution" for name in methods):
        raise UsageError("Attributions are checked with random weights, and nothing else.")
    if question.place is not None and question.inside is None:
        raise UsageError("place is that of a unit: name its layer as well, inside=.")
    given = [name for name in ("example", "photo", "picture") if getattr(question, name) is not None]
    if len(given) > 1 or (not given and any("image" in METHODS[name].needs for name in methods)):
        raise UsageError("Name one input: an example with its series, a photo, or a picture.")
    series, at = _examples(run, question, step, top="top_examples" in methods)
    header: dict[str, Any] = {
        "methods": methods,
        "options": checked_options(methods, question.options),
        "series": series,
        "at": at,
    }
    for name in ("target", "layer", "channel", "inside", "place", "check", "theme", "photo", "example"):
        header[name] = getattr(question, name)
    if question.photo is not None and question.photo not in SAMPLES:
        raise NotFoundError(f"There is no sample photo {question.photo!r}.", hint=f"There are: {', '.join(SAMPLES)}.")
    return header, uploaded(question.picture, picture)


def uploaded(name: str | None, picture: bytes | None) -> dict[str, Any]:
    """The array of a task about an uploaded picture; none where none is named. NotFoundError for one that is gone."""
    if name is None:
        return {}
    if picture is None:
        raise NotFoundError("This picture is no longer kept.", hint="Choose it again.")
    return {"picture": np.frombuffer(picture, np.uint8)}


def step_of(run: StoredRun, wanted: int | None) -> int:
    """The last snapshot that is not after a step, of all for None; NetworkMissingError where nothing can be asked."""
    if askable(run) is None:
        raise NetworkMissingError(
            f"Run {run.info().name!r} has no network that can be looked into.",
            hint="run.watch(model, inputs=one_batch) records one, with a snapshot at each epoch.",
        )
    steps = run.snapshot_steps()
    return max((step for step in steps if wanted is None or step <= wanted), default=steps[0])


def _examples(run: StoredRun, question: LensQuestion, step: int, *, top: bool) -> tuple[str | None, int | None]:
    """The predictions whose examples are meant, and the step that they were recorded at."""
    series = question.series
    if question.example is not None:
        series = series or "predictions"
    elif top:
        series = examples_series(run, series)
    if not series or not (top or question.example is not None):
        return series, None
    return series, _at(run, series, step)


def recorded_at(run: StoredRun, series: str | None, step: int) -> tuple[str, int]:
    """The predictions whose examples are meant, all of them, and the step that they were recorded at."""
    found = examples_series(run, series)
    if not found:
        raise NotFoundError(
            "This run has no recorded examples.", hint="run.watch(model, examples=(x_val, y_val)) records some."
        )
    return found, _at(run, found, step)


def _at(run: StoredRun, series: str, step: int) -> int:
    items = last_items(run, series)
    # Examples may be others later on: those of the step that is looked at are meant.
    return max((item.step for item in items if item.step <= step), default=items[0].step)
