"""What happens behind `log()`: once a second the journal is folded into the Arrow stream and the facts renewed."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from epochal.errors import RecordingWarning
from epochal.facts import is_system
from epochal.store.arrow import SCALAR_COLUMNS
from epochal.store.files import replace_file, sync_folder, to_json, write_all
from epochal.store.journal import JournalFile, Records
from epochal.store.layout import WriterFolder
from epochal.store.media import PendingMedia
from epochal.store.pending import PendingStatistics
from epochal.store.ring import Ring
from epochal.store.segments import SegmentWriter
from epochal.store.summary import Tally, summaries_to_json

__all__ = ["HEARTBEAT_SECS", "Drain"]

HEARTBEAT_SECS = 2.0
CLOCK_SECS = 1.0  # a clock that is set back by less is not worth a word
LOSSES = ("val_loss", "val/loss", "validation_loss", "loss", "train_loss", "train/loss")
"""What people call the number that tells the best snapshot, where they did not say so."""
SUMMARY_SHARE = 50  # a summary of thousands of series is renewed less often than each second


def _warn(message: str) -> None:
    # Where warnings are errors this raises inside a worker thread, which must go on.
    with contextlib.suppress(RecordingWarning):
        warnings.warn(message, RecordingWarning, stacklevel=2)


class Drain:
    """Everything that one process writes, apart from snapshots and files."""

    def __init__(
        self,
        folder: WriterFolder,
        state: dict[str, Any],
        *,
        on_problem: Callable[[str], None] | None,
        wake: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.failing = ""
        self._on_problem = on_problem or _warn
        self._said: set[str] = set()
        self._lock = threading.RLock()
        self._state_lock = threading.RLock()
        self._state = state
        self._state_changed = False
        self._written_at = 0.0
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._system_ids: list[int] = []
        self._unwritten_names = b""
        self._names_fd = -1
        self._tallies: list[Tally] = []
        self._summary_due = False
        self._summary_at = 0.0
        self.renew_all = False
        self.clock_went_back: Callable[[float], object] = lambda secs: None
        """Called with how far, where the system's clock was set back: what waits for a time of day waits too long."""
        self._clock = time.time() - time.monotonic()
        self._journal = JournalFile(folder.journal)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._names_fd = os.open(folder.names, flags, 0o666)
            self.ring = Ring(self._journal, ids=self._ids, intern=self._intern, wake=wake)
            self._scalars = SegmentWriter(folder.scalars, SCALAR_COLUMNS)
            self.statistics = PendingStatistics(folder.stats)
            self.media = PendingMedia(folder, add_statistics=self.add_statistics, drop=self.drop)
            # state.json is replaced too often to be synced each time; after a power cut this says what it began with.
            replace_file(folder.first_state, to_json(state), sync=True)
            self._write_state()
            for path in (folder.path, *folder.path.parents[:4]):
                sync_folder(path)
        except OSError:
            self._journal.remove()
            raise

    def _intern(self, name: str) -> int:
        """Give a series its number, written down before its first use. Called under the ring's lock."""
        number = len(self._names)
        self._unwritten_names += json.dumps(name).encode("ascii") + b"\n"
        with contextlib.suppress(OSError):
            self._write_names()
        self._names.append(name.encode("utf-8", "backslashreplace").decode("utf-8"))
        self._ids[name] = number
        if is_system(name):
            self._system_ids.append(number)
        return number

    def _write_names(self) -> None:
        if self._unwritten_names:
            size = os.fstat(self._names_fd).st_size
            try:
                write_all(self._names_fd, self._unwritten_names)
            except OSError:
                os.ftruncate(self._names_fd, size)
                raise
            self._unwritten_names = b""

    def cycle(self) -> None:
        """Fold, write statistics, renew summary and heartbeat. A disk that refuses is tried again the next time."""
        with self._lock:
            self._look_at_clock()
            try:
                self._scalars.check_present()
                wrote = self._fold()
                wrote |= self.statistics.write()
                wrote |= self.media.write()
                if wrote:
                    self._scalars.sync()
                    self.statistics.sync()
                    self.media.sync()
                self._succeed()
            except OSError as error:
                self._fail(error)
            self._count_drops()
            with contextlib.suppress(OSError):
                self._renew()

    def _look_at_clock(self) -> None:
        before, self._clock = self._clock, time.time() - time.monotonic()
        if before - self._clock > CLOCK_SECS:
            self.clock_went_back(before - self._clock)

    def _fold(self) -> bool:
        if self._unwritten_names:
            with self.ring.lock:
                self._write_names()
        records, end, spilled = self.ring.take()
        if end == self.ring.folded:
            return False
        if len(records):
            order = np.argsort(records["series"], kind="stable")
            rows = records[order]
            arrays = {"name": rows["series"], "step": rows["step"], "t": rows["t"], "v": rows["v"]}
            self._scalars.write(arrays, self._names[: len(self._names)], rows_end=end)
        self.ring.release(end, spilled)
        if len(records):
            self._tally(rows)
            self._note_progress(records)
        return True

    def _tally(self, rows: Records) -> None:
        """Bring the summaries up to date with rows grouped by series."""
        series = rows["series"]
        starts = np.flatnonzero(np.r_[True, series[1:] != series[:-1]])
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            number = int(series[start])
            while len(self._tallies) <= number:
                self._tallies.append(Tally(self._names[len(self._tallies)]))
            self._tallies[number].add(rows["step"][start:end], rows["v"][start:end])
        self._summary_due = True

    def _note_progress(self, records: Records) -> None:
        if self._system_ids:  # the machine's numbers are no steps of the training
            records = records[~np.isin(records["series"], self._system_ids)]
            if not len(records):
                return
        changes: dict[str, Any] = {"last_step": int(records["step"][-1])}
        if "epoch" in self._ids:
            epochs = records["v"][records["series"] == self._ids["epoch"]]
            epochs = epochs[np.isfinite(epochs)]
            if len(epochs):
                changes["last_epoch"] = float(epochs[-1])
        self.set_state(changes)

    def _renew(self, *, force: bool = False) -> None:
        """Write summary.json and state.json where they are due."""
        force, self.renew_all = force or self.renew_all, False
        if self._summary_due and (force or time.monotonic() >= self._summary_at):
            began = time.monotonic()
            replace_file(self.folder.summary, summaries_to_json(self._tallies, rows_end=self.ring.folded))
            self._summary_due = False
            self._summary_at = time.monotonic() + SUMMARY_SHARE * (time.monotonic() - began)
        if self._state_changed or time.monotonic() - self._written_at >= HEARTBEAT_SECS - 0.5:
            self._write_state()

    def _write_state(self, *, sync: bool = False) -> None:
        with self._state_lock:
            self._state["heartbeat"] = time.time()
            data = to_json(self._state)
            self._state_changed = False
        replace_file(self.folder.state, data, sync=sync)
        self._written_at = time.monotonic()

    def _fail(self, error: OSError) -> None:
        self.statistics.trim()
        self.media.trim()
        self.ring.fail(failing=True)
        if not self.failing:
            self.failing = error.strerror or str(error)
            self.problem(
                f"nothing can be written to {self.folder.path}: {self.failing}; "
                "numbers are kept in memory, as far as there is room, and written when it works again"
            )

    def _succeed(self) -> None:
        if self.failing:
            self.failing = ""
            self.ring.fail(failing=False)

    def _count_drops(self) -> None:
        with self.ring.lock:
            series = dict(self.ring.dropped)
        counts = {"scalars": sum(series.values()), "statistics": self.statistics.dropped}
        with self._state_lock:
            dropped = self._state["dropped"]
            for code, count in counts.items():
                if count and dropped.get(code) != count:
                    dropped[code] = count
                    self._state_changed = True
            if series:
                self._state["dropped_series"] = series
        for code, count in counts.items():
            if count:
                self._say_once(code, f"the memory for {code} that cannot be written is full: some are lost")

    def set_state(self, changes: Mapping[str, Any]) -> None:
        """Change state.json at the next cycle."""
        with self._state_lock:
            if any(self._state.get(key) != value for key, value in changes.items()):
                self._state.update(changes)
                self._state_changed = True

    def define(self, series: str, facts: Mapping[str, Any]) -> None:
        """Note how a series is meant."""
        with self._state_lock:
            defined = self._state["defines"].setdefault(series, {})
            if any(defined.get(key) != value for key, value in facts.items()):
                defined.update(facts)
                self._state_changed = True

    def best_steps(self) -> dict[str, int]:
        """The step at which each series whose better way is known was best, with all numbers logged so far.

        Where no way was defined, that of the usual loss, if there is one: the least.
        """
        with self._lock:
            with contextlib.suppress(OSError):
                self._fold()
            with self._state_lock:
                ways = {name: facts.get("better") for name, facts in self._state["defines"].items()}
            ways = {name: way for name, way in ways.items() if way}
            tallies = {tally.name: tally for tally in self._tallies if tally.n > tally.nan + tally.inf}
            if not ways:
                ways = dict.fromkeys([name for name in LOSSES if name in tallies][:1], "min")
            return {
                name: tallies[name].max_step if way == "max" else tallies[name].min_step
                for name, way in ways.items()
                if name in tallies
            }

    def drop(self, code: str, count: int, message: str) -> None:
        """Count a loss; say so the first time."""
        with self._state_lock:
            self._state["dropped"][code] = self._state["dropped"].get(code, 0) + count
            self._state_changed = True
        if message:
            self._say_once(code, message)

    def _say_once(self, code: str, message: str) -> None:
        if code not in self._said:
            self._said.add(code)
            self.problem(message)

    def problem(self, message: str) -> None:
        """Tell the user that something is not recorded."""
        self._on_problem(message)

    def add_statistics(self, columns: Mapping[str, Any]) -> None:
        """Queue statistics rows."""
        self.statistics.add(columns)

    def end(self, status: str, error: str | None) -> None:
        """Fold what is left, take the journal away and say how it ended."""
        self.ring.close()
        with self._lock:
            self.renew_all = True
            self.cycle()
            left = self.ring.end - self.ring.folded
            # While the journal is there readers count for themselves: it goes after the summary was renewed.
            if not left and not self.failing and not self._summary_due:
                self._scalars.end()
                self.statistics.end()
                self.media.end()
                self._journal.remove()
            else:
                self._scalars.abandon()
                self.statistics.abandon()
                self.media.abandon()
                self._journal.close()
                self.ring.give_up()
                self._count_drops()
                if left or self.failing:
                    self.problem(f"the run ended while {left} numbers could not be written: {self.failing}")
            with contextlib.suppress(OSError):
                os.close(self._names_fd)
            self.set_state({"status": status, "ended": time.time(), **({"error": error} if error else {})})
            with contextlib.suppress(OSError):
                self._renew(force=True)
                self._write_state(sync=True)

    def detach_in_child(self) -> None:
        """Make a forked child's copy harmless."""
        self._lock, self._state_lock = threading.RLock(), threading.RLock()
        self.ring.detach_in_child(
            lambda: self._say_once(
                "forked",
                "a process forked from the recording one logged numbers: they are not recorded; "
                "give it a run of its own, or hand the numbers to its parent",
            )
        )
