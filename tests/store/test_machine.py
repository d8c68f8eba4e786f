"""Whatever is done to a run in whatever order, its readers see what a plain list of rows says."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from epochal.store import RunWriter, StoredRun, journal, threads
from epochal.store.compact import compact
from epochal.store.repair import repair

NAMES = st.sampled_from(["loss", "acc", "träin/loss", "epoch"])
STEPS = st.integers(-3, 40) | st.sampled_from([2**62, -(2**62)])
VALUES = st.floats(width=64) | st.sampled_from([float("nan"), float("inf"), -0.0, 5e-324])

Row = tuple[int, float, bytes]


class StoreMachine(RuleBasedStateMachine):
    """The model: per boot and series, the rows in the order logged."""

    @initialize(capacity=st.sampled_from([8, 64]))
    def begin(self, capacity: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="epochal-machine-"))
        self.root = self.home / "0"
        self.copies = 0
        self.capacity = capacity
        self.boots: list[dict[str, list[Row]]] = []
        self.writer: RunWriter | None = None
        self.readers: list[StoredRun] = []
        self.open()

    def open(self) -> None:
        # No thread folds by itself here, each fold is a rule; and a small ring goes round often.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads.Workers, "start", lambda self: None)
            patch.setattr(journal, "CAPACITY", self.capacity)
            self.writer = RunWriter.create(self.root, project="p", run_id="r", resume="allow")
        self.writer._drain.ring.failing = True  # nobody waits for a fold that never comes: memory takes it
        self.boots.append({})
        if not self.readers:
            self.readers.append(StoredRun(self.writer.path))

    @precondition(lambda self: self.writer)
    @rule(name=NAMES, step=STEPS, value=VALUES)
    def log(self, name: str, step: int, value: float) -> None:
        assert self.writer
        t = float(len(self.boots))
        self.writer.append(name, step, t, value)
        self.boots[-1].setdefault(name, []).append((step, t, np.float64(value).tobytes()))

    @precondition(lambda self: self.writer)
    @rule(first=st.integers(0, 30), count=st.integers(1, 40), value=VALUES, flush=st.booleans())
    def log_many(self, first: int, count: int, value: float, flush: bool) -> None:
        assert self.writer
        t = float(len(self.boots))
        for step in range(first, first + count):
            self.writer.append_many({"loss": value, "acc": float(step)}, step, t)
            for name, v in (("loss", value), ("acc", float(step))):
                self.boots[-1].setdefault(name, []).append((step, t, np.float64(v).tobytes()))
        if flush:
            self.writer._drain.cycle()

    @precondition(lambda self: self.writer)
    @rule()
    def flush(self) -> None:
        assert self.writer
        self.writer._drain.cycle()

    @precondition(lambda self: self.writer)
    @rule()
    def rotate(self) -> None:
        assert self.writer
        self.writer._drain._scalars.end()

    @precondition(lambda self: self.writer)
    @rule()
    def finish(self) -> None:
        assert self.writer
        self.end("finished")

    def end(self, status: str) -> None:
        assert self.writer
        from epochal.store import writer as module

        module._LIVE.discard(self.writer)
        self.writer._finished = True
        self.writer._drain.end(status, None)
        self.writer = None

    @precondition(lambda self: self.writer)
    @rule(fold=st.booleans())
    def crash(self, fold: bool) -> None:
        """The folder as the death of the process would leave it; memory beyond the journal dies with it."""
        assert self.writer
        if fold or self.writer._drain.ring._spilled:
            self.writer._drain.cycle()
        self.copies += 1
        target = self.home / str(self.copies)
        shutil.copytree(self.root, target)
        folder = self.writer.folder.relative_to(self.root)
        self.end("stopped")
        state = target / folder / "state.json"
        if state.exists():
            told = json.loads(state.read_text())
            state.write_text(json.dumps(told | {"pid": 2**22 + 1, "process": "1"}))
        self.root = target
        self.readers = [StoredRun(target / "p" / "r")]

    @precondition(lambda self: not self.writer)
    @rule()
    def resume(self) -> None:
        self.open()

    @rule()
    def open_another_reader(self) -> None:
        self.readers = [self.readers[0], StoredRun(self.root / "p" / "r")]

    @rule()
    def tidy(self) -> None:
        repair(self.root / "p" / "r")

    @rule()
    def squeeze(self) -> None:
        compact(self.root / "p" / "r")

    @rule()
    def forget(self) -> None:
        self.readers[0].forget()

    def expected(self) -> tuple[dict[str, list[Row]], int]:
        """Per series, the rows a reader shows, and how many are hidden."""
        shown: dict[str, list[Row]] = {}
        hidden = 0
        for boot in self.boots:
            for name, rows in boot.items():
                first = min(step for step, _, _ in rows)
                earlier = shown.get(name, [])
                kept = [row for row in earlier if row[0] < first]
                hidden += len(earlier) - len(kept)
                shown[name] = kept + sorted(rows, key=lambda row: row[0])
        return shown, hidden

    @invariant()
    def readers_see_what_was_logged(self) -> None:
        spilled = self.writer._drain.ring._spilled if self.writer else []
        if spilled:  # not on disk yet: only a fold brings it there
            return
        expected, hidden = self.expected()
        for run in self.readers:
            found = {
                name: [
                    (int(s), float(t), v.tobytes()) for s, t, v in zip(series.steps, series.t, series.v, strict=True)
                ]
                for name, series in run.scalars().items()
            }
            assert found == expected
            told = {notice.code: notice.count for notice in run.notices()}
            assert told == ({"hidden": hidden} if hidden else {})
            assert {n: s.n for n, s in run.summaries().items() if not self.writer} == (
                {} if self.writer else {n: len(rows) for n, rows in expected.items()}
            )

    def teardown(self) -> None:
        if getattr(self, "writer", None):
            self.end("stopped")
        shutil.rmtree(getattr(self, "home", Path("/nonexistent")), ignore_errors=True)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=80,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
