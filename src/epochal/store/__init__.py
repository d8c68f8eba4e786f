"""How runs lie on disk: write them, read them while they grow, find them, repair them."""

from epochal.store.columns import ScalarSeries, StatisticsTable
from epochal.store.graphs import graph_from_json, graph_to_json
from epochal.store.layout import (
    DEFAULT_ROOT,
    FORMAT_VERSION,
    RunFolder,
    WriterFolder,
    check_name,
    new_run_id,
    resolve_root,
)
from epochal.store.library import Library
from epochal.store.reader import SnapshotKind, StoredRun
from epochal.store.safetensors import RawTensor, SnapshotHeader, TensorPlace
from epochal.store.writer import Resume, RunWriter

__all__ = [
    "DEFAULT_ROOT",
    "FORMAT_VERSION",
    "Library",
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
    "graph_from_json",
    "graph_to_json",
    "new_run_id",
    "resolve_root",
]
