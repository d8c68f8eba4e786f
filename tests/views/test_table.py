from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from epochal.store.library import Library
from epochal.views.table import RunsTable
from tests.server.recorded import begin, fill, record


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for number in range(3):
        record(tmp_path, name=f"run {number}")
    return Library(tmp_path)


def test_rows_come_newest_first_and_stay_the_same_objects(library: Library) -> None:
    table = RunsTable(library)
    rows, notices = table.refresh()
    assert [row.info.name for row in rows] == ["run 2", "run 1", "run 0"]
    assert notices == []
    again, _ = table.refresh()
    assert all(a is b for a, b in zip(rows, again, strict=True))


def test_one_row_is_that_of_the_table(library: Library) -> None:
    table = RunsTable(library)
    run = next(run for run in library.runs() if run.info().name == "run 2")  # ids of one second come in any order
    row = table.one(run)
    assert row.parameters == 12 * 4 + 12 + 36
    run.scalars()  # what was read of a run is no change of it
    run.notices()
    assert table.one(run) is row
    assert table.refresh()[0][0] is row


def test_a_change_is_seen_by_both(library: Library) -> None:
    table = RunsTable(library)
    run = next(run for run in library.runs() if run.info().name == "run 2")
    before = table.one(run)
    Library(library.root).change(run, name="renamed elsewhere")
    after = table.one(run)
    assert after.info.name == "renamed elsewhere"
    assert after.version != before.version
    assert table.refresh()[0][0].info.name == "renamed elsewhere"


def test_a_running_run_is_as_new_as_asked_for(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    try:
        library = Library(tmp_path)
        table = RunsTable(library)
        run = library.runs()[0]
        first = table.one(run, newest=True)
        assert first.info.status == "running"
        writer.log({"loss": 1.0}, 0)
        assert table.one(run, newest=True).version != first.version  # at once, from the journal
        fill(writer)
    finally:
        writer.finish()
    assert table.one(run).info.status == "finished"
    assert table.one(run).parameters == 96


def test_what_the_recorder_counted_is_believed(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.set_state(recorder={"parameters": 12345})
    writer.finish()
    assert RunsTable(Library(tmp_path)).refresh()[0][0].parameters == 12345


def test_a_new_server_finds_the_same_rows_in_the_index(library: Library) -> None:
    rows = RunsTable(library).refresh()[0]
    again = RunsTable(Library(library.root)).refresh()[0]

    def told(row: Any) -> Any:
        return row.version, row.info, {name: repr(s) for name, s in row.summaries.items()}, row.parameters

    assert [told(row) for row in again] == [told(row) for row in rows]
    assert json.loads(rows[0].summaries.stored).keys() == rows[0].summaries.keys()  # type: ignore[attr-defined]
