"""Headers of the EPF1 containers that hold tensors through time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from epochal.wire.schema import ArrayDocument, Document

__all__ = ["FramesHeader", "HistogramsHeader", "StatisticsHeader"]


class FramesHeader(Document):
    """Header of the EPF1 container of a film: arrays `steps` [T] and `frames` [T, ...]."""

    arrays: list[ArrayDocument]
    series: str
    mode: Literal["value", "change", "since"]
    encoding: Literal["f4", "u1"]
    limit: float = Field(description="Greatest finite magnitude in the whole film, 0 where there is none")
    lo: float | None = Field(description="Least finite value in the whole film")
    hi: float | None = Field(description="Greatest finite value in the whole film")
    nonfinite: int = Field(description="Values of the whole film that are not finite")
    total: int = Field(description="Frames recorded in the steps asked for")
    stride: int = Field(description="Every n-th frame is here; the last one always is")


class HistogramsHeader(Document):
    """Header of the EPF1 container of histograms: steps [T], counts [T, 64], lo [T], hi [T], statistics [T, 11]."""

    arrays: list[ArrayDocument]
    series: str
    columns: list[str] = Field(description="What the columns of `statistics` are")


class StatisticsHeader(Document):
    """Header of the EPF1 container of one statistic: starts [series + 1], steps [total], values [total].

    The values of the i-th series are those from `starts[i]` to `starts[i + 1]`.
    """

    arrays: list[ArrayDocument]
    kind: Literal["param", "grad", "act"]
    column: str = Field(description="Which statistic")
    series: list[str]
