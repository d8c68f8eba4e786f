"""Histograms: of raw values, or of bins that were counted already."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts import HISTOGRAM_BINS, STATISTICS
from epochal.record.media.arrays import as_array
from epochal.record.media.value import Encoded, Value
from epochal.record.statistics import describe, outer_edges
from epochal.store.files import to_json

__all__ = ["Histogram"]

MOST_BINS = 65_536
_MOST = 2**32 - 1
_DENSE = 1_000_000
_MAX = float(np.finfo(np.float64).max)

Doubles = npt.NDArray[np.float64]


class Histogram(Value):
    """A histogram of `values` of any shape, or of bins counted already: `counts` [B] between `edges` [B + 1].

    It is recorded as a row of statistics: it stands under Distributions, as the film `hist/<name>`, with mean,
    deviation and extremes (for given bins: as if all of a bin lay in its middle). Such a row has 64 bins of one width.
    Up to 64 given bins of one width are kept exactly, empty ones after them; any other bins are kept exactly beside
    it, and spread over the 64 in proportion, with the same total. `bins` counts those that `values` are put into.

    Raises UsageError where this cannot be a histogram.

    >>> epochal.Histogram([1.0, 2.0, 2.5])
    <epochal.Histogram>
    """

    __slots__ = ("_bins", "_counts", "_edges", "_values")

    kind = "histogram"

    def __init__(self, values: object = None, *, counts: object = None, edges: object = None, bins: int = 64) -> None:
        super().__init__()
        self._values: npt.NDArray[Any] | None = None
        self._counts = self._edges = np.empty(0)
        if (values is None) == (counts is None):
            raise UsageError("a histogram needs values, or counts and edges", hint="Histogram(values)")
        if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or not 1 <= bins <= MOST_BINS:
            raise UsageError(f"bins is {bins!r}", hint=f"give a number from 1 to {MOST_BINS:,}")
        self._bins = int(bins)
        if values is not None:
            if edges is not None:
                raise UsageError("edges are given with values", hint="count the values yourself, or leave edges out")
            array = as_array(values, "a histogram").reshape(-1)
            # As the statistics of parameters: half precision counts as single, whole numbers as double.
            self._values = array.astype(np.float32 if array.dtype in (np.float16, np.float32) else np.float64)
        else:
            self._counts, self._edges = _checked_bins(counts, edges)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return self._counts.nbytes + self._edges.nbytes + (0 if self._values is None else self._values.nbytes)

    def encode(self) -> Encoded:
        """A row of statistics; where that does not hold the bins exactly, JSON with `counts` and `edges` too."""
        if self._values is None:
            counts, edges = self._counts, self._edges
            row, exact, facts = _row_of_bins(counts, edges)
        else:
            row = _row_of_values(self._values)
            facts = {}
            if exact := self._bins == HISTOGRAM_BINS:
                counts, edges = row["counts"][0], np.linspace(row["lo"][0], row["hi"][0], HISTOGRAM_BINS + 1)
            else:
                counts, edges = _counted(self._values, self._bins, row)
                if exact := self._bins < HISTOGRAM_BINS and (padded := _padded(counts, edges)) is not None:
                    row["lo"], row["hi"], row["counts"] = ([float(edges[0])], [padded[1]], padded[0][None])
        plain: list[Any] = counts.astype(np.int64).tolist() if _whole(counts) else counts.tolist()
        return Encoded(
            data=to_json({"counts": plain, "edges": edges.tolist()}),
            extension="json",
            meta={"bins": len(counts), "low": float(edges[0]), "high": float(edges[-1]), **facts},
            statistics=row,
            kept=not exact,
        )


def _checked_bins(counts: object, edges: object) -> tuple[Doubles, Doubles]:
    if edges is None:
        raise UsageError("counts come without edges", hint="Histogram(counts=counts, edges=edges)")
    found = as_array(counts, "counts of a histogram").astype(np.float64)
    ends = as_array(edges, "edges of a histogram").astype(np.float64)
    if found.ndim != 1 or ends.shape != (len(found) + 1,) or not 1 <= len(found) <= MOST_BINS:
        raise UsageError(
            f"counts have shape {found.shape}, edges {ends.shape}",
            hint=f"give 1 to {MOST_BINS:,} counts and one edge more: where each bin begins, and the end of the last",
        )
    if not np.isfinite(found).all() or (found < 0).any():
        raise UsageError("counts must be finite and not negative")
    if not np.isfinite(ends).all() or (np.diff(ends) <= 0).any():
        raise UsageError("edges must be finite and grow from one to the next")
    return found, ends


def _whole(counts: npt.NDArray[Any]) -> bool:
    return bool((counts == np.floor(counts)).all()) and float(counts.max(initial=0)) < 2**53


def _blank() -> dict[str, Any]:
    """A row of statistics in which nothing is known yet."""
    row: dict[str, Any] = dict.fromkeys(STATISTICS, np.nan)
    return {**row, "zeros": 0, "nan": 0, "inf": 0, "size": 0, "seen": 0}


def _row_of_values(values: npt.NDArray[Any]) -> dict[str, Any]:
    table = describe(values, np.array([len(values)], np.intp))
    row = _blank()
    for name in ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf", "size", "lo", "hi", "counts"):
        row[name] = getattr(table, name)
    return {**row, "seen": table.size}


def _counted(values: npt.NDArray[Any], bins: int, row: dict[str, Any]) -> tuple[Doubles, Doubles]:
    """Finite values counted in so many bins between the row's outer edges."""
    lo, hi = float(row["lo"][0]), float(row["hi"][0])
    finite = values[np.isfinite(values)].astype(np.float64)
    try:
        counts, edges = np.histogram(finite, bins, (lo, hi))
    except ValueError:  # more bins than there are numbers between lo and hi
        lo, hi = lo - max(0.5, abs(lo) * 1e-9), hi + max(0.5, abs(hi) * 1e-9)
        counts, edges = np.histogram(finite, bins, (lo, hi))
    return counts.astype(np.float64), edges.astype(np.float64)


def _padded(counts: Doubles, edges: Doubles) -> tuple[npt.NDArray[np.uint32], float] | None:
    """Up to 64 whole counts in bins of one width, empty bins added: the counts and the new end. None for others."""
    n = len(counts)
    if n > HISTOGRAM_BINS or not _whole(counts) or counts.max() > _MOST:
        return None
    low, high = float(edges[0]), float(edges[-1])
    width = high / n - low / n
    end = high if n == HISTOGRAM_BINS else low + HISTOGRAM_BINS * width
    if not math.isfinite(end - low):
        return None
    # Edges that were rounded to float64 are still of one width, as long as a bin is far wider than that rounding.
    rounding = 1e-9 * width + 1e-15 * float(np.abs(edges).max())
    if rounding > 1e-3 * width or np.abs(edges - np.linspace(low, high, n + 1)).max() > rounding:
        return None
    return np.concatenate([counts, np.zeros(HISTOGRAM_BINS - n)]).astype(np.uint32), end


def _row_of_bins(counts: Doubles, edges: Doubles) -> tuple[dict[str, Any], bool, dict[str, Any]]:
    """The row of given bins, whether it holds them exactly, and what was done to them."""
    row = _blank()
    total = float(counts.sum())
    filled = np.flatnonzero(counts)
    if len(filled):
        middles = (edges[:-1] / 2 + edges[1:] / 2)[filled]
        share = (counts / total)[filled]
        # On a scale of its own, so that squares neither overflow nor vanish.
        unit = float(np.abs(middles).max()) or 1.0
        middles /= unit
        mean = float((share * middles).sum())
        with np.errstate(over="ignore"):
            row["mean"], row["std"] = mean * unit, float(np.sqrt((share * (middles - mean) ** 2).sum())) * unit
            row["norm"] = float(np.sqrt(total) * np.sqrt((share * middles**2).sum()) * np.float64(unit))
        row["min"], row["max"] = float(edges[filled[0]]), float(edges[filled[-1] + 1])
        row["size"] = row["seen"] = int(min(round(total), 2**62))
    if (padded := _padded(counts, edges)) is not None:
        row["lo"], row["hi"], row["counts"] = float(edges[0]), padded[1], padded[0]
        return row, True, {}
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, len(counts) - 1)
    spread, lo, hi = _spread(counts[first : last + 1], edges[first : last + 2])
    scale = 1.0
    if spread.max(initial=0) > _MOST:
        scale = _MOST / 2 / float(spread.max())
    elif not _whole(counts) and total and total < 1000:
        scale = _DENSE / total
    row["lo"], row["hi"], row["counts"] = lo, hi, _rounded(spread * scale)
    return row, False, {"rebinned": HISTOGRAM_BINS, **({"scale": scale} if scale != 1.0 else {})}


def _spread(counts: Doubles, edges: Doubles) -> tuple[Doubles, float, float]:
    """Counts spread over 64 bins of one width: what each takes of the old bins that it overlaps."""
    lo, hi = outer_edges(float(edges[0]), float(edges[-1]))
    grown = np.concatenate([[0.0], np.cumsum(counts)])
    # The distance of two edges may be beyond the largest number: then in halves.
    half = 1.0 if np.isfinite(float(edges[-1]) - float(edges[0])) else 0.5
    new, old = np.linspace(lo * half, hi * half, HISTOGRAM_BINS + 1), edges * half
    place = np.clip(np.searchsorted(old, new, side="right") - 1, 0, len(counts) - 1)
    with np.errstate(all="ignore"):
        part = np.clip((new - old[place]) / (old[place + 1] - old[place]), 0.0, 1.0)
    part[~np.isfinite(part)] = 1.0  # bins too narrow for their width to be a number: a step
    at = grown[place] + part * counts[place]
    at[0], at[-1] = 0.0, grown[-1]
    return np.maximum(np.diff(at), 0.0), lo, hi


def _rounded(spread: Doubles) -> npt.NDArray[np.uint32]:
    """Whole numbers with the same total, up to each edge wrong by at most a half: the running total is rounded."""
    grown = np.floor(np.concatenate([[0.0], np.cumsum(spread)]) + 0.5)
    return np.diff(grown).astype(np.uint32)
