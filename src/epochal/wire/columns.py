"""Scalars as an Arrow IPC stream: columns name (dictionary), step, t, v, as they lie on disk too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from epochal.store.arrow import END_OF_STREAM, SCALAR_COLUMNS, encode_batch, encode_dictionary, encode_schema
from epochal.views.curves import Curve
from epochal.wire.documents import to_json

__all__ = ["MEDIA_TYPE", "SERIES_KEY", "counts_of", "encode_curves"]

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
SERIES_KEY = "epochal.series"
"""Key of the schema's metadata under which the counts stand, for readers that see no HTTP header."""


def counts_of(curves: Sequence[Curve]) -> dict[str, dict[str, int]]:
    """For each series how many rows it has, how many are sent, and how many are NaN or infinite."""
    return {c.name: {"n": c.n, "kept": len(c.values), "nan": c.nan, "inf": c.inf} for c in curves}


def encode_curves(curves: Sequence[Curve]) -> bytes:
    """One stream with the rows of all curves, series after series."""
    lengths = [len(c.values) for c in curves]
    columns: Mapping[str, Any] = {
        "name": np.repeat(np.arange(len(curves), dtype=np.int32), lengths),
        "step": _joined([c.steps for c in curves], np.int64),
        "t": _joined([c.t for c in curves], np.float64),
        "v": _joined([c.values for c in curves], np.float64),
    }
    return b"".join(
        [
            encode_schema(SCALAR_COLUMNS, {SERIES_KEY: to_json(counts_of(curves)).decode()}),
            encode_dictionary([c.name for c in curves]),
            encode_batch(SCALAR_COLUMNS, columns, rows_end=sum(lengths)),
            END_OF_STREAM,
        ]
    )


def _joined(parts: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
