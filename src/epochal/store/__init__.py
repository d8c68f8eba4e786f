"""How runs lie on disk: write them, read them while they grow, find them, repair them.

Names are imported when they are first used: a training only writes, and does not pay for what reads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from epochal.store.columns import ScalarSeries, StatisticsTable
    from epochal.store.graphs import graph_from_json, graph_to_json
    from epochal.store.labs import LabLog, new_lab_id, read_lab
    from epochal.store.layout import (
        DEFAULT_ROOT,
        FORMAT_VERSION,
        RunFolder,
        WriterFolder,
        check_name,
        default_name,
        new_run_id,
        resolve_root,
    )
    from epochal.store.library import Library
    from epochal.store.mediaread import MediaSeries
    from epochal.store.reader import SnapshotKind, StoredRun
    from epochal.store.safetensors import RawTensor, SnapshotHeader, TensorPlace
    from epochal.store.table import LibraryRow
    from epochal.store.writer import Resume, RunWriter

_HOMES = {
    "columns": ("ScalarSeries", "StatisticsTable"),
    "graphs": ("graph_from_json", "graph_to_json"),
    "labs": ("LabLog", "new_lab_id", "read_lab"),
    "layout": (
        "DEFAULT_ROOT",
        "FORMAT_VERSION",
        "RunFolder",
        "WriterFolder",
        "check_name",
        "default_name",
        "new_run_id",
        "resolve_root",
    ),
    "mediaread": ("MediaSeries",),
    "library": ("Library",),
    "reader": ("SnapshotKind", "StoredRun"),
    "safetensors": ("RawTensor", "SnapshotHeader", "TensorPlace"),
    "table": ("LibraryRow",),
    "writer": ("Resume", "RunWriter"),
}

__all__ = [
    "DEFAULT_ROOT",
    "FORMAT_VERSION",
    "LabLog",
    "Library",
    "LibraryRow",
    "MediaSeries",
    "RawTensor",
    "Resume",
    "RunFolder",
    "RunWriter",
    "ScalarSeries",
    "SnapshotHeader",
    "SnapshotKind",
    "StatisticsTable",
    "StoredRun",
    "TensorPlace",
    "WriterFolder",
    "check_name",
    "default_name",
    "graph_from_json",
    "graph_to_json",
    "new_lab_id",
    "new_run_id",
    "read_lab",
    "resolve_root",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(f"epochal.store.{home}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
