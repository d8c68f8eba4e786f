"""What may stand behind the question mark of each address, written once.

The server documents and checks its parameters with these; the builder of answers reads a query string with them,
so that a static export and the live server understand the same words.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from epochal.errors import UsageError
from epochal.facts import STATISTICS

__all__ = [
    "BlobQuery",
    "ConsoleQuery",
    "ExportFormat",
    "ExportQuery",
    "ExportWhat",
    "FramesMode",
    "FramesQuery",
    "HistogramsQuery",
    "LabCurvesQuery",
    "LabEffectsQuery",
    "MediaQuery",
    "PlainQuery",
    "PredictionsQuery",
    "ScalarsQuery",
    "StatisticsQuery",
    "read_query",
]

Query = TypeVar("Query", bound=BaseModel)

FramesMode = Literal["value", "change", "since"]
ExportWhat = Literal["weights", "biases", "histogram", "scalars", "gradients", "confusion", "all", "lens/class_images"]
ExportFormat = Literal["gif", "png", "svg", "mp4", "html", "csv", "parquet"]

_SERIES = "A series: param/<name>, grad/<name> or act/<layer>"
_STEP_MAX = 2**63 - 1


class PlainQuery(BaseModel):
    """No parameters but the version."""

    model_config = ConfigDict(extra="forbid")

    v: str | None = Field(
        default=None,
        max_length=200,
        description="The run's version as its row says it; the answer may then be cached for ever once the run ended",
    )


class _Span(PlainQuery):
    """A stretch of steps, both ends included."""

    start: int | None = Field(default=None, ge=-_STEP_MAX, le=_STEP_MAX, description="First step, included")
    end: int | None = Field(default=None, ge=-_STEP_MAX, le=_STEP_MAX, description="Last step, included")


class ScalarsQuery(_Span):
    """Which scalar series, how many points of each, and of which steps."""

    name: list[str] = Field(default=[], max_length=1000, description="Series to send; left out: all of them")
    points: int = Field(
        default=2000,
        ge=0,
        le=100_000_000,
        description="About how many points at most of each series; first, least, greatest and last of every stretch "
        "are kept, and every row that is not finite. 0 sends all",
    )


class FramesQuery(_Span):
    """Which tensor's film, drawn how, packed how."""

    series: str = Field(min_length=1, max_length=1000, description=_SERIES)
    mode: FramesMode = Field(
        default="value",
        description="value: the numbers; change: minus the frame before; since: minus the first frame of the run",
    )
    encoding: Literal["auto", "f4", "u1"] = Field(
        default="auto",
        description="f4: float32; u1: one byte, value = (byte - 128) / 127 * limit, 0 where not finite; "
        "auto: f4 up to 4 MB, else u1",
    )


class HistogramsQuery(PlainQuery):
    """Which tensor's histograms."""

    series: str = Field(min_length=1, max_length=1000, description=_SERIES)


class StatisticsQuery(PlainQuery):
    """Which statistic, of which tensors."""

    kind: Literal["param", "grad", "act"] = Field(description="Parameters, their gradients, or activations")
    column: str = Field(max_length=100, description=f"One of {', '.join(STATISTICS)}")

    @field_validator("column")
    @classmethod
    def _known(cls, column: str) -> str:
        if column not in STATISTICS:
            raise ValueError(f"known statistics are {', '.join(STATISTICS)}")
        return column


class MediaQuery(_Span):
    """Which series of logged values, and of which steps."""

    series: str = Field(min_length=1, max_length=1000, description="A series of images, sounds, tables and the like")


class PredictionsQuery(PlainQuery):
    """Which series of predictions: the answers of all steps, or the confidences of one example."""

    series: str = Field(min_length=1, max_length=1000, description="A series of predictions")
    example: int | None = Field(
        default=None, ge=0, le=_STEP_MAX, description="The number of one example: its confidences at all steps"
    )
    at: int | None = Field(
        default=None,
        ge=-_STEP_MAX,
        le=_STEP_MAX,
        description="With `example`: a step whose examples are meant, where they are not the same at all steps",
    )


class BlobQuery(PlainQuery):
    """Which file of a logged value."""

    name: str = Field(
        pattern=r"^[0-9a-f]{64}\.[a-z0-9]{1,12}$", description="The `blob` of a media item: its hash and extension"
    )


class ConsoleQuery(PlainQuery):
    """How many of the lines that were printed."""

    last: int = Field(default=2000, ge=1, le=1_000_000, description="So many lines from the end")


class LabEffectsQuery(PlainQuery):
    """Which metric of a lab's trials."""

    metric: str | None = Field(
        default=None, max_length=1000, description="A metric of its trials; left out: the lab's objective"
    )


class LabCurvesQuery(PlainQuery):
    """Which series of a lab's trials, of which trials, and how many points of each."""

    name: list[str] = Field(min_length=1, max_length=20, description="Series to send")
    first: int | None = Field(default=None, ge=0, le=_STEP_MAX, description="Trials from this number on")
    count: int | None = Field(default=None, ge=1, le=_STEP_MAX, description="So many numbers of trials")
    points: int = Field(default=400, ge=8, le=100_000, description="About how many points at most of each curve")


class ExportQuery(BaseModel):
    """What to write into which kind of file."""

    model_config = ConfigDict(extra="forbid")

    what: ExportWhat = Field(description="What to write")
    format: ExportFormat = Field(description="The file's kind")
    steps: str | None = Field(
        default=None,
        max_length=10_000,
        description="Steps: last, 5, 1,5,9, 0:150 (both ends), 0:150:10 (one each 10 steps), every:5; left out: all",
    )
    layers: str | None = Field(
        default=None, max_length=10_000, description="Layers by name or pattern, joined by commas"
    )
    fps: float | None = Field(default=None, gt=0, le=120, description="Frames a second of a film")
    size: str | None = Field(
        default=None, pattern=r"^\d{1,5}x\d{1,5}$", description="Width x height in pixels: 800x600"
    )
    cmap: str | None = Field(
        default=None, max_length=50, pattern=r"^[A-Za-z0-9_-]+$", description="Name of a colour map"
    )


def read_query(model: type[Query], query: str) -> Query:
    """A query string as its model; UsageError says which parameter is wrong."""
    try:
        pairs = parse_qs(query, keep_blank_values=True, max_num_fields=2000)
    except ValueError as error:
        raise UsageError(f"the query cannot be read: {error}") from None
    fields = model.model_fields
    values: dict[str, Any] = {
        name: given if name in fields and fields[name].annotation == list[str] else given[-1]
        for name, given in pairs.items()
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise UsageError(said, hint="the parameters are described in /api/v1/openapi.json") from None
