"""Which film a name means, and how it is read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError
from epochal.facts import STATISTICS, is_system
from epochal.film import Film
from epochal.lens.films import CLASS_IMAGES, recorded_class_images
from epochal.store import SnapshotKind, StoredRun
from epochal.views.layers import layouts
from epochal.workspace.media import film_series, make_media_film

_KINDS: dict[str, SnapshotKind] = {"param": "params", "grad": "grads"}
_AXES = {
    1: ("unit",),
    2: ("unit", "input"),
    3: ("output", "input", "tap"),
    4: ("output", "input", "row", "column"),
    5: ("output", "input", "slice", "row", "column"),
}


def tensor_names(stored: StoredRun, kind: SnapshotKind) -> list[str]:
    """Names of the tensors in the latest snapshot, in the order of the state dict; empty where there is none."""
    for step in reversed(stored.snapshot_steps(kind)):
        try:
            return list(stored.snapshot_header(step, kind).tensors)
        except NotFoundError:  # let go of since the steps were listed
            continue
    return []


def series_of(stored: StoredRun) -> list[str]:
    """The names of all films of a run."""
    names = sorted(stored.scalars(), key=lambda name: (is_system(name), name))
    for prefix, kind in _KINDS.items():
        names += [f"{prefix}/{name}" for name in tensor_names(stored, kind)]
    names += [CLASS_IMAGES] if recorded_class_images(stored) is not None else []
    names += [f"hist/{series}" for series in stored.statistics_series()]
    return names + [name for name in film_series(stored) if name not in names]


def make_film(stored: StoredRun, name: str) -> Film:
    """The film called `name`; NotFoundError names films that are called nearly so."""
    scalars = stored.scalars()
    if name in scalars:
        return scalar_film(name, scalars[name].steps, scalars[name].v, stored)
    head, _, rest = name.partition("/")
    if head in _KINDS and rest in tensor_names(stored, _KINDS[head]):
        return _tensor_film(stored, name, rest, _KINDS[head])
    if head == "hist" and rest in stored.statistics_series():
        return _histogram_film(stored, name, rest)
    if head in STATISTICS and rest in stored.statistics_series():
        table = stored.statistics(rest)
        return scalar_film(name, table.steps, np.asarray(table.columns[head], np.float64), stored)
    if name == CLASS_IMAGES and (images := recorded_class_images(stored)) is not None:
        return images.film(epochs_at(stored, images.steps))
    if name in stored.media_series():
        return make_media_film(stored, name, epochs_at=epochs_at)
    if name in tensor_names(stored, "params"):
        return _tensor_film(stored, f"param/{name}", name, "params")
    raise _missing(stored, name)


def scalar_film(
    name: str, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64], stored: StoredRun | None = None
) -> Film:
    """A series as a film: of several values at one step the last."""
    last = _last_of_each(steps)
    steps, values = steps[last], values[last]
    epochs = epochs_at(stored, steps) if stored is not None and name != "epoch" else None
    return Film(name, steps, values, kind="scalar", epochs=epochs)


def epochs_at(stored: StoredRun, steps: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """The epoch at each step: the last one logged at it or before, NaN before the first; None where none was logged."""
    known, epochs = stored.epochs()
    if not len(known):
        return None
    place = np.searchsorted(known, np.asarray(steps, np.int64), side="right")
    return np.where(place > 0, epochs[np.maximum(place, 1) - 1], np.nan)


def nearest_step(steps: Sequence[int], step: int) -> int:
    """The one of `steps` (not empty) that is nearest."""
    return min(steps, key=lambda s: abs(s - step))


def _tensor_film(stored: StoredRun, name: str, tensor: str, kind: SnapshotKind) -> Film:
    steps, frames = stored.tensor_film(tensor, None, kind)
    axes = _axes(stored, tensor, frames.ndim - 1)
    return Film(name, steps, _closed(frames), axes=axes, epochs=epochs_at(stored, steps))


def _axes(stored: StoredRun, tensor: str, count: int) -> tuple[str, ...]:
    """What each axis of a tensor says, in the order in which it is kept."""
    shown = _AXES.get(count, ())
    try:
        layout = layouts(stored.graph()).get(tensor, ())
    except DamagedError:
        layout = ()
    if len(layout) != len(shown):
        return shown
    return tuple(shown[layout.index(axis)] for axis in range(count))


def _histogram_film(stored: StoredRun, name: str, series: str) -> Film:
    table = stored.statistics(series)
    chosen = _last_of_each(table.steps)
    return Film(
        name,
        table.steps[chosen],
        table.counts[chosen],
        axes=("bin",),
        kind="histogram",
        edges=np.stack([table.lo[chosen], table.hi[chosen]], axis=1),
        epochs=epochs_at(stored, table.steps[chosen]),
    )


def _last_of_each(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows are the last of their step, given steps that never fall."""
    return np.append(steps[1:] != steps[:-1], True) if len(steps) else np.empty(0, bool)


def _closed(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The frames, fresh from the store, closed to writing so that the film need not copy them."""
    frames.flags.writeable = False
    return frames


def _missing(stored: StoredRun, name: str) -> NotFoundError:
    known = series_of(stored)
    if not known:
        return NotFoundError(
            f"The run {stored.project}/{stored.run_id} has no film {name!r}: nothing was recorded yet.",
            hint="Log numbers with run.log({...}), watch a model with run.watch(model).",
        )
    bare = {k.removeprefix("param/"): k for k in known}
    near = difflib.get_close_matches(name, [*known, *bare], n=3, cutoff=0.5)
    if not near:
        near = [k for k in known if name.lower() in k.lower()][:3]
    listed = ", ".join(dict.fromkeys(near)) if near else ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return NotFoundError(
        f"The run {stored.project}/{stored.run_id} has no film {name!r}.",
        hint=f"{'Did you mean' if near else 'It has'}: {listed}{'?' if near else ''}",
    )
