"""The frames of a stored run's tensor, as `make_film` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, EpochalError, NotFoundError, UsageError
from epochal.store.reader import StoredRun
from epochal.views.films import Encoding, Extremes, FilmStack, Mode, make_film
from epochal.views.layers import layouts, turned

__all__ = ["FilmMemory", "make_stored_film", "snapshot_kind"]

_KINDS: dict[str, Literal["params", "grads"]] = {"param": "params", "grad": "grads"}


class FilmMemory:
    """Extremes of one tensor's frames, for as long as they are those of the same snapshots."""

    def __init__(self) -> None:
        self.extremes = Extremes()
        self._steps: list[int] = []
        self._folder: Path | None = None

    def follow(self, steps: list[int], folder: Path) -> None:
        """Forget when the snapshots are not the known ones and perhaps more: a resumed run may have replaced some."""
        if steps[: len(self._steps)] != self._steps or (self._folder is not None and folder != self._folder):
            self.extremes = Extremes()
        self._steps, self._folder = steps, folder


class _GapError(Exception):
    """Some snapshots lack the tensor, hold it in another shape or cannot be read."""


class _StoredFrames:
    """Frames outputs first, whichever order of axes they are kept in."""

    def __init__(self, run: StoredRun, name: str, kind: Literal["params", "grads"]) -> None:
        self.steps = run.snapshot_steps(kind)
        self._run, self._name, self._kind = run, name, kind
        self.shape, self._layout = turned(self._find_shape(), _layout(run, name))

    def read(self, steps: Sequence[int]) -> npt.NDArray[Any]:
        try:
            found, frames = self._run.tensor_film(self._name, steps, self._kind)
        except NotFoundError:
            found, frames = np.empty(0, np.int64), np.empty((0, *self.shape))
        else:
            if self._layout and frames.ndim == len(self._layout) + 1:
                frames = frames.transpose(0, *(axis + 1 for axis in self._layout))
        if len(found) < len(steps) or frames.shape[1:] != self.shape:
            good = set(found.tolist()) if frames.shape[1:] == self.shape else set()
            missing = set(steps) - good
            self.steps = [step for step in self.steps if step not in missing]
            raise _GapError
        return frames

    def _find_shape(self) -> tuple[int, ...]:
        for step in (*self.steps[-1:], *self.steps[:1]):
            try:
                place = self._run.snapshot_header(step, self._kind).tensors.get(self._name)
            except (EpochalError, OSError):
                continue
            if place is not None:
                return place.shape
        shape: tuple[int, ...] = self._run.tensor_film(self._name, None, self._kind)[1].shape[1:]
        return shape


def _layout(run: StoredRun, name: str) -> tuple[int, ...]:
    try:
        return layouts(run.graph()).get(name, ())
    except DamagedError:
        return ()


def snapshot_kind(series: str) -> tuple[str, Literal["params", "grads"]]:
    """The tensor's name and the kind of snapshot that holds it: `param/x` is x in the parameters."""
    kind, slash, name = series.partition("/")
    if not slash or not name or kind not in (*_KINDS, "act"):
        raise UsageError(f"{series!r} is no tensor", hint="param/<name> or grad/<name>, as the run's detail lists them")
    if kind == "act":
        raise NotFoundError(f"of {series!r} only histograms are kept", hint="ask /histograms")
    return name, _KINDS[kind]


def make_stored_film(
    run: StoredRun,
    series: str,
    *,
    mode: Mode = "value",
    encoding: Encoding = "auto",
    start: int | None = None,
    end: int | None = None,
    memory: FilmMemory | None = None,
) -> FilmStack:
    """The film of `param/<name>` or `grad/<name>`, outputs first (facts.Parameter.layout).

    Snapshots that cannot be read, or lack it, are left out.
    """
    name, kind = snapshot_kind(series)
    if not run.snapshot_steps(kind):
        what = "parameters" if kind == "params" else "gradients"
        raise NotFoundError(
            f"run {run.project}/{run.run_id} kept no {what}",
            hint="run.watch(model) keeps parameters at each epoch" if kind == "params" else "ask /histograms for them",
        )
    source = _StoredFrames(run, name, kind)
    remembered = FilmMemory() if memory is None else memory
    while True:
        try:
            if source.steps:
                remembered.follow(source.steps, run.snapshot_path(source.steps[-1], kind).parent)
            return make_film(source, mode=mode, encoding=encoding, start=start, end=end, extremes=remembered.extremes)
        except _GapError:
            continue
        except NotFoundError:  # the last one was let go of since the steps were listed
            left = [step for step in run.snapshot_steps(kind) if step in source.steps]
            if not left or left == source.steps:
                raise
            source.steps = left
