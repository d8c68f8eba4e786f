"""How numbers for people become the numbers that a network is given, found from examples of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_viewed

__all__ = ["prepared_columns"]

_MOST_COLUMNS = 1000
_OFF = 1e-4
"""So far from a straight line, as a share of what a column spans, single precision and rounding may take numbers."""


def prepared_columns(shown: object, given: object) -> dict[str, list[float]] | None:
    """What makes rows [N, F] that are given out of rows [N, F] that are shown: `given = shown * scale + offset`.

    Each column has its own numbers, as z-scores and scaling to a range have. They are told only where they hold for
    every one of the rows, None otherwise. A column that has one value in all rows has the scale 0: of other values it
    is not known what they would become.
    """
    try:
        before, after = _rows(shown), _rows(given)
    except (UsageError, TypeError, ValueError, RuntimeError):
        return None
    if before is None or after is None or before.shape != after.shape or not 1 <= before.shape[1] <= _MOST_COLUMNS:
        return None
    columns = np.arange(before.shape[1])
    low, high = before.argmin(axis=0), before.argmax(axis=0)
    span = before[high, columns] - before[low, columns]
    change = after[high, columns] - after[low, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(span > 0, change / span, 0.0)
    offset = after[low, columns] - scale * before[low, columns]
    allowed = _OFF * np.maximum(np.ptp(after, axis=0), 1e-6 * np.abs(after).max(axis=0))
    if not (np.abs(before * scale + offset - after) <= allowed + 1e-12).all():
        return None
    return {"scale": [float(v) for v in scale], "offset": [float(v) for v in offset]}


def _rows(data: object) -> npt.NDArray[np.float64] | None:
    """As finite rows of numbers, None where it is something else."""
    found: npt.NDArray[Any] = as_viewed(data)
    if found.ndim != 2 or not len(found) or found.dtype.kind not in "fiub":
        return None
    wide = found.astype(np.float64)
    return wide if np.isfinite(wide).all() else None
