"""Scalar series thinned for a screen without losing an extreme.

A series is cut into stretches of equally many rows; of each, the first, the least, the greatest and the last row are
kept, as they were recorded. Rows that are not finite are kept too. So every spike and every gap of a million rows is
still there in two thousand, and nothing is there that was not recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Curve", "Kept", "keep_rows", "make_curve"]

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

_ROWS_OF_A_STRETCH = 4


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The rows to keep, growing, and how many of all rows were NaN and how many infinite."""

    rows: Rows
    nan: int
    inf: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Curve:
    """What is drawn of a series: `steps`, `t` (unix seconds) and `values` of the kept rows, in recorded order.

    `n`, `nan` and `inf` count all rows of the steps asked for, kept or not.
    """

    name: str
    steps: Steps
    t: Floats
    values: Floats
    n: int
    nan: int
    inf: int


def make_curve(
    name: str, steps: Steps, t: Floats, values: Floats, *, points: int, start: int | None = None, end: int | None = None
) -> Curve:
    """A series from step `start` to step `end` (both included) in about `points` rows; 0 keeps every row."""
    if start is not None or end is not None:
        inside = _rows_between(steps, start, end)
        steps, t, values = steps[inside], t[inside], values[inside]
    kept = keep_rows(values, points=points)
    n = len(values)
    if len(kept.rows) < n:
        steps, t, values = steps[kept.rows], t[kept.rows], values[kept.rows]
    return Curve(name=name, steps=steps, t=t, values=values, n=n, nan=kept.nan, inf=kept.inf)


def _rows_between(steps: Steps, start: int | None, end: int | None) -> slice | npt.NDArray[np.bool_]:
    """Which rows lie between two steps; a slice where steps only grow, as they nearly always do: it copies nothing."""
    if bool((steps[1:] >= steps[:-1]).all()):
        first = 0 if start is None else int(np.searchsorted(steps, start, side="left"))
        last = len(steps) if end is None else int(np.searchsorted(steps, end, side="right"))
        return slice(first, max(first, last))
    inside = np.ones(len(steps), dtype=bool)
    if start is not None:
        inside &= steps >= start
    if end is not None:
        inside &= steps <= end
    return inside


def keep_rows(values: Floats, *, points: int) -> Kept:
    """Choose about `points` rows of `values` [n] (0: all), never losing an extreme of a stretch.

    All rows that are not finite are kept while they are at most `points`; of more (a run that diverged and went on),
    the first and last NaN, +inf and -inf of each stretch, so that the answer stays bounded.
    """
    n = len(values)
    if points <= 0 or n <= points:
        nan = int(np.isnan(values).sum())
        return Kept(np.arange(n, dtype=np.intp), nan, n - nan - int(np.isfinite(values).sum()))
    stretches = max(1, points // _ROWS_OF_A_STRETCH)
    width = -(-n // stretches)
    whole = n // width
    cut = whole * width
    blocks = values[:cut].reshape(whole, width)
    starts = np.arange(whole, dtype=np.intp) * width
    least = blocks.argmin(axis=1) + starts
    greatest = blocks.argmax(axis=1) + starts
    chosen = [starts, least, greatest, starts + (width - 1)]
    # argmin and argmax stop at a NaN, and an infinity is itself an extreme: a stretch whose two extremes are finite
    # is finite throughout, so only the others are looked at row by row.
    odd_blocks = np.flatnonzero(~(np.isfinite(values[least]) & np.isfinite(values[greatest])))
    odd_parts: list[Rows] = [np.empty(0, dtype=np.intp)]
    if len(odd_blocks):
        rows, odd_here = _extremes_of_odd_blocks(blocks, odd_blocks)
        chosen.append(rows)
        odd_parts.append(odd_here)
    if cut < n:
        rows, odd_here = _extremes_of_rest(values[cut:])
        chosen.append(rows + cut)
        odd_parts.append(odd_here + cut)
    odd = np.concatenate(odd_parts)
    odd_values = values[odd]
    nan = int(np.isnan(odd_values).sum())
    chosen.append(odd if len(odd) <= points else _ends_of_odd(odd, odd_values, width=width))
    rows = np.sort(np.concatenate(chosen))  # ten times as quick as np.unique, which hashes
    return Kept(rows[np.concatenate([[True], rows[1:] != rows[:-1]])], nan, len(odd) - nan)


def _extremes_of_odd_blocks(blocks: npt.NDArray[np.float64], which: Rows) -> tuple[Rows, Rows]:
    """Rows of the least and greatest finite values of some blocks, and all their rows that are not finite."""
    width = blocks.shape[1]
    part = blocks[which]
    finite = np.isfinite(part)
    least = np.where(finite, part, np.inf).argmin(axis=1)
    greatest = np.where(finite, part, -np.inf).argmax(axis=1)
    block, column = np.nonzero(~finite)
    return np.concatenate([which * width + least, which * width + greatest]), which[block] * width + column


def _extremes_of_rest(values: Floats) -> tuple[Rows, Rows]:
    """As above for the rows after the last whole stretch, with the first and last of them."""
    finite = np.isfinite(values)
    rows = [0, len(values) - 1]
    if finite.any():
        rows += [int(np.where(finite, values, np.inf).argmin()), int(np.where(finite, values, -np.inf).argmax())]
    return np.array(rows, dtype=np.intp), np.flatnonzero(~finite)


def _ends_of_odd(rows: Rows, values: Floats, *, width: int) -> Rows:
    """The first and last row of each kind (NaN, +inf, -inf) in each stretch."""
    kind = np.where(np.isnan(values), 0, np.where(values > 0, 1, 2))
    group = (rows // width) * 3 + kind
    order = np.argsort(group, kind="stable")
    sorted_group = group[order]
    edge = np.flatnonzero(sorted_group[1:] != sorted_group[:-1]) + 1
    firsts = np.concatenate([[0], edge])
    lasts = np.concatenate([edge, [len(rows)]]) - 1
    ends: Rows = rows[order[np.concatenate([firsts, lasts])]]
    return ends
