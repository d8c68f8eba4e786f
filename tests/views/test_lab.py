"""Labs joined with their runs: what a page and a report are made of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.facts.lab import LabInfo
from epochal.store.labs import LabLog
from epochal.store.library import Library
from epochal.views.lab import (
    CurvePair,
    LabFacts,
    LabShelf,
    best_trial,
    curve_pairs,
    mean_after,
    read_curves,
    runs_by_id,
    varying_parameters,
)
from tests.labs import make_lab


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LabInfo]:
    root = tmp_path_factory.mktemp("labs")
    return root, make_lab(root)


@pytest.fixture
def lab(made: tuple[Path, LabInfo]) -> LabFacts:
    root, info = made
    return LabShelf(root).get(info.project, info.id)


def test_lists_labs_newest_first(made: tuple[Path, LabInfo]) -> None:
    facts = LabShelf(made[0]).all()
    assert [one.path for one in facts] == [f"small/{made[1].id}"]
    assert facts[0].counts == {"waiting": 0, "running": 0, "finished": 15, "failed": 1, "stopped": 0}
    assert not facts[0].running


def test_reads_a_lab_again_only_when_its_files_changed(tmp_path: Path) -> None:
    info = make_lab(tmp_path, repeats=1, ended=False)
    shelf = LabShelf(tmp_path)
    first = shelf.get(info.project, info.id)
    assert shelf.get(info.project, info.id) is first
    assert first.counts["waiting"] == 1
    with LabLog(tmp_path, info) as log:
        log.started(info.trials[-1], attempt=1, run="r")
        second = shelf.get(info.project, info.id)
    assert second.counts["running"] == 1
    assert second.running
    assert second.version != first.version
    # The process ended without a word of the trial.
    assert shelf.get(info.project, info.id).counts["stopped"] == 1


def test_leads_nowhere_but_to_labs_below_the_root(made: tuple[Path, LabInfo], tmp_path: Path) -> None:
    root, info = made
    with pytest.raises(UsageError):
        LabShelf(root).get("..", info.id)
    with pytest.raises(NotFoundError, match="There is no lab small/other"):
        LabShelf(root).get("small", "other")
    (tmp_path / "away").symlink_to(root / "small")
    with pytest.raises(NotFoundError):
        LabShelf(tmp_path).get("away", info.id)


def test_curves_stand_over_their_epochs(made: tuple[Path, LabInfo], lab: LabFacts) -> None:
    runs = runs_by_id(Library(made[0]).runs(), "small")
    curves = read_curves(lab, runs.get, ["val/loss", "train/loss"])
    assert len(curves) == 32
    assert curves[0].epochs.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert curves[0].steps.tolist() == [10, 20, 30, 40, 50, 60, 70, 80]
    failed = [c for c in curves if c.trial == 15]
    assert [c.name for c in failed] == ["val/loss", "train/loss"]
    assert len(failed[0].values) == 2
    assert [c.trial for c in read_curves(lab, runs.get, ["val/loss"], trials=range(3, 5))] == [3, 4]
    assert read_curves(lab, lambda run_id: None, ["val/loss"]) == []


def test_mean_after_the_first_epochs() -> None:
    epochs, values = np.arange(1.0, 9), np.array([9, 9, 9, 9, 9, 1, math.nan, 3.0])
    assert mean_after(epochs, values, 5) == (2.0, 2)
    mean, count = mean_after(epochs, values, 8)
    assert math.isnan(mean)
    assert count == 0


def test_best_is_by_the_objective(lab: LabFacts) -> None:
    best = best_trial(lab)
    assert best is not None
    assert best.trial.parameters == {"dropout": 0.2, "filters": [16, 32], "lr": 0.01}
    assert best_trial(lab, "not there") is None


def test_parameters_that_vary_and_those_that_do_not(lab: LabFacts) -> None:
    assert varying_parameters(lab.states) == (["dropout", "filters", "lr"], {})
    assert varying_parameters(lab.states[:1])[0] == []


def test_series_are_paired_by_their_names() -> None:
    names = [
        "epoch",
        "system/cpu",
        "seconds",
        "train/loss",
        "val/loss",
        "val/accuracy",
        "train/accuracy",
        "loss",
        "val_loss",
    ]
    assert curve_pairs(names) == [
        CurvePair(name="accuracy", train="train/accuracy", validation="val/accuracy"),
        CurvePair(name="loss", train="train/loss", validation="val/loss"),
        CurvePair(name="loss", train="loss", validation="val_loss"),
        CurvePair(name="seconds", train="seconds", validation=None),
    ]
    assert curve_pairs(["test/loss", "train/loss", "val/loss"]) == [
        CurvePair(name="loss", train="train/loss", validation="val/loss"),
        CurvePair(name="test/loss", train=None, validation="test/loss"),
    ]
    assert curve_pairs(["val_x"]) == [CurvePair(name="val_x", train=None, validation="val_x")]
