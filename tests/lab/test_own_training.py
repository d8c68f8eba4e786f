"""Labs of a model and data, trained by the lab itself, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from epochal.errors import UsageError
from epochal.lab import Lab
from epochal.store import StoredRun, read_lab
from tests.lab.runner_checks import gone

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'epochal[torch]'")
pytestmark = pytest.mark.torch

NETWORK = {"filters": [4, 8], "kernel_sizes": 3, "pool_sizes": 2, "dense": [16], "batch_size": 32}

# Several threads that spin wait for each other far longer than they work, where others hold a core.
ONE_THREAD = {"cpus": 1}


def lab(**what: Any) -> Lab:
    parameters = {**NETWORK, "epochs": 2, **what.pop("parameters", {})}
    return Lab(
        "own", model="epochal:convnet1d", data="epochal:digits", parameters=parameters, runner=ONE_THREAD, **what
    )


def test_one_bad_configuration_fails_with_clear_words_and_the_rest_goes_on(tmp_path: Path) -> None:
    result = lab(trials=[{"kernel_sizes": [3, 3, 3]}, {"dropout": 0.1}]).run(dir=tmp_path)
    assert [t.status for t in result.trials] == ["failed", "finished"]
    assert result.trials[0].error is not None
    assert "unequal length: filters 2, kernel_sizes 3" in result.trials[0].error
    assert result.trials[1].metrics["val_accuracy"] > 0.5
    run = StoredRun(tmp_path / "own" / str(result.trials[1].run))
    assert run.snapshot_steps()
    assert {"train/loss", "val/loss", "train/accuracy", "val/accuracy"} <= set(run.summaries())


def test_a_slip_in_all_trials_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)No trial can be trained: .*'learning_rat'.*learning_rate"):
        lab(parameters={"learning_rat": 0.1}).run(dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_stops_the_trial(tmp_path: Path) -> None:
    [state] = lab(parameters={"optimiser": "sgd", "learning_rate": 1e30}, stop_on_nan=True).run(dir=tmp_path).trials
    assert state.status == "stopped"
    assert state.error is not None
    assert "loss" in state.error.lower()


@pytest.mark.slow
def test_killed_and_gone_on_with_it_trains_as_if_it_had_not_been(tmp_path: Path) -> None:
    lines = ['[lab]\nname = "own"\nmodel = "epochal:convnet1d"\ndata = "epochal:digits"\n[parameters]\nepochs = 6']
    lines += [f"{name} = {value!r}" for name, value in {**NETWORK, "dropout": 0.2, "momentum": 0.8}.items()]
    (tmp_path / "lab.toml").write_text(
        "\n".join([*lines, 'optimiser = "sgd"', "learning_rate = 0.05", "[runner]", "cpus = 1"])
    )

    def begin(root: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "epochal", "lab", "run", "lab.toml", "--dir", root, "--json", *words]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    broken = begin("broken")
    deadline = time.monotonic() + 120
    run: StoredRun | None = None
    while run is None or "epoch" not in run.summaries() or run.summaries()["epoch"].last < 2:
        assert time.monotonic() < deadline
        assert broken.poll() is None, broken.communicate()
        time.sleep(0.02)
        found = list((tmp_path / "broken" / "own").glob("*/run.json"))
        run = StoredRun(found[0].parent) if found else None
    broken.kill()
    broken.communicate()
    [state] = read_lab(tmp_path / "broken")[1]
    assert (state.status, state.resumable) == ("stopped", True)
    writers = list(run.path.glob("w/*/begin.json"))
    assert all(gone(json.loads(path.read_text())["pid"]) for path in writers)

    curves = {}
    for root, words in (("broken", ["--resume"]), ("whole", [])):
        out, err = begin(root, *words).communicate(timeout=240)
        [trial] = json.loads(out)["trials"]
        assert trial["status"] == "finished", err
        series = StoredRun(tmp_path / root / "own" / trial["run"]).scalars(["train/loss", "val/loss", "val/accuracy"])
        curves[root] = {name: (s.steps.tolist(), s.v.tobytes()) for name, s in series.items()}
        assert len(series["val/loss"].v) == 6
    assert curves["broken"] == curves["whole"]
    assert len(list((tmp_path / "broken" / "own").glob("*/run.json"))) == 1
