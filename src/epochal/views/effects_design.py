"""The design that a lab's finished trials make: which configurations there are, and at which levels of each parameter.

Trials of equal parameters are repeats of one configuration. A parameter's levels are its values; of a number with
many values, stretches that hold equally many configurations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NOT_SET", "Design", "Level", "Observation", "make_design", "value_text"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOT_SET = "not set"
LEVELS_MOST = 8
"""A number with more values than this is cut into stretches."""
_FEW = 24


@dataclass(frozen=True, slots=True)
class Observation:
    """One finished trial: its parameters, what its objective came to, and the seed it was trained from."""

    parameters: Mapping[str, Any]
    value: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One value of a parameter, or a stretch of values (`low` to `high`, both included)."""

    label: str
    value: Any = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """Configurations as rows: `codes` [C, P] say at which level each stands, `exact` [C, P] number its very values.

    `means` [C] are over the configuration's repeats, `counts` [C] how many there are, `squares` [C] the sums of their
    squared distances from their mean and `freedom` [C] the degrees of freedom of these. Where all configurations were
    trained from the same seeds (`blocked`), what a seed does to all of them alike is taken out of the squares.
    `values` [N] and `cells` [N] are the trials.
    """

    parameters: tuple[str, ...]
    levels: tuple[tuple[Level, ...], ...]
    codes: Ints
    exact: Ints
    means: Floats
    counts: Ints
    squares: Floats
    freedom: Floats
    blocked: bool
    values: Floats
    cells: Ints

    @property
    def configurations(self) -> int:
        """How many configurations there are."""
        return len(self.means)

    @property
    def noise(self) -> tuple[float, float]:
        """The pooled variance of repeats and its degrees of freedom; (NaN, 0) where nothing was repeated."""
        freedom = float(self.freedom.sum())
        return (float(self.squares.sum()) / freedom if freedom > 0 else math.nan), freedom


def make_design(observations: Sequence[Observation]) -> Design:
    """Sort trials into configurations; parameters that never change are left out."""
    names = list(dict.fromkeys(name for one in observations for name in one.parameters))
    keys = {name: [_key(one.parameters.get(name, NOT_SET)) for one in observations] for name in names}
    varying = [name for name in names if len(set(keys[name])) > 1]
    rows: dict[tuple[str, ...], int] = {}
    cells = np.array(
        [rows.setdefault(tuple(keys[name][i] for name in varying), len(rows)) for i in range(len(observations))],
        dtype=np.int64,
    )
    first = [int(np.flatnonzero(cells == c)[0]) for c in range(len(rows))]
    levels: list[tuple[Level, ...]] = []
    codes = np.zeros((len(rows), len(varying)), dtype=np.int64)
    exact = np.zeros_like(codes)
    for p, name in enumerate(varying):
        values = [observations[i].parameters.get(name, NOT_SET) for i in first]
        numbered = {key: k for k, key in enumerate(sorted({keys[name][i] for i in first}))}
        exact[:, p] = [numbered[keys[name][i]] for i in first]
        found, codes[:, p] = _levels(values)
        levels.append(found)
    y = np.array([one.value for one in observations], dtype=np.float64)
    seeds = [one.seed for one in observations]
    means, counts, squares, freedom, blocked = _spread(y, cells, len(rows), seeds)
    return Design(
        parameters=tuple(varying),
        levels=tuple(levels),
        codes=codes,
        exact=exact,
        means=means,
        counts=counts,
        squares=squares,
        freedom=freedom,
        blocked=blocked,
        values=y,
        cells=cells,
    )


def value_text(value: Any) -> str:
    """A parameter's value as people write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.6g}"
    return _key(value)


def _key(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # 1 and 1.0 are one value
    return json.dumps(value, sort_keys=True, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _levels(values: Sequence[Any]) -> tuple[tuple[Level, ...], Ints]:
    """The levels of a parameter and the level of each configuration."""
    keys = [_key(value) for value in values]
    known = dict(zip(keys, values, strict=True))
    numbers = [value for value in known.values() if _is_number(value)]
    if len(numbers) > LEVELS_MOST:
        return _stretches(values)
    order = sorted(known, key=lambda k: _rank(known[k], k))
    place = {key: k for k, key in enumerate(order)}
    found = tuple(
        Level(label=value_text(known[key]), value=None if known[key] == NOT_SET else known[key]) for key in order
    )
    return found, np.array([place[key] for key in keys], dtype=np.int64)


def _rank(value: Any, key: str) -> tuple[Any, ...]:
    """Numbers by their size, then lists of numbers, then everything else by its text."""
    if _is_number(value):
        return (0, (value,), key)
    if isinstance(value, list | tuple) and value and all(_is_number(one) for one in value):
        return (1, tuple(value), key)
    return (2, (), key)


def _stretches(values: Sequence[Any]) -> tuple[tuple[Level, ...], Ints]:
    numbers = np.array([value for value in values if _is_number(value)], dtype=np.float64)
    parts = 3 if len(numbers) < _FEW else 4
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, parts + 1)[1:-1]))
    codes = np.zeros(len(values), dtype=np.int64)
    others: dict[str, int] = {}
    for i, value in enumerate(values):
        if _is_number(value):
            codes[i] = int(np.searchsorted(edges, float(value), side="left"))
        else:
            codes[i] = -1 - others.setdefault(_key(value), len(others))
    found: list[Level] = []
    renumbered = np.zeros(len(values), dtype=np.int64)
    for code in sorted({int(c) for c in codes}, key=lambda c: (c < 0, abs(c))):
        inside = [values[i] for i in np.flatnonzero(codes == code).tolist()]
        renumbered[codes == code] = len(found)
        if code < 0:
            found.append(Level(label=value_text(inside[0]), value=None if inside[0] == NOT_SET else inside[0]))
            continue
        low, high = float(min(inside)), float(max(inside))
        label = value_text(low) if low == high else f"{low:.3g} – {high:.3g}"
        found.append(Level(label=label, low=low, high=high))
    return tuple(found), renumbered


def _spread(y: Floats, cells: Ints, size: int, seeds: Sequence[int]) -> tuple[Floats, Ints, Floats, Floats, bool]:
    counts: Ints = np.bincount(cells, minlength=size).astype(np.int64)
    means = np.bincount(cells, weights=y, minlength=size) / counts
    rest = y - means[cells]
    freedom = (counts - 1).astype(np.float64)
    blocks = {seed: b for b, seed in enumerate(dict.fromkeys(seeds))}
    # One trial of each seed in each configuration: a block design, in which what a seed does to all is no noise.
    repeats = len(blocks)
    pairs = {(int(c), seed) for c, seed in zip(cells, seeds, strict=True)}
    blocked = repeats > 1 and size > 1 and len(pairs) == len(y) == size * repeats
    if blocked:
        block = np.array([blocks[seed] for seed in seeds])
        rest = rest - (np.bincount(block, weights=rest, minlength=repeats) / size)[block]
        freedom = freedom * (size - 1) / size
    squares: Floats = np.bincount(cells, weights=rest * rest, minlength=size).astype(np.float64)
    return np.asarray(means, dtype=np.float64), counts, squares, freedom, blocked
