"""Values that are more than a number: pictures, sounds, tables, predictions. Each is made without a run, and logged.

Names are imported when they are first used: a training that logs numbers does not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epochal.record.media.array import Array
    from epochal.record.media.audio import Audio
    from epochal.record.media.chart import Chart
    from epochal.record.media.embedding import Embedding
    from epochal.record.media.figure import Figure
    from epochal.record.media.histogram import Histogram
    from epochal.record.media.image import Image
    from epochal.record.media.predictions import Predictions
    from epochal.record.media.shapes import Object3D, PointCloud, Voxels
    from epochal.record.media.table import Table
    from epochal.record.media.text import Html, Text
    from epochal.record.media.value import Blob, Encoded, Value
    from epochal.record.media.video import Video

_HOMES = {
    "Array": "array",
    "Audio": "audio",
    "Blob": "value",
    "Chart": "chart",
    "Embedding": "embedding",
    "Encoded": "value",
    "Figure": "figure",
    "Histogram": "histogram",
    "Html": "text",
    "Image": "image",
    "Object3D": "shapes",
    "PointCloud": "shapes",
    "Predictions": "predictions",
    "Table": "table",
    "Text": "text",
    "Value": "value",
    "Video": "video",
    "Voxels": "shapes",
}

__all__ = [
    "Array",
    "Audio",
    "Blob",
    "Chart",
    "Embedding",
    "Encoded",
    "Figure",
    "Histogram",
    "Html",
    "Image",
    "Object3D",
    "PointCloud",
    "Predictions",
    "Table",
    "Text",
    "Value",
    "Video",
    "Voxels",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(f"epochal.record.media.{_HOMES[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
