"""Watch a neural network learn: record a training once, play it back as a film.

>>> import epochal
>>> with epochal.init(project="example", mode="off") as run:
...     run.log({"loss": 0.5}, step=0)

`epochal.init` records, `epochal.open` reads what was recorded; the other names are what these two return and raise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from epochal._version import __version__

if TYPE_CHECKING:
    from epochal import lab, lens
    from epochal.errors import EpochalError, RecordingWarning
    from epochal.facts import (
        Alert,
        Calibration,
        ClassScores,
        ConsoleLine,
        EmbeddingSet,
        Graph,
        MediaItem,
        Notice,
        PredictionHistory,
        PredictionSet,
        RunInfo,
        ScoreCurve,
        SeriesSummary,
    )
    from epochal.film import Film
    from epochal.lab import Lab, LabResult
    from epochal.network import Network, Unit
    from epochal.record import Run, init
    from epochal.record.media import (
        Array,
        Audio,
        Chart,
        Embedding,
        Figure,
        Histogram,
        Html,
        Image,
        Object3D,
        PointCloud,
        Predictions,
        Table,
        Text,
        Video,
        Voxels,
    )
    from epochal.workspace import RunReader, Workspace, open  # noqa: A004 - users say epochal.open

__all__ = [
    "Alert",
    "Array",
    "Audio",
    "Calibration",
    "Chart",
    "ClassScores",
    "ConsoleLine",
    "Embedding",
    "EmbeddingSet",
    "EpochalError",
    "Figure",
    "Film",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "Lab",
    "LabResult",
    "MediaItem",
    "Network",
    "Notice",
    "Object3D",
    "PointCloud",
    "PredictionHistory",
    "PredictionSet",
    "Predictions",
    "RecordingWarning",
    "Run",
    "RunInfo",
    "RunReader",
    "ScoreCurve",
    "SeriesSummary",
    "Table",
    "Text",
    "Unit",
    "Video",
    "Voxels",
    "Workspace",
    "__version__",
    "init",
    "lab",
    "lens",
    "open",
]

# Each name's home, imported when it is first used: this package is imported inside people's training jobs.
_HOMES = {
    "Alert": "epochal.facts",
    "Array": "epochal.record.media",
    "Audio": "epochal.record.media",
    "Calibration": "epochal.facts",
    "Chart": "epochal.record.media",
    "ClassScores": "epochal.facts",
    "ConsoleLine": "epochal.facts",
    "Embedding": "epochal.record.media",
    "EmbeddingSet": "epochal.facts",
    "EpochalError": "epochal.errors",
    "Figure": "epochal.record.media",
    "Film": "epochal.film",
    "Graph": "epochal.facts",
    "Histogram": "epochal.record.media",
    "Html": "epochal.record.media",
    "Image": "epochal.record.media",
    "Lab": "epochal.lab",
    "LabResult": "epochal.lab",
    "MediaItem": "epochal.facts",
    "Network": "epochal.network",
    "Notice": "epochal.facts",
    "Object3D": "epochal.record.media",
    "PointCloud": "epochal.record.media",
    "PredictionHistory": "epochal.facts",
    "PredictionSet": "epochal.facts",
    "Predictions": "epochal.record.media",
    "RecordingWarning": "epochal.errors",
    "Run": "epochal.record",
    "RunInfo": "epochal.facts",
    "RunReader": "epochal.workspace",
    "ScoreCurve": "epochal.facts",
    "SeriesSummary": "epochal.facts",
    "Table": "epochal.record.media",
    "Text": "epochal.record.media",
    "Unit": "epochal.network",
    "Video": "epochal.record.media",
    "Voxels": "epochal.record.media",
    "Workspace": "epochal.workspace",
    "init": "epochal.record",
    "open": "epochal.workspace",
}


def __getattr__(name: str) -> Any:
    if name in ("lab", "lens"):  # rooms of their own, with names in them
        return import_module(f"epochal.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'epochal' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
