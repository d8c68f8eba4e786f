from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from epochal.errors import FormatVersionError, NotFoundError, StorageFullError, UsageError
from epochal.store import Library, StoredRun
from tests.store.helpers import begin


def make(root: Path, run_id: str, *, name: str | None = None, loss: float = 1.0) -> Path:
    writer = begin(root, run_id=run_id, name=name)
    writer.log({"loss": loss}, 0)
    writer.finish()
    return writer.path


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for run_id, name in (
        ("20260101-000000-aaaaaa", "first"),
        ("20260102-000000-bbbbbb", "second"),
        ("20260103-000000-cccccc", "first"),
    ):
        make(tmp_path, run_id, name=name)
    return Library(tmp_path)


def test_runs_are_listed_newest_first_and_stay_the_same_objects(library: Library) -> None:
    runs = library.runs()
    assert [run.run_id[:8] for run in runs] == ["20260103", "20260102", "20260101"]
    assert all(a is b for a, b in zip(runs, library.runs(), strict=True))
    (library.root / "not a run").mkdir()
    (library.root / "p" / "empty").mkdir()
    (library.root / "file").touch()
    assert len(library.runs()) == 3
    shutil.rmtree(runs[0].path)
    assert len(library.runs()) == 2


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("latest", "20260103-000000-cccccc"),
        ("20260102-000000-bbbbbb", "20260102-000000-bbbbbb"),
        ("p/20260102-000000-bbbbbb", "20260102-000000-bbbbbb"),
        ("20260101", "20260101-000000-aaaaaa"),
        ("p/20260101", "20260101-000000-aaaaaa"),
        ("second", "20260102-000000-bbbbbb"),
        ("p/second", "20260102-000000-bbbbbb"),
    ],
)
def test_a_run_is_found_by_each_of_its_names(library: Library, name: str, found: str) -> None:
    assert library.run(name).run_id == found


def test_a_run_that_is_not_there_names_near_ones(library: Library, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no run 'p/secnd'") as caught:
        library.run("p/secnd")
    assert caught.value.hint.startswith("near: p/second")
    with pytest.raises(NotFoundError, match="There is no run 'q/second'"):
        library.run("q/second")
    with pytest.raises(UsageError, match="2 runs are called 'first'") as several:
        library.run("first")
    assert several.value.hint == "say which: p/20260103-000000-cccccc, p/20260101-000000-aaaaaa"
    with pytest.raises(NotFoundError, match="There are no runs in"):
        Library(tmp_path / "nowhere").run()


def test_what_people_change_replaces_what_the_run_said(library: Library) -> None:
    run = library.run("second")
    library.change(run, name="renamed", tags=["a", "a", "b"])
    library.change(run, notes="good", archived=True, tags=None)
    info = library.run("renamed").info()
    assert (info.name, info.tags, info.notes, info.archived) == ("renamed", ("a", "b"), "good", True)
    assert json.loads((run.path / "run.json").read_text())["name"] == "second"
    library.change(run, archived=False, tags=[])
    assert (run.info().archived, run.info().tags) == (False, ())
    with pytest.raises(UsageError, match="'status' of a run cannot be changed"):
        library.change(run, status="finished")
    with pytest.raises(UsageError, match="name cannot be empty"):
        library.change(run, name="  ")


def test_deleted_runs_can_be_restored(library: Library) -> None:
    run = library.run("second")
    library.delete(run)
    assert [r.info().name for r in library.runs()] == ["first", "first"]
    assert [r.run_id for r in library.deleted()] == [run.run_id]
    assert len(library.runs(include_deleted=True)) == 3
    with pytest.raises(NotFoundError, match="There is no run at"):
        run.info()
    restored = library.restore("p", run.run_id)
    assert restored.scalars()["loss"].v.tolist() == [1.0]
    assert (len(library.runs()), library.deleted()) == (3, [])
    with pytest.raises(NotFoundError, match="is not in the trash"):
        library.restore("p", run.run_id)
    with pytest.raises(UsageError):
        library.restore("..", "x")


def test_a_second_run_of_the_same_id_can_be_deleted_too(library: Library) -> None:
    run = library.run("second")
    library.delete(run)
    make(library.root, run.run_id, loss=2.0)
    with pytest.raises(UsageError, match="there is a run of that id"):
        library.restore("p", run.run_id)
    library.delete(library.run(run.run_id))
    assert len(library.deleted()) == 2
    assert library.restore("p", run.run_id).scalars()["loss"].v.tolist() == [2.0]


def test_rows_say_what_the_runs_say(library: Library) -> None:
    for _ in range(2):
        rows = library.rows()
        assert [row.info for row in rows] == [run.info() for run in library.runs()]
        assert [dict(row.summaries) for row in rows] == [run.summaries() for run in library.runs()]
        library = Library(library.root)  # the second time from the index
    assert (library.root / ".index.sqlite").exists()


def test_rows_follow_every_change(library: Library) -> None:
    def names() -> list[str]:
        return [row.info.name for row in library.rows()]

    assert names() == ["first", "second", "first"]
    for other in (library, Library(library.root)):
        library.change(library.run("20260102"), name="x" if other is library else "y")
        assert [row.info.name for row in other.rows()][1] == ("x" if other is library else "y")
    library.delete(library.run("20260103"))
    assert names() == ["y", "first"]
    make(library.root, "20260104-000000-dddddd", name="fourth")
    assert names() == ["fourth", "y", "first"]
    before = library.rows()[0].version
    writer = begin(library.root, run_id="20260104-000000-dddddd", resume="must")
    writer.log({"loss": 0.25}, 1)
    assert writer.flush()
    row = library.rows()[0]
    assert (row.info.status, row.summaries["loss"].last) == ("running", 0.25)
    assert row.version != before
    writer.finish()
    assert library.rows()[0].info.status == "finished"
    assert Library(library.root).rows()[0].summaries["loss"].n == 2


@pytest.mark.parametrize("damage", [b"no database", b"", b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_index_is_made_anew(library: Library, damage: bytes) -> None:
    expected = [row.info for row in library.rows()]
    (library.root / ".index.sqlite").write_bytes(damage)
    assert [row.info for row in Library(library.root).rows()] == expected
    assert [row.info for row in Library(library.root).rows()] == expected
    with sqlite3.connect(library.root / ".index.sqlite") as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (3,)
    db.close()


def test_a_locked_index_costs_nothing_but_time(library: Library) -> None:
    library.rows()
    db = sqlite3.connect(library.root / ".index.sqlite")
    db.execute("BEGIN EXCLUSIVE")
    make(library.root, "20260105-000000-eeeeee")
    assert len(Library(library.root).rows()) == 4
    db.close()


def test_runs_that_cannot_be_read_are_told_and_the_others_shown(library: Library) -> None:
    newer, broken = library.run("20260101"), library.run("20260102")
    (newer.path / "run.json").write_text(json.dumps({"format_version": 9}))
    (broken.path / "run.json").write_text("{")
    library = Library(library.root)
    assert [row.info.run_id[:8] for row in library.rows()] == ["20260103"]
    assert [(n.code, n.count) for n in library.notices()] == [("damaged", 1), ("format_version", 1)]
    assert "p/20260101-000000-aaaaaa is not shown: The run at" in library.notices()[1].message
    assert library.run().run_id[:8] == "20260103"
    with pytest.raises(FormatVersionError):
        StoredRun(newer.path).info()


@pytest.mark.parametrize("name", ["run.json", "state.json", "meta.json", "summary.json"])
@pytest.mark.parametrize("damage", ["deep", "huge"])
def test_a_hostile_file_of_one_run_hides_no_other(library: Library, name: str, damage: str) -> None:
    run = library.run("20260102")
    path = run.path / name if (run.path / name).exists() else next(iter(run.path.rglob(name)), run.path / name)
    if damage == "deep":
        path.write_text('{"a":' * 100_000)
    else:
        path.write_text(
            '{"format_version": 1, "created": 1e999, "archived": 1e999, "tags": [], "last_step": 1e999, "ended": 1e999,'
            ' "exit_code": 1e999, "loss": {"n": 1e999}, "series": {"loss": {"n": 1e999}}, "lost": 1e999}'
        )
    library = Library(library.root)
    assert {"20260103", "20260101"} <= {row.info.run_id[:8] for row in library.rows()}


def test_a_run_without_version_is_damaged(library: Library) -> None:
    run = library.run("20260101")
    (run.path / "run.json").write_text("{}")
    with pytest.raises(Exception, match="says format_version None, expected a whole number from 1 on"):
        run.info()


def test_changes_to_a_run_that_is_gone_say_so(library: Library) -> None:
    run = library.run("second")
    shutil.rmtree(run.path)
    with pytest.raises(NotFoundError, match="There is no run at"):
        library.change(run, name="x")
    with pytest.raises(NotFoundError, match="There is no run at"):
        library.delete(run)


def test_a_refused_change_names_the_run(library: Library) -> None:
    run = library.run("second")
    (run.path / "meta.json").mkdir()
    with pytest.raises(StorageFullError, match=f"{run.run_id} cannot be changed") as caught:
        library.change(run, name="x")
    assert caught.value.hint == "is the disk full or read-only?"
