"""Lenses held over a whole training."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import Graph, Shape
from epochal.facts.chain import Chain, dense_chain
from epochal.film import Film
from epochal.lens.class_images import axes_of, back_project, chain_weights
from epochal.lens.spectrum import Weights, spectra
from epochal.network.recorded import open_each, recorded_parameters
from epochal.store import StoredRun

__all__ = ["CLASS_IMAGES", "ClassImageFrames", "film", "known_steps", "looks", "recorded_class_images"]

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


class Seen(Protocol):
    """What a lens gives: something that can be a film of one frame."""

    def film(self) -> Film:
        """The picture as a film of one frame."""


def film(
    method: Callable[..., Seen],
    run: Reader,
    *,
    steps: Literal["all"] | Iterable[int] = "all",
    model: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    **how: Any,
) -> Film:
    """A lens at every snapshot of a run: frames [T, ...] of its pictures.

    `lens.film(lens.saliency, run, image=x, target=3)`; `how` is given to the method, `steps` are some of the run's
    snapshots, `model` is the name of one of several models, `progress(done, total)` is called after each frame. A
    target or layer that the method would choose itself is chosen once, at the last of the steps. Raises NotFoundError
    where there are no snapshots.
    """
    wanted = known_steps(run.stored, steps)
    last: Film | None = None
    frames: Any = None
    for done, (step, seen) in enumerate(looks(method, run.stored, wanted, model=model, **how)):
        last = seen.film()
        if frames is None:
            frames = np.empty((len(wanted), *last.frames.shape[1:]), last.frames.dtype)
        if last.frames.shape[1:] != frames.shape[1:]:
            raise UsageError(
                f"At step {step} the picture is {list(last.frames.shape[1:])}, before {list(frames.shape[1:])}."
            )
        frames[done] = last.frames[0]
        if progress is not None:
            progress(done + 1, len(wanted))
    if last is None:
        raise NotFoundError("This run has no snapshots.", hint="run.watch(model) keeps one after each epoch.")
    epochs = [run.epoch(step) for step in wanted]
    return Film(
        last.name,
        wanted,
        frames,
        axes=last.axes,
        kind=last.kind,
        units=last.units,
        epochs=None if any(e is None for e in epochs) else np.array(epochs, np.float64),
    )


def looks(
    method: Callable[..., Any], run: StoredRun, steps: Sequence[int], *, model: str | None = None, **how: Any
) -> Iterator[tuple[int, Any]]:
    """Step and what the method sees there, one after the other, in the order of `steps`.

    What comes must be used before the next one is asked for: a network's parameters are changed from step to step.
    """
    if method is spectra:
        # What looks at weights alone needs no network, and no PyTorch.
        for step in steps:
            _, graph, tensors = recorded_parameters(run, step, model=model)
            yield step, method(Weights(graph, tensors, step), **how)
        return
    chosen = dict(how)
    for name in _left_open(method, how):
        # Another class or layer at each step would make a film of several things.
        final = method(next(iter(open_each(run, steps[-1:], model=model))), **how)
        chosen |= {name: value for name in ("target", "layer") if (value := getattr(final, name, None)) is not None}
        chosen = {key: value for key, value in chosen.items() if key in how or key in _left_open(method, how)}
        break
    for step, network in zip(steps, open_each(run, steps, model=model), strict=True):
        yield step, method(network, **chosen)


def known_steps(run: StoredRun, steps: Literal["all"] | Iterable[int] = "all") -> list[int]:
    """Those of a run's snapshots that are wanted; NotFoundError for others, and where there are none."""
    known = run.snapshot_steps()
    wanted = list(known) if isinstance(steps, str) else sorted(set(steps))
    if missing := [step for step in wanted if step not in known]:
        raise NotFoundError(f"There is no snapshot at step {missing[0]}.", hint=f"{len(known)} are kept.")
    if not wanted:
        raise NotFoundError("This run has no snapshots.", hint="run.watch(model) keeps one after each epoch.")
    return wanted


def _left_open(method: Callable[..., Any], how: Mapping[str, Any]) -> list[str]:
    """Which of target and layer the method takes and was not given."""
    known = inspect.signature(method).parameters
    return [name for name in ("target", "layer") if name in known and how.get(name) is None and "image" in known]


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
