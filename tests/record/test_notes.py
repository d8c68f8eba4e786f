"""Configuration that comes late, graphs without watching, files that are kept."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

import epochal
from epochal.errors import RecordingWarning, UsageError


def test_configuration_that_comes_late_is_laid_over_what_was_there(tmp_path: Path) -> None:
    with epochal.init("notes", dir=tmp_path, config={"lr": 0.1, "model": {"depth": 2}}) as run:
        run.set_config({"lr": 0.2, "epochs": 3})
        run.set_config(Namespace(seed=7))
        assert run.config["lr"] == 0.2
        (live,) = epochal.open(tmp_path).runs()
    assert epochal.open(tmp_path).run("latest").config == {"lr": 0.2, "model": {"depth": 2}, "epochs": 3, "seed": 7}
    assert live.config["seed"] == 7


def test_a_configuration_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    with epochal.init("notes", dir=tmp_path) as run, pytest.warns(RecordingWarning, match="config is a list"):
        run.set_config([1, 2])


@pytest.mark.torch
def test_a_graph_is_kept_without_watching(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    with epochal.init("notes", dir=tmp_path, strict=True) as run:
        run.log({"loss": 1.0})
        run.log_graph(model, torch.zeros(1, 3))
    reader = epochal.open(tmp_path).run("latest")
    graph = reader.graph()
    assert graph is not None
    assert "Linear" in {layer.kind for layer in graph.layers}
    assert reader.steps("params") == []
    assert not model[0]._forward_hooks


def test_files_and_folders_are_copied_into_the_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("first")
    with epochal.init("notes", dir=tmp_path / "runs", strict=True) as run:
        kept = run.keep_file(tmp_path / "data" / "a.txt")
        folder = run.keep_file(tmp_path / "data", "all/of-it")
        assert kept is not None
        assert folder is not None
        (tmp_path / "data" / "a.txt").write_text("second")
        assert kept.read_text() == "first"
        assert (folder / "a.txt").read_text() == "first"
        run.keep_file(tmp_path / "data" / "a.txt")
        assert kept.read_text() == "second"


def test_a_folder_with_the_run_in_it_is_kept_without_the_run(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("train()")
    (tmp_path / "runs" / "notes" / "other").mkdir(parents=True)
    (tmp_path / "runs" / "notes" / "other" / "b.txt").write_text("b")
    with epochal.init("notes", dir=tmp_path / "runs", strict=True) as run:
        kept = run.keep_file(tmp_path, "all")
        assert kept is not None
        found = sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())
        assert found == ["main.py", "runs/notes/other/b.txt"]
        assert run.path is not None
        for inside in (run.path, kept.parent):
            with pytest.raises(UsageError, match="own folder"):
                run.keep_file(inside, "again")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".hidden"])
def test_a_file_cannot_be_kept_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with epochal.init("notes", dir=tmp_path / "runs", strict=True) as run, pytest.raises(UsageError, match="leads out"):
        run.keep_file(tmp_path / "a.txt", name)


def test_a_missing_file_does_not_stop_the_training(tmp_path: Path) -> None:
    with epochal.init("notes", dir=tmp_path) as run:
        with pytest.warns(RecordingWarning, match="there is no file"):
            assert run.keep_file(tmp_path / "nothing") is None
        run.log({"loss": 1.0})
    assert epochal.open(tmp_path).run("latest").summary["loss"].n == 1


def test_name_tags_and_notes_can_be_changed(tmp_path: Path) -> None:
    with epochal.init("notes", dir=tmp_path, tags=["a"], strict=True) as run:
        run.describe(name="better", notes="why")
        run.describe(tags=["b", "c"])
        assert run.name == "better"
    info = epochal.open(tmp_path).run("better").info
    assert (info.name, info.tags, info.notes) == ("better", ("b", "c"), "why")
