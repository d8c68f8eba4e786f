"""`epochal lab show`, `best` and `report`, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from epochal.cli.main import main
from epochal.wire.schema_lab import EffectsDocument
from tests.labs import make_lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    make_lab(folder)
    return folder


def test_show_puts_the_best_first_and_says_why_others_failed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "show", "--dir", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "15 finished, 1 failed" in lines[0]
    assert lines[3].split()[:3] == ["trial", "status", "val_accuracy"]
    assert "0.01" in lines[4]
    assert "[16, 32]" in lines[4]
    assert "ValueError: pooled to nothing" in lines[-1]


def test_show_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "show", "small", "--dir", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lab"]["counts"]["finished"] == 15
    assert [trial["trial"] for trial in document["trials"]] == list(range(16))


def test_best(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "best", "--dir", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"] == {"dropout": 0.2, "filters": [16, 32], "lr": 0.01}
    assert main(["lab", "best", "--dir", str(root)]) == 0
    assert "  lr = 0.01\n" in capsys.readouterr().out


def test_report_is_printed_or_written(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "report", "--dir", str(root)]) == 0
    assert "## What each parameter did" in capsys.readouterr().out
    target = tmp_path / "report.html"
    assert main(["lab", "report", "--dir", str(root), "--to", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(target)]
    assert target.stat().st_size > 10_000


def test_report_as_json_holds_the_effects(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "report", "--dir", str(root), "--metric", "val_loss", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    EffectsDocument.model_validate(document)
    assert (document["metric"], document["mode"]) == ("val_loss", "min")


def test_what_is_not_there(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "show", "smal", "--dir", str(root), "--all"]) == 1
    assert "near: small" in capsys.readouterr().err
    assert main(["lab", "report", "--dir", str(root), "--metric", "x"]) == 2
    assert "val_accuracy, val_loss" in capsys.readouterr().err
    assert main(["lab", "report", "--dir", str(root), "--to", str(tmp_path / "x.pdf")]) == 2
