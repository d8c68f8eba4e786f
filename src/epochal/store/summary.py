"""What each scalar series came to, kept up to date while rows arrive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import Better, SeriesSummary
from epochal.store.files import from_json_number

__all__ = ["SPARK_POINTS", "Tally", "summary_from_json", "summary_to_json"]

SPARK_POINTS = 64


class Tally:
    """Running summary of one series; `spark` doubles its stretch whenever 64 of them are full."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.n = self.nan = self.inf = 0
        self.first_step = self.last_step = self.min_step = self.max_step = 0
        self.last = self.min = self.max = math.nan
        self._sum = 0.0
        self._stretch = 1
        self._sums = np.zeros(SPARK_POINTS)
        self._counts = np.zeros(SPARK_POINTS, np.int64)

    def add(self, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        """Take on rows in the order they were logged."""
        if not len(values):
            return
        if not self.n:
            self.first_step = int(steps[0])
        self.last, self.last_step = float(values[-1]), int(steps[-1])
        finite = np.isfinite(values)
        self._add_spark(values, finite)
        self.n += len(values)
        if not finite.all():
            nan = int(np.isnan(values).sum())
            self.nan += nan
            self.inf += int((~finite).sum()) - nan
            values, steps = values[finite], steps[finite]
            if not len(values):
                return
        low, high = int(values.argmin()), int(values.argmax())
        if not self.min <= values[low]:
            self.min, self.min_step = float(values[low]), int(steps[low])
        if not self.max >= values[high]:
            self.max, self.max_step = float(values[high]), int(steps[high])
        with np.errstate(over="ignore"):
            self._sum += float(values.sum())

    def _add_spark(self, values: npt.NDArray[np.float64], finite: npt.NDArray[np.bool_]) -> None:
        total = self.n + len(values)
        while total > SPARK_POINTS * self._stretch:
            for bins in (self._sums, self._counts):
                bins[: SPARK_POINTS // 2] = bins[::2] + bins[1::2]
                bins[SPARK_POINTS // 2 :] = 0
            self._stretch *= 2
        place = (np.arange(self.n, total) // self._stretch)[finite]
        with np.errstate(over="ignore"):
            self._sums += np.bincount(place, values[finite], SPARK_POINTS)
        self._counts += np.bincount(place, minlength=SPARK_POINTS)

    def summary(self, *, better: Better | None = None) -> SeriesSummary:
        """Return the summary as it stands."""
        used = -(-self.n // self._stretch)
        finite = self.n - self.nan - self.inf
        spark = tuple(
            float(s) / int(c) if c else math.nan for s, c in zip(self._sums[:used], self._counts[:used], strict=True)
        )
        return SeriesSummary(
            name=self.name,
            n=self.n,
            last=self.last,
            last_step=self.last_step,
            first_step=self.first_step,
            min=self.min,
            min_step=self.min_step,
            max=self.max,
            max_step=self.max_step,
            mean=self._sum / finite if finite else math.nan,
            nan=self.nan,
            inf=self.inf,
            better=better,
            spark=spark,
        )


_NUMBERS = ("last", "min", "max", "mean")
_COUNTS = ("n", "last_step", "first_step", "min_step", "max_step", "nan", "inf")


def summary_to_json(summary: SeriesSummary) -> dict[str, Any]:
    """Return a summary as JSON has it in summary.json; `spark` with six digits, for it is a picture."""
    out: dict[str, Any] = {key: getattr(summary, key) for key in (*_COUNTS, *_NUMBERS)}
    out["spark"] = [None if v != v else float(f"{v:.6g}") for v in summary.spark]
    return out


def summary_from_json(name: str, value: Mapping[str, Any], *, better: Better | None = None) -> SeriesSummary:
    """Return the summary that `summary_to_json` wrote."""
    counts = {key: int(value.get(key) or 0) for key in _COUNTS}
    numbers = {key: from_json_number(value.get(key)) for key in _NUMBERS}
    spark = tuple(from_json_number(v) for v in value.get("spark") or ())
    return SeriesSummary(name=name, better=better, spark=spark, **counts, **numbers)  # type: ignore[arg-type]
