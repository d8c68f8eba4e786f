"""Many threads write at once, boots follow and overlap each other, and readers look on: nothing is lost or doubled."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epochal.store import RunWriter, StoredRun, journal, ring, threads

Row = tuple[int, float, bytes]
"""Step, time, and the bits of the value."""

VALUES = st.floats(width=64, allow_nan=True, allow_subnormal=True) | st.sampled_from([-0.0, 5e-324, float("inf")])
NAMES = st.sampled_from(["own", "other", "tra/in", "ü"])
STEPS = st.integers(0, 30)
LOG = st.tuples(st.just("log"), NAMES, STEPS, VALUES)
MANY = st.tuples(st.just("many"), st.lists(NAMES, min_size=1, max_size=4, unique=True), STEPS, VALUES)
SHARED = st.tuples(st.just("shared"), st.just(""), st.just(0), VALUES)
BURST = st.tuples(st.just("burst"), NAMES, st.integers(1, 80), VALUES)
PAUSE = st.tuples(st.sampled_from(["flush", "rotate", "yield"]), st.just(""), st.just(0), st.just(0.0))
ACTIONS = st.lists(LOG | MANY | SHARED | SHARED | BURST | PAUSE, max_size=25)


@dataclass
class BootPlan:
    """What one process's part does: a list of actions for each of its threads."""

    producers: list[list[tuple[str, object, int, float]]]
    rewind_to: int | None = None
    overlaps: bool = False
    """Whether it begins before the one in front of it has ended."""


BOOTS = st.lists(
    st.builds(
        BootPlan,
        st.lists(ACTIONS, min_size=1, max_size=4),
        rewind_to=st.none() | STEPS,
        overlaps=st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


@dataclass
class Boot:
    """A boot at work: what each thread has given it, in the order in which each gave it."""

    writer: RunWriter
    number: int
    rewind_to: int | None
    given: list[dict[str, list[Row]]] = field(default_factory=list)
    workers: list[threading.Thread] = field(default_factory=list)

    def start(self, plan: BootPlan) -> None:
        for place, actions in enumerate(plan.producers):
            self.given.append(defaultdict(list))
            self.workers.append(threading.Thread(target=self.work, args=(place, actions)))
        for worker in self.workers:
            worker.start()

    def work(self, place: int, actions: list[tuple[str, object, int, float]]) -> None:
        t = 100.0 * self.number + place
        given = self.given[place]

        def note(name: str, step: int, value: float) -> None:
            given[name].append((step, t, np.float64(value).tobytes()))

        for kind, what, step, value in actions:
            if kind == "log":
                self.writer.append(f"{place}/{what}", step, t, value)
                note(f"{place}/{what}", step, value)
            elif kind == "many":
                assert isinstance(what, list)
                self.writer.append_many({f"{place}/{name}": value for name in what}, step, t)
                for name in what:
                    note(f"{place}/{name}", step, value)
            elif kind == "shared":
                self.writer.append("shared", 7, t, value)
                note("shared", 7, value)
            elif kind == "burst":
                for part in range(step):
                    self.writer.append(f"{place}/{what}", part, t, value + part)
                    note(f"{place}/{what}", part, value + part)
            elif kind == "flush":
                assert self.writer.flush(20)
            elif kind == "rotate":
                with self.writer._drain._lock:
                    self.writer._drain._scalars.end()
            else:
                time.sleep(0)

    def end(self) -> None:
        for worker in self.workers:
            worker.join(60)
            assert not worker.is_alive()
        self.writer.finish()


class Onlooker(threading.Thread):
    """A reader that polls: nothing it sees may be new to the world, doubled, or out of order, and nothing goes back."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.run_read = StoredRun(path)
        self.seen: list[dict[str, list[Row]]] = []
        self.trouble: BaseException | None = None
        self._stop_now = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_now.wait(0.001):
                self.seen.append(rows_of(self.run_read))
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.trouble = error

    def stop(self) -> None:
        self._stop_now.set()
        self.join(60)
        assert self.trouble is None, self.trouble


def rows_of(run: StoredRun) -> dict[str, list[Row]]:
    return {
        name: [(int(s), float(t), v.tobytes()) for s, t, v in zip(found.steps, found.t, found.v, strict=True)]
        for name, found in run.scalars().items()
    }


def shown(boots: list[Boot]) -> tuple[dict[str, list[Row]], int]:
    """By plain lists: what readers show of boots in the order they began, each name's rows sorted by step; and how many
    rows are hidden. Rows of one step of several threads stand in any order."""
    found: dict[str, list[Row]] = {}
    hidden = 0
    for boot in boots:
        if boot.rewind_to is not None and boot is not boots[0]:
            for name, rows in found.items():
                kept = [row for row in rows if row[0] <= boot.rewind_to]
                hidden += len(rows) - len(kept)
                found[name] = kept
        mine: dict[str, list[Row]] = defaultdict(list)
        for rows_given in boot.given:
            for name, rows in rows_given.items():
                mine[name] += rows
        for name, rows in mine.items():
            first = min(row[0] for row in rows)
            earlier = found.get(name, [])
            kept = [row for row in earlier if row[0] < first]
            hidden += len(earlier) - len(kept)
            found[name] = kept + sorted(rows, key=lambda row: row[0])
    return {name: rows for name, rows in found.items() if rows}, hidden


@pytest.fixture(scope="module", autouse=True)
def small_and_quick() -> object:
    """A ring that goes round often, folds that come often, and threads that take turns often."""
    interval = sys.getswitchinterval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "CAPACITY", 64)
        patch.setattr(ring, "ROOM_WAIT_SECS", 5.0)
        patch.setattr(threads, "PERIOD_SECS", 0.002)
        patch.setattr(threads.Workers.__init__, "__kwdefaults__", {"period_secs": 0.002})
        sys.setswitchinterval(1e-5)
        yield None
        sys.setswitchinterval(interval)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans=BOOTS, watched=st.booleans(), patience=st.sampled_from([0.0, 5.0]))
def test_nothing_is_lost_or_doubled_and_each_threads_order_is_kept(
    plans: list[BootPlan], watched: bool, patience: float
) -> None:
    home = Path(tempfile.mkdtemp(prefix="epochal-producers-"))
    ring.ROOM_WAIT_SECS = patience  # without any, numbers that find the ring full go to memory
    try:
        boots = play(home, plans, watched=watched)
        check(StoredRun(home / "p" / "r"), boots)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def play(home: Path, plans: list[BootPlan], *, watched: bool) -> list[Boot]:
    boots: list[Boot] = []
    running: list[Boot] = []
    onlooker: Onlooker | None = None
    for number, plan in enumerate(plans):
        if not plan.overlaps:
            while running:
                running.pop(0).end()
        writer = RunWriter.create(
            home, project="p", run_id="r", resume="allow", rewind_to=plan.rewind_to, on_problem=lambda _: None
        )
        boot = Boot(writer, number, plan.rewind_to)
        boots.append(boot)
        running.append(boot)
        if watched and onlooker is None:
            onlooker = Onlooker(writer.path)
            onlooker.start()
        boot.start(plan)
    while running:
        running.pop(0).end()
    if onlooker is not None:
        onlooker.stop()
        look_over(onlooker, boots)
        assert rows_of(onlooker.run_read) == rows_of(StoredRun(home / "p" / "r")), "read bit by bit, or at once"
    return boots


def look_over(onlooker: Onlooker, boots: list[Boot]) -> None:
    every: Counter[tuple[str, Row]] = Counter()
    for boot in boots:
        for rows_given in boot.given:
            for name, rows in rows_given.items():
                every.update((name, row) for row in rows)
    before: dict[str, int] = {}
    for seen in onlooker.seen:
        for name, rows in seen.items():
            assert [row[0] for row in rows] == sorted(row[0] for row in rows)
            counted = Counter((name, row) for row in rows)
            assert not counted - every, "a row that nobody gave, or more often than it was given"
            if len(boots) == 1:
                assert len(rows) >= before.get(name, 0), "what was seen once stays"
                before[name] = len(rows)


def check(run: StoredRun, boots: list[Boot]) -> None:
    expected, hidden = shown(boots)
    found = rows_of(run)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        if name != "shared":
            assert found[name] == rows
            continue
        assert Counter(found[name]) == Counter(rows)
        for t in {row[1] for row in rows}:  # each thread of each boot has a time of its own
            assert [row for row in found[name] if row[1] == t] == [row for row in rows if row[1] == t]
    assert {n: s.n for n, s in run.summaries().items()} == {name: len(rows) for name, rows in expected.items()}
    told = {notice.code: notice.count for notice in run.notices()}
    assert told.pop("hidden", 0) == hidden
    assert told.keys() <= {"two_writers"}
    assert all(boot.writer._drain.ring.dropped == {} for boot in boots)
