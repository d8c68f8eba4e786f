from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import DamagedError, NotFoundError
from epochal.store import Library, StoredRun
from tests.store.helpers import begin, rows, statistics_columns, wait_until


def test_a_resumed_run_shows_the_later_values_from_its_first_step_on(tmp_path: Path) -> None:
    first = begin(tmp_path, run_id="r")
    for step in range(0, 100, 10):
        first.log({"loss": 1.0, "only first": 1.0}, step)
        first.add_statistics(statistics_columns(["param/w", "param/old"], step))
        first.add_snapshot("params", {"w": np.full(2, step)}, step=step)
    first.finish("failed", error="out of memory")
    second = begin(tmp_path, run_id="r", resume="must")
    run = StoredRun(second.path)
    assert run.info().status == "running"
    for step in (55, 60, 65):
        second.log({"loss": 2.0, "only second": 2.0}, step)
        second.add_statistics(statistics_columns(["param/w"], step))
        second.add_snapshot("params", {"w": np.full(2, -step)}, step=step)
    assert second.flush()
    series = run.scalars()
    assert series["loss"].steps.tolist() == [0, 10, 20, 30, 40, 50, 55, 60, 65]
    assert series["loss"].v.tolist() == [1.0] * 6 + [2.0] * 3
    assert len(series["only first"]) == 10, "a series that the later one does not log stays as it is"
    assert len(series["only second"]) == 3
    assert run.summaries()["loss"].n == 9
    table = run.statistics("param/w")
    assert table.steps.tolist() == [0, 10, 20, 30, 40, 50, 55, 60, 65]
    assert table.columns["mean"][-3:].tolist() == [55, 60, 65]
    assert len(run.statistics("param/old")) == 10
    assert run.snapshot_steps() == [0, 10, 20, 30, 40, 50, 55, 60, 65]
    assert run.tensor("w", 60).tolist() == [-60, -60]
    assert {n.message.split(" are hidden")[0]: n.count for n in run.notices()} == {
        "4 numbers": 4,
        "4 params snapshots": 4,
    }
    second.finish()
    assert (run.info().status, run.info().error) == ("finished", None)
    assert len(list((run.path / "w").iterdir())) == 2, "both stay on disk"


def test_rows_are_shown_by_step_and_rows_of_a_step_in_the_order_logged(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 30, 2000).tolist()
    for place, step in enumerate(steps):
        writer.append("a", step, 0.0, float(place))
        if place == 900:
            assert writer.flush()
    expected = sorted(range(2000), key=lambda place: steps[place])
    run = StoredRun(writer.path)
    assert run.scalars()["a"].v.tolist() == [float(place) for place in expected]
    writer.finish()
    assert StoredRun(writer.path).scalars()["a"].v.tolist() == [float(place) for place in expected]


def test_what_was_handed_out_never_changes(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    kept = []
    for step in range(600):
        writer.log({"a": step / 3}, step)
        if step % 50 == 0:
            kept.append(run.scalars()["a"])
        if step % 120 == 119:
            assert writer.flush()
    writer.finish()
    run.scalars()
    for series in kept:
        assert series.v.tolist() == [s / 3 for s in range(len(series))]
        with pytest.raises(ValueError, match="read-only"):
            series.v[0] = 1.0
    assert len(kept[-1]) == 551


def test_a_refresh_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    writer = begin(tmp_path)
    for step in range(20_000):
        writer.append("a", step, 0.0, 1.0)
    assert writer.flush()
    run = StoredRun(writer.path)
    assert run.refresh()
    assert not run.refresh()
    taken: list[int] = []
    plain = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        taken.append(size)
        return plain(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    writer.append("a", 20_000, 0.0, 1.0)
    assert writer.flush()
    taken.clear()
    assert run.refresh()
    assert sum(taken) < 20_000, "bytes asked for, of 560,000 in the segment"
    writer.finish()


def test_many_readers_beside_a_writer(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    writer.log({"a": 0.0}, 0)
    wrong: list[object] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                series = run.scalars()["a"]
                if series.v.tolist() != [s / 7 for s in range(len(series))]:
                    wrong.append(series)
                run.version(), run.info(), run.summaries(), run.notices()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must fail and not hang
                wrong.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(1, 3000):
        writer.append("a", step, 0.0, step / 7)
        if step % 300 == 0:
            writer.flush()
    stop.set()
    for thread in threads:
        thread.join()
    writer.finish()
    assert wrong == []
    assert len(run.scalars()["a"]) == 3000


def test_the_version_changes_with_every_kind_of_news(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    seen = [run.version()]

    def changed() -> bool:
        if run.version() in seen:
            return False
        seen.append(run.version())
        return True

    writer.log({"a": 1.0}, 0)
    assert changed(), "at once, from the journal"
    assert writer.flush()
    changed()
    assert run.version() == seen[-1]
    writer.add_statistics(statistics_columns(["a"], 0))
    assert writer.flush()
    assert changed()
    time.sleep(0.02)  # folders carry the time of their last change in clock ticks
    writer.add_snapshot("params", {"w": np.zeros(1)}, step=0)
    assert changed()
    writer.put_file("network/graph.json", b"{}")
    assert changed()
    (writer.path / "meta.json").write_text('{"name": "x"}')
    assert changed()
    writer.define("a", better="max")
    assert writer.flush()
    assert changed()
    writer.finish()
    assert changed()
    assert StoredRun(writer.path).version() == StoredRun(writer.path).version()


def test_epochs_are_a_series_like_any_other(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    assert [len(a) for a in run.epochs()] == [0, 0]
    for step in range(5):
        writer.log({"epoch": step / 2}, 10 * step)
    steps, epochs = run.epochs()
    assert (steps.tolist(), epochs.tolist()) == ([0, 10, 20, 30, 40], [0.0, 0.5, 1.0, 1.5, 2.0])
    writer.finish()
    assert run.info().last_epoch == 2.0


def test_a_series_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"loss": 1.0, "acc": 1.0}, 0)
    with pytest.raises(NotFoundError, match="has no series 'los'") as caught:
        StoredRun(writer.path).scalars(["loss", "los"])
    assert caught.value.hint == "it has: acc, loss"
    writer.finish()


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    run = StoredRun(tmp_path / "p" / "r")
    for question in (run.info, run.scalars, run.version, run.notices, run.snapshot_steps):
        with pytest.raises(NotFoundError, match="There is no run at") as caught:
            question()
        assert "it has no run.json" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("run.json", {"created": "yesterday"}),
        ("run.json", {"config": 7}),
        ("run.json", {"tags": 3}),
        ("state.json", {"last_step": "x"}),
        ("state.json", {"heartbeat": "x"}),
        ("state.json", {"dropped": {"scalars": "many"}}),
        ("summary.json", {"series": [1, 2]}),
        ("summary.json", {"series": {"a": 5}}),
        ("summary.json", {"series": {"a": {"n": "x"}}}),
    ],
)
def test_small_files_of_the_wrong_shape_are_damage_and_no_accident(
    tmp_path: Path, file: str, change: dict[str, object]
) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    writer.finish()
    path = writer.path / file if file == "run.json" else writer.folder / file
    told = json.loads(path.read_text()) | change
    path.write_text(json.dumps(told | {"host": "elsewhere", "status": "running"} if file == "state.json" else told))
    run = StoredRun(writer.path)
    with pytest.raises(DamagedError, match="holds something unexpected") as caught:
        run.info(), run.summaries(), run.notices()
    assert str(writer.path) in caught.value.message
    library = Library(tmp_path)
    assert library.rows() == []
    assert [notice.code for notice in library.notices()] == ["damaged"]


def test_forgetting_gives_the_same_answers_again(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.5}, 3)
    run = StoredRun(writer.path)
    before = rows(run, "a")
    run.forget()
    assert rows(run, "a") == before
    writer.finish()


def test_a_run_that_has_only_just_begun_is_running(tmp_path: Path) -> None:
    folder = tmp_path / "p" / "r"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format_version": 1, "created": time.time()}))
    assert StoredRun(folder).info().status == "running"
    (folder / "w" / "r000-abcdef").mkdir(parents=True)
    run = StoredRun(folder)
    assert run.info().status == "running"
    assert run.scalars() == {}
    assert run.summaries() == {}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "running"),
        ({"pid": 2**22 + 5, "process": "1"}, "crashed"),
        ({"process": "1"}, "crashed"),
        ({"heartbeat": 0.0}, "running"),
        ({"host": "elsewhere"}, "running"),
        ({"host": "elsewhere", "heartbeat": 0.0}, "crashed"),
        ({"scope": "another boot", "heartbeat": 0.0}, "crashed"),
        ({"scope": None, "process": None, "heartbeat": 0.0}, "crashed"),
        ({"scope": None, "process": None, "pid": 2**22 + 5}, "crashed"),
        ({"pid": "x"}, "running"),
        ({"status": "finished", "pid": 2**22 + 5}, "finished"),
        ({"status": "stopped", "heartbeat": 0.0}, "stopped"),
    ],
)
def test_who_counts_as_alive(tmp_path: Path, changes: dict[str, object], status: str) -> None:
    writer = begin(tmp_path)
    state = json.loads((writer.folder / "state.json").read_text())
    copy = tmp_path / "copy" / "r"
    (copy / "w" / writer.folder.name).mkdir(parents=True)
    (copy / "run.json").write_bytes((writer.path / "run.json").read_bytes())
    (copy / "w" / writer.folder.name / "state.json").write_text(json.dumps(state | changes))
    assert StoredRun(copy).info().status == status
    writer.finish()


def test_a_number_is_visible_within_a_moment_of_its_call(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    writer.log({"a": 0.0}, 0)
    run.scalars()
    taken = []
    for step in range(1, 50):
        writer.log({"a": 1.0}, step)
        began = time.perf_counter()
        wait_until(lambda step=step: len(run.scalars()["a"]) == step + 1)  # type: ignore[misc]
        taken.append(time.perf_counter() - began)
    assert sorted(taken)[len(taken) // 2] < 0.1
    writer.finish()


def test_the_last_step_is_that_of_the_journal_and_a_run_without_a_name_has_a_short_one(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="20261121-120000-abcdef")
    run = StoredRun(writer.path)
    for step in (3, 7, 5):
        writer.log({"loss": 1.0}, step)
    run.refresh()
    assert run.info().last_step == 7
    writer.log({"loss": 1.0}, 11)
    run.refresh()
    assert run.info().last_step == 11, "before the next fold"
    assert run.info().name == f"{writer.project}-abcdef"
    writer.finish()
    assert run.info().last_step == 11
