"""A run as everyone else sees it: read while it is being written, after a crash, or long after its end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, EpochalError, NotFoundError
from epochal.facts import Alert, ConsoleLine, Graph, MediaItem, Notice, RunInfo, SeriesSummary
from epochal.store import beside
from epochal.store.begin import check_version
from epochal.store.blobs import find_blob, read_blob
from epochal.store.boots import Boot, CachedJson, list_boots
from epochal.store.columns import ScalarSeries, StatisticsTable
from epochal.store.graphs import graph_from_json, join_graphs
from epochal.store.layout import RunFolder
from epochal.store.mediaread import MediaSeries, MediaSet
from epochal.store.merge import Merged
from epochal.store.noticing import notices_of
from epochal.store.overview import news_of, run_info
from epochal.store.safetensors import SnapshotHeader
from epochal.store.snapshots import SnapshotSet
from epochal.store.statistics import StatisticsSet, StepsAndValues
from epochal.store.summary import summary_from_json
from epochal.store.summing import Summaries

__all__ = ["SnapshotKind", "StoredRun"]

SnapshotKind = Literal["params", "grads"]


class StoredRun:
    """Reads one run. Every method may be called from any thread and is as fresh as the files are.

    Opening costs nothing: files are read when something is asked of them, and only what is new the next time.
    Raises NotFoundError when the folder is no run, FormatVersionError when a newer Epochal wrote it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.run_id = self.path.name
        self.project = self.path.parent.name
        self._lock = threading.RLock()
        self._opened = False

    def _open(self) -> None:
        """Make what a look needs: a library lists a thousand runs and looks into few."""
        self._opened = True
        self._run_file = CachedJson(self.folder.run_json)
        self._meta_file = CachedJson(self.folder.meta_json)
        self._boots: dict[str, Boot] = {}
        self._ranks: list[list[Boot]] = []
        self._scalars = Merged(self.folder)
        self._summaries = Summaries()
        self._statistics = StatisticsSet()
        self._media = MediaSet()
        self._snapshots: dict[SnapshotKind, SnapshotSet] = {k: SnapshotSet(k) for k in get_args(SnapshotKind)}

    def __repr__(self) -> str:
        return f"StoredRun({str(self.path)!r})"

    @property
    def folder(self) -> RunFolder:
        """The places of its files."""
        return RunFolder(self.path)

    def _look(self) -> None:
        """Bring run.json, meta.json and the writers' states up to date."""
        if not self._opened:
            self._open()
        self._run_file.refresh()
        if self._run_file.stamp == (0, 0, 0):
            raise NotFoundError(f"There is no run at {self.path}", hint="it has no run.json; was it deleted or moved?")
        if self._run_file.damaged:
            raise DamagedError(self._run_file.damaged, hint=self._run_file.hint)
        check_version(self._run_file.value, self.path)
        self._meta_file.refresh()
        self._ranks = list_boots(self.folder, self._boots)
        self._boots = {boot.folder.name: boot for boots in self._ranks for boot in boots}
        for boot in self._boots.values():
            boot.refresh()

    def info(self) -> RunInfo:
        """Return what the run is and how it stands."""
        with self._lock, _well_formed(self.path):
            self._look()
            notices = notices_of(
                self._ranks, self._scalars, self._statistics, self._snapshots, self._meta_file, media=self._media
            )
            # state.json is up to a second old; of a killed process, its last word. The journal knows more.
            later = [self._scalars.last_step(boot) for boot in self._boots.values() if not boot.ended]
            steps = [step for step in later if step is not None]
            return run_info(
                self.folder, self._run_file.value, self._meta_file.value, self._ranks, notices, steps_read=steps
            )

    def refresh(self) -> bool:
        """Read what is new of the scalars; say whether there was anything. Cheap when there is not."""
        with self._lock:
            self._look()
            return self._scalars.refresh(self._ranks)

    def series_names(self) -> list[str]:
        """Return the names of the scalar series, sorted. From the summaries: up to a second old while running."""
        return sorted(self.summaries())

    def scalars(self, names: Iterable[str] | None = None) -> dict[str, ScalarSeries]:
        """Return series by name; all of them when no names are given.

        Raises NotFoundError for a name that was not logged.
        """
        with self._lock:
            self.refresh()
            known = self._scalars.names()
            wanted = known if names is None else list(dict.fromkeys(names))
            if missing := [name for name in wanted if name not in self._scalars]:
                raise NotFoundError(
                    f"Run {self.project}/{self.run_id} has no series {missing[0]!r}",
                    hint=f"it has: {', '.join(known[:12]) or 'none'}",
                )
            return {name: self._scalars.series(name) for name in wanted}

    def summaries(self) -> dict[str, SeriesSummary]:
        """Return what each series came to, by name. Up to a second old while the run is running."""
        with _well_formed(self.path):
            return {name: summary_from_json(name, value) for name, value in self.stored_summaries().items()}

    def stored_summaries(self) -> dict[str, dict[str, Any]]:
        """Return the summaries as `summary_from_json` takes them: many times faster where they are only passed on."""
        with self._lock, _well_formed(self.path):
            self._look()
            return self._summaries.of(self._ranks, self._scalars)

    def epochs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the steps whose epoch was logged and their epochs; both empty when none was."""
        with self._lock:
            self.refresh()
            if "epoch" not in self._scalars:
                return np.empty(0, np.int64), np.empty(0, np.float64)
            series = self._scalars.series("epoch")
            return series.steps, series.v

    def _snapshot_set(self, kind: SnapshotKind) -> SnapshotSet:
        self._look()
        found = self._snapshots[kind]
        found.refresh(self._ranks)
        return found

    def snapshot_steps(self, kind: SnapshotKind = "params") -> list[int]:
        """Return the steps at which all tensors are kept, growing."""
        with self._lock:
            return self._snapshot_set(kind).steps

    def snapshot(self, step: int, kind: SnapshotKind = "params") -> dict[str, npt.NDArray[Any]]:
        """Return all tensors at a step, bit for bit; bfloat16 as float32 of the same values."""
        with self._lock:
            return self._snapshot_set(kind).read(step)

    def snapshot_header(self, step: int, kind: SnapshotKind = "params") -> SnapshotHeader:
        """Return names, types, shapes and places of the tensors at a step."""
        with self._lock:
            return self._snapshot_set(kind).header(step)

    def snapshot_path(self, step: int, kind: SnapshotKind = "params") -> Path:
        """Return the safetensors file of a step."""
        with self._lock:
            return self._snapshot_set(kind).path(step)

    def tensor(self, name: str, step: int, kind: SnapshotKind = "params") -> npt.NDArray[Any]:
        """Return one tensor at a step; only its bytes are read."""
        with self._lock:
            return self._snapshot_set(kind).tensor(name, step)

    def tensor_film(
        self, name: str, steps: Iterable[int] | None = None, kind: SnapshotKind = "params"
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return steps [T] and frames [T, ...] of one tensor at the given steps, or at all that there are."""
        with self._lock:
            return self._snapshot_set(kind).film(name, None if steps is None else list(steps))

    def _statistics_set(self) -> StatisticsSet:
        self._look()
        self._statistics.refresh(self._ranks)
        return self._statistics

    def statistics_series(self) -> list[str]:
        """Return the names of the series that have statistics, in the order first recorded."""
        with self._lock:
            return self._statistics_set().names()

    def statistics_rows(self) -> dict[str, int]:
        """Return how many rows of statistics each series has, without reading them."""
        with self._lock:
            return self._statistics_set().rows()

    def statistics(self, series: str) -> StatisticsTable:
        """Return the statistics and histograms of a tensor; raises NotFoundError for a series that has none."""
        with self._lock:
            table = self._statistics_set().read(series)
            if table is None:
                raise NotFoundError(
                    f"Run {self.project}/{self.run_id} has no statistics of {series!r}",
                    hint=f"it has: {', '.join(self.statistics_series()[:12]) or 'none'}",
                )
            return table

    def statistics_columns(self, prefix: str, column: str) -> dict[str, StepsAndValues]:
        """Return one column of the statistics of all series whose names begin with `prefix`: steps and values."""
        with self._lock:
            return self._statistics_set().columns(prefix, column)

    def _media_set(self) -> MediaSet:
        self._look()
        self._media.refresh(self._ranks)
        return self._media

    def media_series(self) -> dict[str, MediaSeries]:
        """Return what was logged besides numbers: kinds, counts and steps by series, in the order first recorded."""
        with self._lock:
            return self._media_set().series()

    def media(self, name: str, steps: Iterable[int] | None = None) -> list[MediaItem]:
        """Return the values of a series by step, those of one step in the order logged; raises NotFoundError."""
        with self._lock:
            found = self._media_set()
            if name not in found:
                raise NotFoundError(
                    f"Run {self.project}/{self.run_id} has no values of {name!r}",
                    hint=f"it has: {', '.join(list(found.series())[:12]) or 'none'}",
                )
            return found.items(name, None if steps is None else set(steps))

    def blob(self, sha256: str) -> Path:
        """Return the file of a recorded value by its hash.

        Raises UsageError for what is no hash, NotFoundError where no value of this run has it, and DamagedError where
        the file is gone.
        """
        with self._lock:
            found = self._media_set()
            name = found.blob_name(sha256)
            with found.watching(name):
                return find_blob(self.path, [boot.folder.blobs for boot in self._boots.values()], name)

    def blob_bytes(self, sha256: str) -> bytes:
        """Return the bytes of a recorded value, held against their hash; raises DamagedError where they differ."""
        path = self.blob(sha256)
        with self._media.watching(path.name):
            return read_blob(path)

    def console(self, *, last: int | None = None) -> list[ConsoleLine]:
        """Return what was printed, in the order of time; with `last`, only that many lines from the end."""
        with self._lock:
            self._look()
            return beside.console_of(self._ranks, last=last)

    def alerts(self) -> list[Alert]:
        """Return the alerts in the order of time."""
        with self._lock:
            self._look()
            return beside.alerts_of(self._ranks)

    def code(self) -> dict[str, Any]:
        """Return script, command, commit, branch and what was changed since: of the latest process of rank 0."""
        with self._lock:
            self._look()
            return beside.facts_of(self._ranks, "code", self._run_file.value.get("code") or {})

    def environment(self) -> dict[str, Any]:
        """Return Python, machine, processors, GPUs, seeds and a few variables: of the latest process of rank 0."""
        with self._lock:
            self._look()
            return beside.facts_of(self._ranks, "environment", self._run_file.value.get("environment") or {})

    def diff(self) -> str | None:
        """Return the changes of the code since its commit (`git diff HEAD`), None when there is nothing of that."""
        with self._lock:
            self._look()
            return beside.text_of(self._ranks, lambda boot: boot.folder.diff)

    def packages(self) -> dict[str, str]:
        """Return the versions of the installed packages by name; empty when they were not recorded."""
        with self._lock:
            self._look()
            return beside.packages_of(self._ranks)

    def models(self) -> list[str]:
        """Return the names of the models whose graphs were recorded, "" for one without a name; empty when none was."""
        return list(self._graph_files())

    def graph(self, model: str | None = None) -> Graph | None:
        """Return the network's graph, None when none was recorded; of several models, all of them below their names.

        With `model`, that one's alone and under its own names; raises NotFoundError when there is none of this name.
        """
        files = self._graph_files()
        if model is not None:
            return graph_from_json(files[self._known(model, files)].read_bytes())
        return (
            join_graphs({name: graph_from_json(path.read_bytes()) for name, path in files.items()}) if files else None
        )

    def network_path(self, model: str | None = None) -> Path | None:
        """Return a recorded network's file, None when none was recorded; of several models the first one's."""
        files = self._graph_files()
        wanted = list(files) or [""] if model is None else [self._known(model, files)]
        return next((path for name in wanted if (path := self._network_file(name, "network.pt2"))), None)

    def _known(self, model: str, files: Mapping[str, Path]) -> str:
        if model in files:
            return model
        named = ", ".join(filter(None, files))
        raise NotFoundError(
            f"Run {self.project}/{self.run_id} has no model {model!r}",
            hint=f"it has: {named}" if named else "its only model has no name",
        )

    def _graph_files(self) -> dict[str, Path]:
        """The graphs that the latest writer of the lowest rank with any recorded, by model."""
        with self._lock:
            self._look()
            for boots in self._ranks:
                for boot in reversed(boots):
                    recorder = boot.state.get("recorder")
                    told = recorder.get("models") if isinstance(recorder, Mapping) else None
                    if found := boot.folder.graphs(told if isinstance(told, list) else []):
                        return found
            return {}

    def _network_file(self, model: str, name: str) -> Path | None:
        with self._lock:
            for boots in self._ranks:
                for boot in reversed(boots):
                    path = boot.folder.network / model / name
                    if path.is_file():
                        return path
            return None

    def notices(self) -> tuple[Notice, ...]:
        """Return what a reader must be told, after reading scalars and statistics whole."""
        with self._lock, _well_formed(self.path):
            self.refresh()
            self._statistics_set()
            self._media_set()
            for kind in self._snapshots:
                self._snapshot_set(kind)
            return notices_of(
                self._ranks, self._scalars, self._statistics, self._snapshots, self._meta_file, media=self._media
            )

    def version(self) -> str:
        """Return a short word that changes when anything of the run changed on disk, heartbeats left out."""
        with self._lock, _well_formed(self.path):
            self._look()
            now = time.time()
            facts: list[object] = [self._run_file.stamp, self._meta_file.stamp]
            for boot in self._boots.values():
                facts += (boot.folder.name, boot.status(now), self._scalars.mark(boot), news_of(boot))
            return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()

    def forget(self) -> None:
        """Give back the memory of what was read; the next question reads it again."""
        with self._lock:
            self._opened = False


@contextlib.contextmanager
def _well_formed(path: Path) -> Iterator[None]:
    """Say that a file is damaged where its JSON is valid but holds the wrong kinds of things."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        if isinstance(error, EpochalError):
            raise
        raise DamagedError(
            f"run.json, state.json or summary.json of {path} holds something unexpected: {error}",
            hint="restore it from a copy, or delete the run",
        ) from error
