"""A film: an array over training steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError

FilmKind = Literal["scalar", "tensor", "histogram", "change", "image"]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Film:
    """An array over training steps: `frames[T, ...]` at `steps[T]`, which strictly increase.

    `axes` names the axes of one frame, outermost first (`("unit", "input")`). A film of kind `histogram` has counts
    as frames [T, bins] and the outer edges of each row in `edges` [T, 2]; one of kind `image` has pictures [T, H, W] or
    [T, H, W, C], uint8. `epochs` [T] holds the epoch at each step, NaN where it is not known, None where no epoch is.
    The arrays cannot be written to; one that its giver could still write to is copied.

    >>> film = Film("loss", steps=[0, 10, 20], frames=[0.9, 0.4, 0.2])
    >>> len(film), float(film[10])
    (3, 0.4)
    """

    name: str
    steps: npt.NDArray[np.int64]
    frames: npt.NDArray[Any]
    axes: tuple[str, ...]
    kind: FilmKind
    units: str
    edges: npt.NDArray[np.float64] | None
    epochs: npt.NDArray[np.float64] | None

    def __init__(
        self,
        name: str,
        steps: npt.ArrayLike,
        frames: npt.ArrayLike,
        axes: Sequence[str] = (),
        kind: FilmKind = "tensor",
        units: str = "",
        edges: npt.ArrayLike | None = None,
        epochs: npt.ArrayLike | None = None,
    ) -> None:
        times, values = _checked_steps(name, steps), np.asarray(frames)
        if values.ndim == 0 or len(values) != len(times):
            raise UsageError(
                f"The film {name!r} has {len(times)} steps and {len(values) if values.ndim else 'no'} frames.",
                hint="Give one frame for each step: frames[T, ...], steps[T].",
            )
        if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
            raise UsageError(f"The frames of the film {name!r} are {values.dtype}, not numbers.")
        if axes and len(axes) != values.ndim - 1:
            raise UsageError(f"The film {name!r} has {len(axes)} names for {values.ndim - 1} axes of a frame.")
        held = {
            "name": name,
            "steps": _kept(times),
            "frames": _kept(values),
            "axes": tuple(axes),
            "kind": kind,
            "units": units,
            "edges": _checked("edges", name, edges, (len(times), 2)),
            "epochs": _checked("epochs", name, epochs, (len(times),)),
        }
        for field, value in held.items():
            object.__setattr__(self, field, value)

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


def _checked_steps(name: str, steps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    given = np.asarray(steps)
    if given.ndim != 1:
        raise UsageError(f"The steps of the film {name!r} are a list of numbers, not of shape {given.shape}.")
    if given.size and not np.issubdtype(given.dtype, np.integer) and not np.array_equal(given, np.floor(given)):
        raise UsageError(f"The steps of the film {name!r} are whole numbers.")
    times = given.astype(np.int64)
    falls = np.flatnonzero(np.diff(times) <= 0)
    if falls.size:
        here, after = times[falls[0]], times[falls[0] + 1]
        raise UsageError(f"The steps of the film {name!r} must increase: {here} comes before {after}.")
    return times


def _checked(
    what: str, name: str, value: npt.ArrayLike | None, shape: tuple[int, ...]
) -> npt.NDArray[np.float64] | None:
    if value is None:
        return None
    array = np.asarray(value, np.float64)
    if array.shape != shape:
        raise UsageError(f"{what} of the film {name!r} have shape {array.shape}, expected {shape}.")
    return _kept(array)
