"""Statistics and histograms of many tensors at once, exact and in numpy alone.

Histograms equal `numpy.histogram(values, 64, (lo, hi))` of the finite values taken as float64, to the last count.
numpy's own routine costs 30 us a tensor and reads each value about ten times in float64; a look at a network has
hundreds of tensors. What is done instead, in the values' own precision:

1. `f = (v - lo) * 64 / (hi - lo)` says the bin, wrong by at most `NEAR` bins (float32 errs by 2e-5, float64 by less;
   where the range is so narrow or so wide that this does not hold, the tensor goes to `_one_by_one`).
2. So only values with `f` within `NEAR` of a whole number can be in doubt: some in ten thousand. For these the edge in
   question is computed as numpy computes it (`k * step + lo` in float64) and compared.
3. Short tensors are laid end to end, and bin `k` of tensor `s` is counted as `64 s + k` by one `bincount`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 64
BLOCK = 32_768
"""Values handled at a time: the working arrays of a block stay in the second-level cache."""
BLOCKS = 8
"""Blocks of a long tensor that are counted together."""
NEAR = 1e-4
_MAX = float(np.finfo(np.float64).max)

Floats = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Statistics of n tensors, a column each, in the order given; `counts` is [n, 64].

    `change` is the 2-norm of the difference to the tensor's values before, NaN where there are none.
    """

    mean: Doubles
    std: Doubles
    min: Doubles
    max: Doubles
    norm: Doubles
    change: Doubles
    zeros: Whole
    nan: Whole
    inf: Whole
    size: Whole
    lo: Doubles
    hi: Doubles
    counts: npt.NDArray[np.uint32]

    @classmethod
    def empty(cls, n: int) -> Table:
        """A table of n tensors without values."""

        def unknown() -> Doubles:
            return np.full(n, np.nan)

        def none() -> Whole:
            return np.zeros(n, np.int64)

        return cls(
            mean=unknown(), std=unknown(), min=unknown(), max=unknown(), norm=unknown(), change=unknown(),
            zeros=none(), nan=none(), inf=none(), size=none(),
            lo=np.full(n, -0.5), hi=np.full(n, 0.5), counts=np.zeros((n, BINS), np.uint32),
        )  # fmt: skip


def describe(values: Floats, sizes: npt.NDArray[np.intp], before: Floats | None = None) -> Table:
    """Describe tensors that lie end to end in `values` (float32 or float64, 1-d), `sizes` values each.

    `before` holds the same tensors' earlier values in the same places.
    """
    table = Table.empty(len(sizes))
    table.size[:] = sizes
    ends = np.cumsum(sizes)
    filled = np.flatnonzero(sizes)
    at = 0
    with np.errstate(all="ignore"):
        while at < len(filled):
            first = filled[at]
            start = int(ends[first] - sizes[first])
            if sizes[first] > BLOCK:
                piece = slice(start, int(ends[first]))
                _long(table, int(first), values[piece], None if before is None else before[piece])
                at += 1
                continue
            past = at + 1
            while past < len(filled) and sizes[filled[past]] <= BLOCK and ends[filled[past]] - start <= 2 * BLOCK:
                past += 1
            rows = filled[at:past]
            piece = slice(start, int(ends[rows[-1]]))
            _short(table, rows, values[piece], sizes[rows], None if before is None else before[piece])
            at = past
    return table


def outer_edges(low: float, high: float) -> tuple[float, float]:
    """Where a histogram of values from `low` to `high` begins and ends.

    That is `low` and `high` themselves wherever 64 different bins fit between them. Where they do not (equal or
    nearly equal values), half a unit more on each side, or what is needed at the size of these numbers. A range too
    wide for a float64 is cut to half the largest number on each side: values beyond are in no bin.
    """
    if high - low > _MAX:
        return max(low, -_MAX / 2), min(high, _MAX / 2)
    if low != high and _distinct(low, high):
        return low, high
    more = max(0.5, max(abs(low), abs(high)) * 2.0**-44)
    return max(low - more, -_MAX), min(high + more, _MAX)


def _distinct(low: float, high: float) -> bool:
    edges = np.linspace(low, high, BINS + 1)
    return bool(np.all(edges[:-1] < edges[1:]))


def _usual(low: Doubles, high: Doubles, kind: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Which ranges the quick way is right for: finite, neither too narrow nor too wide for the precision at hand."""
    info = np.finfo(kind)
    largest = np.maximum(np.abs(low), np.abs(high))
    width = high - low
    # An edge is rounded by up to 2.2e-16 of the largest number: 64 * 2.2e-16 / 1e-9 = 1.4e-5 of such a range's bins.
    narrow = largest * 1e-9 if kind == np.float64 else 0.0
    tiny, huge = (1e-140, 1e140) if kind == np.float64 else (float(info.tiny) * 1e6, float(info.max) / 4)
    found: npt.NDArray[np.bool_] = (width > narrow) & (width > tiny) & (largest < huge)
    return found


def _short(
    table: Table, rows: npt.NDArray[np.intp], x: Floats, sizes: npt.NDArray[np.intp], old: Floats | None
) -> None:
    """Tensors of at most BLOCK values, all at once."""
    starts = np.cumsum(sizes)
    starts -= sizes
    least, most = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
    low, high = least.astype(np.float64), most.astype(np.float64)
    usual = _usual(low, high, x.dtype)
    if not usual.all():
        for k in np.flatnonzero(~usual).tolist():
            piece = slice(int(starts[k]), int(starts[k] + sizes[k]))
            _one_by_one(table, int(rows[k]), x[piece], None if old is None else old[piece])
        good = np.flatnonzero(usual)
        if not len(good):
            return
        keep = np.repeat(usual, sizes)
        x, old = x[keep], None if old is None else old[keep]
        rows, sizes, least, low, high = rows[good], sizes[good], least[good], low[good], high[good]
        starts = np.cumsum(sizes)
        starts -= sizes

    wide = x.astype(np.float64)
    if old is not None:
        step = (x - old).astype(np.float64)
        step *= step
        table.change[rows] = np.sqrt(np.add.reduceat(step, starts))
    mean = np.add.reduceat(wide, starts) / sizes
    wide -= np.repeat(mean, sizes)
    wide *= wide
    spread = np.add.reduceat(wide, starts)
    table.mean[rows] = mean
    table.std[rows] = np.sqrt(spread / sizes)
    table.norm[rows] = np.sqrt(spread + sizes * mean * mean)
    table.min[rows], table.max[rows] = low, high
    table.lo[rows], table.hi[rows] = low, high
    table.zeros[rows] = np.add.reduceat(x == 0, starts, dtype=np.int64)

    scale = (BINS / (high - low)).astype(x.dtype)
    f = x - np.repeat(least, sizes)
    f *= np.repeat(scale, sizes)
    bins = f.astype(np.int32)  # six times as fast as to intp, which bincount then makes of it
    edge = np.rint(f)
    f -= edge
    doubtful = np.flatnonzero(np.abs(f, out=f) < NEAR)
    tensor = np.searchsorted(starts, doubtful, side="right") - 1
    bins[doubtful] = _settle(x[doubtful], edge[doubtful], low[tensor], high[tensor])
    bins += np.repeat(np.arange(0, BINS * len(rows), BINS, dtype=np.int32), sizes)
    table.counts[rows] = np.bincount(bins, minlength=BINS * len(rows)).reshape(-1, BINS)


def _settle(values: Floats, edge: Floats, low: Any, high: Any) -> npt.NDArray[np.int32]:
    """The bins of values that lie at (or by rounding seem to lie at) edge number `edge`."""
    number = edge.astype(np.float64)
    where = number * ((high - low) / BINS) + low
    where = np.where(number == BINS, high, where)
    number -= values < where
    return np.minimum(number, BINS - 1).astype(np.int32)


def _long(table: Table, row: int, x: Floats, old: Floats | None) -> None:
    """One tensor of more than BLOCK values, a block at a time."""
    least, most = x.min(), x.max()
    low, high = float(least), float(most)
    if not _usual(np.array([low]), np.array([high]), x.dtype)[0]:
        _one_by_one(table, row, x, old)
        return
    wide = np.empty(BLOCK)
    f, edge = np.empty(BLOCK, x.dtype), np.empty(BLOCK, x.dtype)
    codes = np.empty(min(len(x), BLOCKS * BLOCK), np.uint8)
    counts = np.zeros(BINS, np.int64)
    scale = x.dtype.type(BINS / (high - low))
    n, coded, mean, spread, change, nonzero = 0, 0, 0.0, 0.0, 0.0, 0
    for start in range(0, len(x), BLOCK):
        v = x[start : start + BLOCK]
        m = len(v)
        w, g, e = wide[:m], f[:m], edge[:m]
        if old is not None:
            np.subtract(v, old[start : start + BLOCK], out=g)
            w[:] = g
            change += _squares(w)
        w[:] = v
        average = float(w.sum()) / m
        w -= average
        # Two parts' means and squared deviations make those of the whole without cancellation.
        shift = average - mean
        spread += _squares(w) + shift * shift * (n * m / (n + m))
        mean += shift * (m / (n + m))
        n += m
        nonzero += int(np.count_nonzero(v != 0))
        np.subtract(v, least, out=g)
        g *= scale
        bins = codes[coded : coded + m]
        np.copyto(bins, g, casting="unsafe")
        np.rint(g, out=e)
        g -= e
        doubtful = np.flatnonzero(np.abs(g, out=g) < NEAR)
        bins[doubtful] = _settle(v[doubtful], e[doubtful], low, high)
        coded += m
        if coded == len(codes) or n == len(x):
            counts += _counted(codes[:coded])
            coded = 0
    table.mean[row], table.std[row] = mean, (spread / n) ** 0.5
    table.norm[row] = (spread + n * mean * mean) ** 0.5
    table.min[row], table.max[row] = low, high
    table.lo[row], table.hi[row] = low, high
    table.zeros[row] = n - nonzero
    table.counts[row] = counts
    if old is not None:
        table.change[row] = change**0.5


def _counted(codes: npt.NDArray[np.uint8]) -> Whole:
    """How often each number below 64 is there.

    Counting is the dearest step of a histogram: it goes value by value, and waits where the same bin comes again. So
    pairs are counted, 64 times 64 of them, in half as many steps.
    """
    pairs = codes[: len(codes) & ~1].view(np.uint16)
    both = pairs >> np.uint16(2)
    both &= np.uint16(0x3FC0)
    both |= pairs & np.uint16(0x3F)
    table = np.bincount(both, minlength=BINS * BINS).reshape(BINS, BINS)
    counts: Whole = table.sum(axis=0) + table.sum(axis=1)
    if len(codes) % 2:
        counts[codes[-1]] += 1
    return counts


def _squares(x: Doubles) -> float:
    # BLAS starts threads from 10,000 values on, and a thread that finds its core taken waits for milliseconds.
    return sum(float(np.dot(x[at : at + 8192], x[at : at + 8192])) for at in range(0, len(x), 8192))


def _one_by_one(table: Table, row: int, x: Floats, old: Floats | None) -> None:
    """A tensor that is out of the usual: not finite somewhere, constant, very narrow, very wide, very small."""
    values = x.astype(np.float64)
    good = np.isfinite(values)
    table.zeros[row] = np.count_nonzero(values == 0)
    table.nan[row] = np.count_nonzero(np.isnan(values))
    table.inf[row] = len(values) - np.count_nonzero(good) - table.nan[row]
    if old is not None:
        table.change[row] = _norm(values - old)
    finite = values if good.all() else values[good]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    table.min[row], table.max[row] = low, high
    unit = max(abs(low), abs(high)) or 1.0
    if 1e-140 < unit < 1e140:
        unit = 1.0
    scaled = finite / unit
    # Of equal values the mean is that value, whatever the sum of very many of them rounds to.
    mean = low / unit if low == high else float(scaled.mean())
    scaled -= mean
    table.mean[row], table.std[row] = mean * unit, float(np.sqrt(np.mean(scaled * scaled))) * unit
    table.norm[row] = _norm(finite)
    lo, hi = outer_edges(low, high)
    table.lo[row], table.hi[row] = lo, hi
    if low == high and unit == 1.0 and abs(low) < 2**20:
        edge = np.full(1, BINS / 2)
        table.counts[row, _settle(finite[:1], edge, lo, hi)] = len(finite)
        return
    table.counts[row] = np.histogram(finite, BINS, (lo, hi))[0]


def _norm(values: Doubles) -> float:
    """The 2-norm, without overflow or underflow on the way; NaN where a value is not finite."""
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        return float("nan")
    if largest == 0.0 or 1e-140 < largest < 1e140:
        return float(np.sqrt(np.sum(values * values)))
    scaled = values / largest
    return largest * float(np.sqrt(np.sum(scaled * scaled)))
