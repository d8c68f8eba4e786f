"""The API's description for other programs, as an OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from epochal._version import __version__
from epochal.wire.schema import (
    ErrorDocument,
    EventDocument,
    ExampleHeader,
    PredictionsHeader,
    SeriesKept,
)
from epochal.wire.schema_arrays import FramesHeader, HistogramsHeader, StatisticsHeader
from epochal.wire.schema_lab import LabCurvesHeader
from epochal.wire.schema_lens import LensHeader

__all__ = ["describe"]

_OTHERS = (
    ErrorDocument, EventDocument, ExampleHeader, FramesHeader, HistogramsHeader, LabCurvesHeader, LensHeader,
    PredictionsHeader, SeriesKept, StatisticsHeader,
)  # fmt: skip
_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "What the Studio asks of a folder of runs. Facts are JSON, columns are Arrow IPC streams, stacks of frames are "
    "EPF1 containers: b'EPF1', the header's length as u32, the header as JSON padded with spaces to a multiple of 8, "
    "then little-endian arrays, each padded to 8 bytes."
)


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document, with errors and the headers of binary answers among its components."""
    document = get_openapi(
        title="Epochal", version=__version__, description=_DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    _, extra = models_json_schema(
        [(model, "serialization") for model in _OTHERS],
        ref_template=_REF,
    )
    schemas = document["components"]["schemas"]
    schemas.update(extra["$defs"])
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document
