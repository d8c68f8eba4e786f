"""What adapters of trainers need of a run: numbers beside the training's steps, settings that come late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epochal.errors import RecordingWarning, UsageError
from epochal.record import Run, init
from epochal.store import StoredRun


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def test_numbers_beside_the_steps_leave_the_clock_alone(tmp_path: Path) -> None:
    weights = {"w": np.zeros(3)}
    with init("aside", dir=tmp_path, strict=True) as run:
        run.watch(weights, snapshots=2)
        for step in range(1, 5):
            weights["w"] += 1
            run.log({"loss": 1.0}, step=step)
            run.aside({"val": {"loss": 2}, "epoch": step // 2}, step=100 + step)
            assert run.step == step
        run.aside({"test": 3.0})
    found = stored(run)
    assert found.snapshot_steps() == [0, 2, 4]
    assert found.scalars()["val/loss"].steps.tolist() == [101, 102, 103, 104]
    assert found.scalars()["epoch"].v.tolist() == [0, 1, 1, 2]
    assert found.scalars()["test"].steps.tolist() == [4]


def test_what_is_no_number_is_told_as_by_log(tmp_path: Path) -> None:
    with init("aside", dir=tmp_path, strict=True) as run, pytest.raises(UsageError, match="'x' is a"):
        run.aside({"x": object()})
    run = init("aside", dir=tmp_path, strict=False)
    with pytest.warns(RecordingWarning, match="'x' is a"):
        run.aside({"x": object(), "y": 1})
    run.finish()
    assert stored(run).summaries()["y"].last == 1
    with pytest.warns(RecordingWarning, match="nothing is recorded any more"):
        run.aside({"y": 2})


def test_settings_that_come_late(tmp_path: Path) -> None:
    with init("config", dir=tmp_path, config={"lr": 0.1, "net": {"width": 4}}, strict=True) as run:
        before = run.ended
        run.set_config({"lr": 0.2, "batch": np.int64(8)})
        assert run.config == {"lr": 0.2, "net": {"width": 4}, "batch": 8}
    assert (before, run.ended) == (False, True)
    assert stored(run).info().config == {"lr": 0.2, "net": {"width": 4}, "batch": 8}
    with init("config", dir=tmp_path, id=run.id, resume="must", strict=True) as again:
        again.set_config({"lr": 0.3})
    assert stored(run).info().config == {"lr": 0.3, "net": {"width": 4}, "batch": 8}


def test_a_run_that_records_nothing_takes_both(tmp_path: Path) -> None:
    run = init("off", dir=tmp_path, mode="off")
    run.aside({"x": 1.0})
    run.set_config({"lr": 1})
    assert not run.ended
    run.finish()
