"""Confusion matrices of a run as a film, alone or against what another network said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts.scores import Normalise
from epochal.film import caption
from epochal.film.confusion import ConfusionFilm
from epochal.store import StoredRun
from epochal.views.confusion import Confusions, nearest_before, prediction_series, read_confusions
from epochal.views.predictions import last_items
from epochal.workspace.films import epochs_at

__all__ = ["make_confusions"]


def make_confusions(
    stored: StoredRun,
    steps: int | Iterable[int] | None,
    name: str | None,
    normalise: Normalise | None,
    against: int | StoredRun | None,
) -> ConfusionFilm:
    """The matrices at these steps (all); `against` is another run, or one step of this one."""
    if normalise not in (None, "rows", "columns", "all"):
        raise UsageError(f"Shares cannot be of {normalise!r}.", hint="Use rows, columns or all.")
    series = prediction_series(stored, name)
    chosen = [steps] if isinstance(steps, int) else None if steps is None else list(steps)
    found = read_confusions(stored, series, chosen)
    other: npt.NDArray[np.int64] | None = None
    names: list[str] = []
    if against is not None:
        other, names = _beside(stored, series, found, against)
    return ConfusionFilm(
        title=f"{stored.info().name} · {series}",
        steps=found.steps,
        counts=found.counts,
        class_names=found.class_names,
        normalise=normalise,
        other=other,
        other_names=names,
        epochs=epochs_at(stored, found.steps.tolist()),
    )


def _beside(
    stored: StoredRun, series: str, found: Confusions, against: int | StoredRun
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The other side at each step, and what it is called there."""
    rival = stored if isinstance(against, int) else against
    if isinstance(against, int):
        wanted: Sequence[int] = [against] * len(found.steps)
    else:
        there = sorted(item.step for item in last_items(rival, series))
        wanted = [nearest_before(there, int(step)) for step in found.steps]
    read = read_confusions(rival, series, wanted)
    place = {int(step): t for t, step in enumerate(read.steps)}
    places = [place[step] for step in wanted]
    for step, labels, t in zip(found.steps.tolist(), found.labels, places, strict=True):
        if not np.array_equal(labels, read.labels[t]):
            raise UsageError(
                f"At step {step} other examples were asked about than on the other side: they cannot be compared.",
                hint="Log the same examples, in the same order.",
            )
    head = "" if rival is stored else f"{rival.info().name} · "
    return read.counts[places], [head + caption(step) for step in wanted]
