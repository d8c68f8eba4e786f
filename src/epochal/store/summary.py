"""What each scalar series came to, kept up to date while rows arrive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import SeriesSummary
from epochal.store.files import from_json_number, to_json
from epochal.store.layout import FORMAT_VERSION

__all__ = ["SPARK_POINTS", "Tally", "summaries_to_json", "summary_from_json", "summary_to_json"]

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
        self._json = b""

    def add(self, steps: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> None:
        """Take on rows in the order they were logged."""
        if not len(values):
            return
        self._json = b""
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
        with np.errstate(over="ignore", invalid="ignore"):
            self._sum += float(values.sum())

    def _add_spark(self, values: npt.NDArray[np.float64], finite: npt.NDArray[np.bool_]) -> None:
        total = self.n + len(values)
        while total > SPARK_POINTS * self._stretch:
            for bins in (self._sums, self._counts):
                with np.errstate(over="ignore", invalid="ignore"):
                    bins[: SPARK_POINTS // 2] = bins[::2] + bins[1::2]
                bins[SPARK_POINTS // 2 :] = 0
            self._stretch *= 2
        place = (np.arange(self.n, total) // self._stretch)[finite]
        with np.errstate(over="ignore", invalid="ignore"):
            self._sums += np.bincount(place, values[finite], SPARK_POINTS)
        self._counts += np.bincount(place, minlength=SPARK_POINTS)

    def to_json(self) -> bytes:
        """Return its name and summary as they stand in summary.json."""
        if not self._json:
            self._json = to_json(self.name) + b":" + to_json(summary_to_json(self.summary()))
        return self._json

    def summary(self) -> SeriesSummary:
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
            spark=spark,
        )


def summaries_to_json(tallies: Iterable[Tally], *, rows_end: int) -> bytes:
    """Return the content of summary.json; of a series without new rows, the text made the last time."""
    texts = b",\n".join(tally.to_json() for tally in tallies if tally.n)
    return b'{"format_version":%d,"rows_end":%d,"series":{\n%b\n}}\n' % (FORMAT_VERSION, rows_end, texts)


def summary_to_json(summary: SeriesSummary) -> dict[str, Any]:
    """Return a summary as JSON has it in summary.json; `spark` with four digits, for it is a picture."""
    return {
        **{key: getattr(summary, key) for key in _FIELDS},
        "spark": [rounded if math.isfinite(rounded := float(f"{v:.4g}")) else None for v in summary.spark],
    }


_FIELDS = ("n", "last", "last_step", "first_step", "min", "min_step", "max", "max_step", "mean", "nan", "inf")


def summary_from_json(name: str, value: Mapping[str, Any]) -> SeriesSummary:
    """Return the summary that `summary_to_json` wrote; `better` may have been added to it."""
    get = value.get
    spark = get("spark") or ()
    return SeriesSummary(
        name=name,
        n=int(get("n") or 0),
        last=from_json_number(get("last")),
        last_step=int(get("last_step") or 0),
        first_step=int(get("first_step") or 0),
        min=from_json_number(get("min")),
        min_step=int(get("min_step") or 0),
        max=from_json_number(get("max")),
        max_step=int(get("max_step") or 0),
        mean=from_json_number(get("mean")),
        nan=int(get("nan") or 0),
        inf=int(get("inf") or 0),
        better=get("better"),
        spark=tuple([math.nan if v is None else v for v in spark]) if None in spark else tuple(spark),
    )
