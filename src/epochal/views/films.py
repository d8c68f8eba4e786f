"""Films of parameters and gradients: every kept frame of one tensor, as it was, as change, or since the start.

One scale holds for a whole film, whichever part of it is asked for, so that a colour means the same from the first
frame to the last. Large films are sent as bytes on that scale, and very large ones with only every n-th frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError

__all__ = ["Extremes", "FilmStack", "Frames", "Mode", "make_film", "quantise"]

Mode = Literal["value", "change", "since"]
Encoding = Literal["auto", "f4", "u1"]
Floats = npt.NDArray[np.float32]

_SENT_AS_F4 = 4 << 20
_SENT_AT_MOST = 64 << 20
_SENT_AS_F4_AT_MOST = 256 << 20
_HELD_AT_MOST = 128 << 20
_MEASURED_AT_MOST = 512 << 20
_READ_AT_ONCE = 8 << 20


class Frames(Protocol):
    """One tensor at all steps at which it was kept: what a film is made from."""

    @property
    def steps(self) -> Sequence[int]:
        """All steps, growing."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        ...

    def read(self, steps: Sequence[int]) -> npt.NDArray[Any]:
        """Frames [len(steps), ...] at some of the steps."""
        ...


@dataclass(frozen=True, slots=True)
class _Extreme:
    lo: float  # NaN where the frame has no finite value
    hi: float
    nonfinite: int


class Extremes:
    """What each frame's extremes came to, so that a film that grows is not measured from its start every time."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], _Extreme] = {}

    def get(self, mode: str, step: int) -> _Extreme | None:
        """A frame's extremes, None when it was not measured yet."""
        return self._of.get((mode, step))

    def put(self, mode: str, step: int, extreme: _Extreme) -> None:
        """Remember a frame's extremes."""
        self._of[mode, step] = extreme


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FilmStack:
    """Frames ready to be sent: float32 as they are, or bytes with value = (byte - 128) / 127 * limit, 0 not finite.

    `limit`, `lo`, `hi` and `nonfinite` hold for the whole film; `lo` and `hi` are NaN when nothing in it is finite.
    `total` frames are kept in the steps asked for; every `stride`-th is here, the last one always.
    """

    steps: npt.NDArray[np.int64]
    frames: npt.NDArray[Any]
    encoding: Literal["f4", "u1"]
    limit: float
    lo: float
    hi: float
    nonfinite: int
    total: int
    stride: int


def make_film(
    source: Frames,
    *,
    mode: Mode = "value",
    encoding: Encoding = "auto",
    start: int | None = None,
    end: int | None = None,
    extremes: Extremes | None = None,
) -> FilmStack:
    """The frames from step `start` to step `end`, both included.

    `change` is the difference from the frame before, `since` from the first one of all.
    """
    if not source.steps:
        raise NotFoundError("no frame of this tensor was kept")
    low, high = (-math.inf if start is None else start), (math.inf if end is None else end)
    chosen = [step for step in source.steps if low <= step <= high]
    size = math.prod(source.shape)
    packed: Literal["f4", "u1"] = "f4" if encoding == "f4" else "u1"
    if encoding == "auto" and 4 * size * len(source.steps) <= _SENT_AS_F4:
        packed = "f4"
    per_frame, most = (4 * size, _SENT_AS_F4_AT_MOST) if packed == "f4" else (size, _SENT_AT_MOST)
    stride = max(1, math.ceil(per_frame * len(chosen) / most))
    shown = chosen[::-1][::stride][::-1]

    known = Extremes() if extremes is None else extremes
    measured = source.steps[:: max(1, math.ceil(4 * size * len(source.steps) / _MEASURED_AT_MOST))]
    measured = sorted({*measured, *shown})
    hold = packed == "f4" or 4 * size * len(shown) <= _HELD_AT_MOST
    held = np.empty((len(shown) if hold else 0, *source.shape), np.float32)
    place = {step: i for i, step in enumerate(shown)}
    needed = [s for s in measured if (hold and s in place) or known.get(mode, s) is None]
    for step, frame in _walk(source, needed, mode):
        if known.get(mode, step) is None:
            known.put(mode, step, _measure(frame))
        if hold and step in place:
            held[place[step]] = frame
    found = [e for step in measured if (e := known.get(mode, step)) is not None]
    lo = min((e.lo for e in found if not math.isnan(e.lo)), default=math.nan)
    hi = max((e.hi for e in found if not math.isnan(e.hi)), default=math.nan)
    limit = 0.0 if math.isnan(lo) else max(abs(lo), abs(hi))
    frames: npt.NDArray[Any] = held
    if packed == "u1":
        frames = np.empty((len(shown), *source.shape), np.uint8)
        for step, frame in zip(shown, held, strict=True) if hold else _walk(source, shown, mode):
            extreme = known.get(mode, step)
            quantise(frame, limit, out=frames[place[step], ...], finite=extreme is not None and not extreme.nonfinite)
    return FilmStack(
        steps=np.array(shown, dtype=np.int64),
        frames=frames,
        encoding=packed,
        limit=limit,
        lo=lo,
        hi=hi,
        nonfinite=sum(e.nonfinite for e in found),
        total=len(chosen),
        stride=stride,
    )


def quantise(frame: Floats, limit: float, *, out: npt.NDArray[np.uint8], finite: bool = False) -> None:
    """Write `frame` into `out` as bytes on the scale -limit..limit; `finite` says that all of it is known to be."""
    frame, out = np.asarray(frame).reshape(-1), out.reshape(-1)  # views, also of a single number
    if limit == 0.0:
        out[...] = 128 if finite else np.where(np.isfinite(frame), 128, 0)
        return
    # float32 holds 127 / limit for all but the tiniest limits.
    wide = frame.astype(np.float64) if limit < 1e-35 else frame
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = wide * wide.dtype.type(127.0 / limit)
        scaled += wide.dtype.type(128.5)  # rounds to the nearest when the fraction is cut off
    if not finite:
        scaled[~np.isfinite(frame)] = 0.0
    np.copyto(out, scaled, casting="unsafe")


def _walk(source: Frames, steps: Sequence[int], mode: Mode) -> Iterator[tuple[int, Floats]]:
    """Each frame at `steps` (growing) in turn, drawn as `mode` says, read a few megabytes at once."""
    at_once = max(1, _READ_AT_ONCE // max(1, 4 * math.prod(source.shape)))
    index = {step: i for i, step in enumerate(source.steps)}
    reference = _as_f4(source.read(source.steps[:1])[0]) if steps and mode != "value" else np.empty(0, np.float32)
    before: tuple[int, Floats] | None = None
    for begin in range(0, len(steps), at_once):
        part = steps[begin : begin + at_once]
        for step, raw in zip(part, source.read(part), strict=True):
            frame = _as_f4(raw)
            if mode == "value":
                yield step, frame
                continue
            if mode == "change":
                previous = source.steps[max(0, index[step] - 1)]
                if previous == step:
                    reference = frame
                elif before is not None and before[0] == previous:
                    reference = before[1]
                else:
                    reference = _as_f4(source.read([previous])[0])
                before = (step, frame)
            with np.errstate(invalid="ignore", over="ignore"):
                yield step, frame - reference


def _as_f4(frame: npt.NDArray[Any]) -> Floats:
    values = np.asarray(frame)
    if np.iscomplexobj(values):
        values = np.abs(values)  # a colour has one direction only
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def _measure(frame: Floats) -> _Extreme:
    if frame.size == 0:
        return _Extreme(math.nan, math.nan, 0)
    lo, hi = float(frame.min()), float(frame.max())
    if math.isfinite(lo) and math.isfinite(hi):  # min and max let a NaN through, and an infinity is one of them
        return _Extreme(lo, hi, 0)
    finite = frame[np.isfinite(frame)]
    if not finite.size:
        return _Extreme(math.nan, math.nan, frame.size)
    return _Extreme(float(finite.min()), float(finite.max()), frame.size - finite.size)
