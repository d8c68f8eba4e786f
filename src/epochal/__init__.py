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
    from epochal.errors import EpochalError, RecordingWarning
    from epochal.facts import Graph, Notice, RunInfo, SeriesSummary
    from epochal.film import Film
    from epochal.record import Run, init
    from epochal.workspace import RunReader, Workspace, open  # noqa: A004 - users say epochal.open

__all__ = [
    "EpochalError",
    "Film",
    "Graph",
    "Notice",
    "RecordingWarning",
    "Run",
    "RunInfo",
    "RunReader",
    "SeriesSummary",
    "Workspace",
    "__version__",
    "init",
    "open",
]

# Each name's home, imported when it is first used: this package is imported inside people's training jobs.
_HOMES = {
    "EpochalError": "epochal.errors",
    "Film": "epochal.film",
    "Graph": "epochal.facts",
    "Notice": "epochal.facts",
    "RecordingWarning": "epochal.errors",
    "Run": "epochal.record",
    "RunInfo": "epochal.facts",
    "RunReader": "epochal.workspace",
    "SeriesSummary": "epochal.facts",
    "Workspace": "epochal.workspace",
    "init": "epochal.record",
    "open": "epochal.workspace",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'epochal' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
