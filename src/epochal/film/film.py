"""A film: an array over training steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError

FilmKind = Literal["scalar", "tensor", "histogram", "change"]


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """An array over training steps: `frames[T, ...]` at `steps[T]`, which strictly increase.

    `axes` names the axes of one frame, outermost first (`("unit", "input")`). A film of kind `histogram` has counts
    as frames [T, bins] and the outer edges of each row in `edges` [T, 2]. `epochs` [T] holds the epoch at each step,
    NaN where it is not known, None where no epoch is. The arrays cannot be written to; one that its giver could still
    write to is copied.

    >>> film = Film("loss", steps=[0, 10, 20], frames=[0.9, 0.4, 0.2])
    >>> len(film), float(film[10])
    (3, 0.4)
    """

    name: str
    steps: npt.NDArray[np.int64]
    frames: npt.NDArray[Any]
    axes: tuple[str, ...] = ()
    kind: FilmKind = "tensor"
    units: str = ""
    edges: npt.NDArray[np.float64] | None = None
    epochs: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.steps)
        if given.ndim != 1:
            raise UsageError(f"steps of a film are a list of numbers, not of shape {given.shape}.")
        if given.size and not np.issubdtype(given.dtype, np.integer) and not np.array_equal(given, np.floor(given)):
            raise UsageError("steps of a film are whole numbers.")
        steps = given.astype(np.int64)
        frames = np.asarray(self.frames)
        if frames.ndim == 0 or len(frames) != len(steps):
            raise UsageError(
                f"The film {self.name!r} has {len(steps)} steps and {len(frames) if frames.ndim else 'no'} frames.",
                hint="Give one frame for each step: frames[T, ...], steps[T].",
            )
        if not (np.issubdtype(frames.dtype, np.number) or frames.dtype == np.bool_):
            raise UsageError(f"The frames of the film {self.name!r} are {frames.dtype}, not numbers.")
        falls = np.flatnonzero(np.diff(steps) <= 0)
        if falls.size:
            i = int(falls[0])
            raise UsageError(
                f"The steps of the film {self.name!r} must increase: {steps[i]} comes before {steps[i + 1]}."
            )
        if self.axes and len(self.axes) != frames.ndim - 1:
            raise UsageError(
                f"The film {self.name!r} has {len(self.axes)} names for {frames.ndim - 1} axes of a frame."
            )
        object.__setattr__(self, "steps", _kept(steps))
        object.__setattr__(self, "frames", _kept(frames))
        object.__setattr__(self, "axes", tuple(self.axes))
        for name, shape in (("edges", (len(steps), 2)), ("epochs", (len(steps),))):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.asarray(value, np.float64)
            if array.shape != shape:
                raise UsageError(f"{name} of the film {self.name!r} have shape {array.shape}, expected {shape}.")
            object.__setattr__(self, name, _kept(array))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Steps with their frames, in order."""
        return zip(self.steps.tolist(), self.frames, strict=True)

    @overload
    def __getitem__(self, step: slice) -> Film: ...
    @overload
    def __getitem__(self, step: int) -> npt.NDArray[Any]: ...
    def __getitem__(self, step: int | slice) -> Film | npt.NDArray[Any]:
        """The frame at exactly this step, or, for `film[10:50]`, the film of steps 10 to 49."""
        if isinstance(step, slice):
            return self._between(step)
        place = int(np.searchsorted(self.steps, step))
        if place < len(self.steps) and self.steps[place] == step:
            frame: npt.NDArray[Any] = self.frames[place]
            return frame
        if not len(self.steps):
            raise NotFoundError(f"The film {self.name!r} is empty.")
        nearest = int(self.steps[np.argmin(np.abs(self.steps - int(step)))])
        raise NotFoundError(
            f"The film {self.name!r} has no frame at step {step}.", hint=f"The nearest is step {nearest}."
        )

    def _between(self, part: slice) -> Film:
        first = 0 if part.start is None else int(np.searchsorted(self.steps, part.start))
        last = len(self) if part.stop is None else int(np.searchsorted(self.steps, part.stop))
        return self.at(range(first, max(first, last), 1 if part.step is None else int(part.step)))

    def at(self, places: range | list[int] | npt.NDArray[Any]) -> Film:
        """The film of the frames at these places (0 is the first frame), in order."""
        index = np.asarray(places, np.int64)
        return replace(
            self,
            steps=self.steps[index],
            frames=sealed(self.frames[index]),
            edges=None if self.edges is None else self.edges[index],
            epochs=None if self.epochs is None else self.epochs[index],
        )

    def diff(self) -> Film:
        """The change since the frame before: one frame fewer than this film has."""
        if self.kind == "histogram":
            raise UsageError("The change of a histogram is not a film: its edges move.")
        frames = self.frames if np.issubdtype(self.frames.dtype, np.inexact) else self.frames.astype(np.int64)
        return replace(
            self,
            name=f"{self.name}, change",
            steps=self.steps[1:],
            frames=sealed(np.diff(frames, axis=0)),
            kind="change",
            epochs=None if self.epochs is None else self.epochs[1:],
        )

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float = 12.0,
        size: tuple[int, int] | str | None = None,
        cmap: str | None = None,
        theme: str = "light",
    ) -> Path:
        """Write the film as a file whose suffix names the format: gif, mp4, png, svg, npz or csv.

        GIF and MP4 play all frames; PNG and SVG show the last one (a scalar: the whole curve). Values keep one
        symmetric scale through the film. NPZ holds `steps` and `frames` exactly; CSV has a row for each value.
        """
        from epochal.film.save import save

        return save(self, path, fps=fps, size=size, cmap=cmap, theme=theme)

    def __repr__(self) -> str:
        if not len(self):
            return f"Film({self.name!r}, empty)"
        shape = "×".join(map(str, self.frames.shape[1:])) or "scalar"
        return f"Film({self.name!r}, {len(self)} frames of {shape}, steps {self.steps[0]} to {self.steps[-1]})"

    def _repr_html_(self) -> str:
        from epochal.film.save import html

        return html(self)


def sealed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, for a fresh one that nobody else holds: closed to writing, so that a film need not copy it."""
    array.flags.writeable = False
    return array


def _kept(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return sealed(array.copy()) if array.flags.writeable else array
