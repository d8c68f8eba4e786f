"""Activation maximisation: the picture that a channel, a unit, a class or a direction answers to most.

Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep Network", 2009; with the means of
Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017: frequencies, uncorrelated colours, small moves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.film import Film
from epochal.lens.asking import Subject, Target
from epochal.lens.colouring import as_pixels, sections
from epochal.lens.goal import Canvas, Goal
from epochal.lens.painting import Shaking
from epochal.lens.rules import deconvolution
from epochal.network import Preparation
from epochal.picture import Panel, PanelsScene, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "Maximized", "maximize", "maximizing"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Preview = Callable[["Maximized"], object]

CITATION = "Activation maximisation (Erhan et al. 2009; Olah, Mordvintsev and Schubert 2017)"
_MOST_SETBACKS = 8
_KICKS = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maximized:
    """The picture found so far: `array` as the network takes it, `pixels` [H, W, 3] uint8 as people see it.

    `objective` is what the network answers to it, `start` what it answered to the first picture, both without random
    moves; `curve` holds the objective at each step, with them. `done` of `steps` steps have been made.

    For a network that takes volumes `volume` [D, H, W] says where it should be lighter (up to 1) or darker (down to -1)
    than grey, and `pixels` are the three slices through its middle.
    """

    array: Array
    pixels: Pixels
    objective: float
    start: float
    curve: Array
    done: int
    steps: int
    what: str
    volume: Array | None = None
    caption: str = CITATION
    step: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, float]:
        """The figures in it by name."""
        return {"objective": self.objective, "start": self.start, "steps": self.done}

    def film(self) -> Film:
        """The picture, or the volume, as a film of one frame."""
        if self.volume is not None:
            return Film(self.what, [self.step or 0], self.volume[None], axes=("slice", "row", "column"))
        return Film(self.what, [self.step or 0], self.pixels[None], axes=("row", "column", "colour"), kind="image")

    def scene(self, *, mode: str = "light", size: tuple[int, int] | None = None) -> PanelsScene:
        """The picture with what it is of, and whose idea it is."""
        name = f"{self.start:.3g} → {self.objective:.3g}"
        return PanelsScene(
            panels=[Panel(pixels=self.pixels, title=name)],
            theme=theme(mode),
            title=f"What {self.what} answers to most",
            captions=["" if self.step is None else f"step {self.step:,}"],
            wanted=size,
            note=self.caption,
        )

    def save(self, path: str | os.PathLike[str], *, theme: str = "light", size: tuple[int, int] | None = None) -> Path:
        """Write the picture as .png or .svg; .npz holds its pixels alone. A volume may turn, as .gif or .mp4."""
        kind = Path(path).suffix.lower()
        if kind in (".npz", ".csv") or (self.volume is not None and kind in (".gif", ".mp4")):
            return self.film().save(path, theme=theme, size=size)
        return save_scene(self.scene(mode=theme, size=size), path)

    def __repr__(self) -> str:
        return f"<Maximized {self.what}, {self.start:.3g} → {self.objective:.3g} in {self.done} steps>"


def maximize(network: Any, *, preview: Preview | None = None, every: int = 16, **how: Any) -> Maximized:
    """The picture that something in a network answers to most; see `maximizing` for what can be said.

    `preview` is called with the picture so far after each `every` steps, and ends the search by returning False.
    """
    found: Maximized | None = None
    for found in maximizing(network, every=every, **how):
        if preview is not None and found.done < found.steps and preview(found) is False:
            break
    if found is None:
        raise UsageError("steps must be at least 1.")
    return found


def maximizing(
    network: Any,
    *,
    layer: str | None = None,
    channel: int | None = None,
    place: Sequence[int] | None = None,
    direction: Any = None,
    target: Target | None = None,
    steps: int = 128,
    every: int = 16,
    rate: float = 0.05,
    size: tuple[int, ...] | None = None,
    shaken: bool = True,
    decorrelated: bool = True,
    preparation: Preparation | None = None,
    seed: int = 0,
) -> Iterator[Maximized]:
    """Search for that picture; gives it after each `every` steps and at the end.

    What is to answer: a class `target` (what the network puts out for it), or in a `layer` a `channel` (its mean over
    all places), with `place` (row, column) one unit of it, or a `direction` [channels]. The picture has the network's
    1 to n channels and its size; `size` (height, width) is needed where that is not known. Of a network that takes
    volumes it is one, and places and sizes begin with the depth. `preparation` says how
    pictures become inputs where the network does not: otherwise colours go in from 0 to 1. `shaken` moves the picture
    a little before each step, `decorrelated` mixes three colours from uncorrelated ones, `rate` is that of Adam.

    A step that leads to values that are not finite is taken back and the rate halved. Raises NotFoundError for what is
    not there, NetworkError where the objective is not finite from the start or does not depend on the picture.
    """
    if steps < 1 or every < 1 or not rate > 0:
        raise UsageError("steps and every must be at least 1, and rate above 0.")
    subject = Subject(network)
    goal = Goal(subject, layer=layer, channel=channel, place=place, direction=direction, target=target)
    canvas = Canvas(subject, preparation, size, seed=seed, decorrelated=decorrelated)
    yield from _Search(goal, canvas, Shaking() if shaken else None, rate=rate, seed=seed).run(steps, every)


@final
class _Search:
    """Adam on the spectrum, with a guard against values that are not finite."""

    def __init__(self, goal: Goal, canvas: Canvas, shaking: Shaking | None, *, rate: float, seed: int) -> None:
        self._goal, self._canvas, self._shaking = goal, canvas, shaking
        self._spectrum = canvas.painting.spectrum
        self._optimizer = torch.optim.Adam([self._spectrum], lr=rate)
        self._chance = torch.Generator().manual_seed(seed + 1)
        self._curve: list[float] = []
        self._setbacks = self._kicks = 0

    def run(self, steps: int, every: int) -> Iterator[Maximized]:
        """The picture after each `every` steps and at the end."""
        with self._goal.subject.asking(gradients=False):
            start = self._clean()
        if not np.isfinite(start):
            raise NetworkError(
                f"{self._goal.what} is {start} for the first picture: there is nothing to climb.",
                hint="Are there parameters that are not finite?",
            )
        for done in range(1, steps + 1):
            with self._goal.subject.asking(gradients=True):
                gave_up = not self._climb()
            if done == steps or done % every == 0 or gave_up:
                yield self._found(start, done, steps)
            if gave_up:
                return

    def _climb(self) -> bool:
        """One step; False where no step leads to finite values."""
        before = self._spectrum.detach().clone()
        held = self._kept()
        while self._setbacks <= _MOST_SETBACKS:
            value, gradient = self._gradient()
            if np.isfinite(value) and bool(torch.isfinite(gradient).all()):
                self._spectrum.grad = -gradient
                self._optimizer.step()
                self._curve.append(value)
                self._last = (before, held)
                return True
            # The step before led here: it is taken back, and the way is tried with shorter steps.
            self._setbacks += 1
            if not self._curve:
                raise NetworkError(f"The gradient of {self._goal.what} is not finite: no step can be taken.")
            self._restore(*self._last)
            before, held = self._last
            for group in self._optimizer.param_groups:
                group["lr"] /= 2
        return False

    def _gradient(self) -> tuple[float, Tensor]:
        picture = self._canvas.painting.picture()
        moved = picture if self._shaking is None else self._shaking(picture, self._chance)
        value = self._goal(self._canvas.input(moved))
        if not value.requires_grad:
            raise NetworkError(f"{self._goal.what} does not depend on the picture by operations that have gradients.")
        (gradient,) = torch.autograd.grad(value, self._spectrum, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise NetworkError(f"{self._goal.what} does not depend on the picture.")
        if not torch.count_nonzero(gradient) and self._kicks < _KICKS:
            # Rectifiers that are shut let nothing back: until they open, what would open them is let through.
            self._kicks += 1
            with deconvolution(value):
                (gradient,) = torch.autograd.grad(value, self._spectrum)
        return float(value.detach()), gradient

    def _kept(self) -> Any:
        return {key: value.clone() for key, value in self._optimizer.state.get(self._spectrum, {}).items()}

    def _restore(self, spectrum: Tensor, held: Any) -> None:
        with torch.no_grad():
            self._spectrum.copy_(spectrum)
        self._optimizer.state.pop(self._spectrum, None)
        if held:
            self._optimizer.state[self._spectrum] = held

    def _clean(self) -> float:
        with torch.no_grad():
            return float(self._goal(self._canvas.input(self._canvas.painting.picture())))

    def _found(self, start: float, done: int, steps: int) -> Maximized:
        with self._goal.subject.asking(gradients=False):
            picture = self._canvas.painting.picture()
            objective = float(self._goal(self._canvas.input(picture)))
            if not np.isfinite(objective) and self._curve:
                self._restore(*self._last)
                picture = self._canvas.painting.picture()
                objective = float(self._goal(self._canvas.input(picture)))
            array = self._canvas.input(picture)[0].float().cpu().numpy().copy()
        seen = picture[0].float().cpu().numpy()
        return Maximized(
            array=array,
            pixels=_shown(seen if seen.ndim == 3 else sections(seen)),
            volume=None if seen.ndim == 3 else 2 * seen.mean(axis=0) - 1,
            objective=objective,
            start=start,
            curve=np.array(self._curve),
            done=done,
            steps=steps,
            what=self._goal.what,
            step=self._goal.subject.step,
            notes=self._notes(done, steps),
        )

    def _notes(self, done: int, steps: int) -> tuple[str, ...]:
        notes = []
        if self._setbacks:
            notes.append(f"{self._setbacks} steps led to values that are not finite and were taken back")
        if self._kicks:
            notes.append(f"rectifiers were shut at first: {self._kicks} steps went by what would open them")
            if self._kicks >= _KICKS and not any(self._curve):
                notes.append("nothing opened them: the picture is noise")
        if len(self._curve) < done <= steps:
            notes.append(f"the search ended after {len(self._curve)} of {steps} steps")
        return tuple(notes)


def _shown(picture: Array) -> Pixels:
    """A picture [C, H, W] from 0 to 1 as pixels: three channels in colours, others as the mean of all."""
    colours = picture if len(picture) == 3 else np.repeat(picture.mean(axis=0, keepdims=True), 3, axis=0)
    return as_pixels(colours.transpose(1, 2, 0))
