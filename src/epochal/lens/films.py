"""Lenses held over a whole training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import Graph, Shape
from epochal.facts.chain import Chain, dense_chain
from epochal.film import Film
from epochal.lens.class_images import ClassImages, axes_of, back_project, chain_weights
from epochal.network.recorded import open_quickly
from epochal.store import StoredRun

__all__ = ["CLASS_IMAGES", "ClassImageFrames", "film", "recorded_class_images"]

CLASS_IMAGES = "lens/class_images"
"""The name of the film of class images among those of a run."""

Array = npt.NDArray[Any]


class Reader(Protocol):
    """A recorded run, as `epochal.open().run(...)` gives it."""

    @property
    def stored(self) -> StoredRun:
        """The run as the store gives it."""

    def epoch(self, step: int) -> float | None:
        """The epoch at a step."""


def film(
    method: Callable[..., ClassImages],
    run: Reader,
    *,
    steps: Literal["all"] | Iterable[int] = "all",
    model: str | None = None,
    **how: Any,
) -> Film:
    """A lens at every snapshot of a run: frames [T, ...] of its pictures.

    `lens.film(lens.class_images, run)`; `how` is given to the method (`inputs`, `labels`, `input_shape`), `steps` are
    some of the run's snapshots, `model` is the name of one of several models. Raises NotFoundError where there are no
    snapshots.
    """
    known = run.stored.snapshot_steps()
    wanted = known if isinstance(steps, str) else sorted(set(steps))
    if missing := [step for step in wanted if step not in known]:
        raise NotFoundError(f"There is no snapshot at step {missing[0]}.", hint=f"{len(known)} are kept.")
    if not wanted:
        raise NotFoundError("This run has no snapshots.", hint="run.watch(model) keeps one after each epoch.")
    pictures = [method(open_quickly(run.stored, step, model=model), **how) for step in wanted]
    frames = np.stack([picture.array for picture in pictures])
    epochs = [run.epoch(step) for step in wanted]
    return Film(
        method.__name__.replace("_", " "),
        wanted,
        frames,
        axes=axes_of(frames.shape[1:]),
        units="score per input",
        epochs=None if any(e is None for e in epochs) else np.array(epochs, np.float64),
    )


class ClassImageFrames:
    """The class images of a run at its snapshots, read as they are asked for."""

    def __init__(self, run: StoredRun, chain: Chain) -> None:
        self._run, self._chain = run, chain
        self.steps: Sequence[int] = run.snapshot_steps()
        self.shape: Shape = (chain.links[-1].outputs, *chain.input_shape)

    def read(self, steps: Sequence[int]) -> Array:
        """Frames [len(steps), classes, *input_shape]."""
        names = [link.weight for link in self._chain.links]
        frames = np.empty((len(steps), *self.shape), np.float32)
        for i, step in enumerate(steps):
            state = {name: self._run.tensor(name, step) for name in names}
            frames[i] = back_project(chain_weights(self._chain, state))[0].reshape(self.shape)
        return frames

    def film(self, epochs: Array | None = None) -> Film:
        """All of them."""
        frames = self.read(self.steps)
        return Film(CLASS_IMAGES, self.steps, frames, axes=axes_of(self.shape), units="score per input", epochs=epochs)


def recorded_class_images(run: StoredRun) -> ClassImageFrames | None:
    """The class images of a run whose network is a chain of linear layers; None for any other."""
    graph: Graph | None = None
    with contextlib.suppress(DamagedError, UsageError):
        graph = run.graph()
    chain = dense_chain(graph)
    if chain is None or not run.snapshot_steps():
        return None
    return ClassImageFrames(run, chain)
