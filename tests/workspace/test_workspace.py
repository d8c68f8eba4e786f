from __future__ import annotations

import json
from pathlib import Path

import pytest

import epochal.workspace as reading
from epochal.errors import NotFoundError, UsageError
from epochal.workspace import Workspace
from tests.workspace.recording import Recorded, record


def test_a_run_is_found_by_latest_id_beginning_name_and_project(recorded: Recorded) -> None:
    ws = reading.open(recorded.root)
    run_id = recorded.writer.run_id
    for name in ("latest", run_id, run_id[:-2], "iris-12", "iris/iris-12", f"iris/{run_id}"):
        assert ws.run(name).id == recorded.id
    assert ws["latest"].id == ws.run().id
    with pytest.raises(NotFoundError, match="no run 'iris-13'") as caught:
        ws.run("iris-13")
    assert "iris-12" in caught.value.hint


def test_a_workspace_counts_and_lists_its_runs(recorded: Recorded) -> None:
    second = record(recorded.root, project="wine", name="wine <b>", epochs=2)
    second.writer.finish()
    ws = reading.open(str(recorded.root))
    assert len(ws) == 2
    assert {run.info.project for run in ws} == {"iris", "wine"}
    assert repr(ws) == f"Workspace({str(recorded.root)!r}, 2 runs)"
    assert "<b>" not in ws._repr_html_()
    assert [run.info.project for run in ws.runs("project = wine")] == ["wine"]
    assert [run.info.project for run in ws.runs("config.epochs = 5")] == ["iris"]
    assert ws.runs("loss < 0") == []
    with pytest.raises(UsageError):
        ws.runs("loss <")


def test_a_run_written_by_a_newer_version_does_not_hide_the_others(recorded: Recorded) -> None:
    other = record(recorded.root, name="newer")
    other.writer.finish()
    path = other.writer.path / "run.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    assert [run.id for run in reading.open(recorded.root).runs()] == [recorded.id]


@pytest.mark.parametrize("kind", ["missing", "file", "uri"])
def test_a_folder_that_is_none_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("x")
    wanted = {"missing": str(tmp_path / "nowhere"), "file": str(tmp_path / "file"), "uri": "gs://bucket/runs"}[kind]
    with pytest.raises((NotFoundError, UsageError)) as caught:
        reading.open(wanted)
    assert caught.value.hint


def test_the_environment_names_the_folder(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHAL_DIR", str(recorded.root))
    opened = reading.open()
    assert isinstance(opened, Workspace)
    assert len(opened) == 1
    assert len(reading.open(recorded.root.as_uri())) == 1


def test_a_run_of_a_newer_epochal_is_left_out_and_said(recorded: Recorded) -> None:
    newer = record(recorded.root, project="wine", epochs=1)
    newer.writer.finish()
    facts = newer.writer.path / "run.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format_version": 99}))
    ws = reading.open(recorded.root)
    assert [run.id for run in ws.runs()] == [recorded.id]
    (notice,) = ws.notices
    assert notice.code == "format_version"
    assert "99" in notice.message
