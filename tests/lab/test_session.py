from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import epochal
from epochal.errors import UsageError
from epochal.lab import Lab, Progress, rerun
from epochal.store import Library, StoredRun, read_lab
from tests.lab.runner_checks import gone

HERE = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)


def lab(training: str = "curve", **what: Any) -> Lab:
    return Lab("checks", **{"train": f"tests.lab.trainings:{training}", **what})


def test_all_trials_are_trained_and_told_of(tmp_path: Path) -> None:
    told: list[Progress] = []
    result = lab(space={"rate": [0.5, 0.25]}, parameters={"epochs": 3}, repeats=2).run(
        dir=tmp_path, jobs=2, on_progress=told.append
    )
    assert [(t.trial.configuration, t.trial.seed, t.status) for t in result.trials] == [
        (0, 0, "finished"),
        (1, 0, "finished"),
        (0, 1, "finished"),
        (1, 1, "finished"),
    ]
    assert result.best is not None
    assert result.best.trial.parameters == {"epochs": 3, "rate": 0.25}
    assert told[-1].done == told[-1].total == 4
    assert told[-1].best == 1.0 - 0.25**3
    assert told[-1].seconds_left == 0.0
    info, states = read_lab(tmp_path)
    assert states == list(result.trials)
    assert info == result.info
    assert {run.info().group for run in Library(tmp_path).runs()} == {info.id}
    folder = Path(info.path)
    assert list((folder / "outcomes").iterdir()) == []
    assert not (folder / "stop").exists() or list((folder / "stop").iterdir()) == []


def test_the_same_trial_twice_gives_the_same_bits(tmp_path: Path) -> None:
    curves = []
    for name in ("a", "b"):
        result = lab(parameters={"rate": 0.3}, seed=17).run(dir=tmp_path / name)
        run = StoredRun(tmp_path / name / "checks" / str(result.trials[0].run))
        curves.append(run.scalars(["train/loss"])["train/loss"].v.tobytes())
    assert curves[0] == curves[1]


def test_a_failure_does_not_keep_the_others_from_training(tmp_path: Path) -> None:
    listed = [{"filters": [8, 16], "kernels": [3]}, {"filters": [], "kernels": []}]
    result = lab("wrong", trials=listed).run(dir=tmp_path)
    assert [t.status for t in result.trials] == ["failed", "failed"]
    assert [t.error for t in result.trials] == [
        "ValueError: 2 filters for 1 kernels",
        "ValueError: 0 filters for 0 kernels",
    ]
    assert result.best is None


def test_only_some_then_the_rest(tmp_path: Path) -> None:
    made = lab(space={"rate": [0.5, 0.4, 0.3, 0.2]}, parameters={"epochs": 1})
    first = made.run(dir=tmp_path, only="1,3")
    assert [t.status for t in first.trials] == ["waiting", "finished", "waiting", "finished"]
    assert [t["status"] for t in first.document()["trials"]] == ["stopped", "finished", "stopped", "finished"]
    second = made.run(dir=tmp_path, resume=True)
    assert second.info.id == first.info.id
    assert [t.status for t in second.trials] == ["finished"] * 4
    assert [t.attempt for t in second.trials] == [1, 1, 1, 1]
    assert second.trials[1] == first.trials[1]
    assert len(Library(tmp_path).runs()) == 4


def test_another_lab_is_not_gone_on_with(tmp_path: Path) -> None:
    lab(parameters={"rate": 0.5, "epochs": 1}).run(dir=tmp_path)
    with pytest.raises(UsageError, match=r"parameters, trials changed since it was begun"):
        lab(parameters={"rate": 0.25, "epochs": 1}).run(dir=tmp_path, resume=True)


def test_failed_trials_are_trained_again_in_new_runs(tmp_path: Path) -> None:
    first = lab("exits", trials=[{"code": 3}, {"code": 0}]).run(dir=tmp_path)
    assert [t.status for t in first.trials] == ["failed", "finished"]
    again = rerun(dir=tmp_path)
    assert [(t.status, t.attempt) for t in again.trials] == [("failed", 2), ("finished", 1)]
    assert again.trials[0].run != first.trials[0].run
    assert len(Library(tmp_path).runs()) == 3


def test_the_time_budget_ends_the_lab_and_resuming_goes_on(tmp_path: Path) -> None:
    made = lab("endless", trials=[{}, {}], budget={"time": 1.5})
    began = time.monotonic()
    result = made.run(dir=tmp_path)
    assert time.monotonic() - began < 15
    assert [t.status for t in result.trials] == ["stopped", "waiting"]
    assert result.trials[0].error == "the time budget of the lab was used up"
    assert result.trials[0].resumable
    again = made.run(dir=tmp_path, resume=True)
    assert (again.trials[0].attempt, again.trials[0].run) == (2, result.trials[0].run)


def test_a_function_is_found_by_itself(tmp_path: Path) -> None:
    from tests.lab.trainings import curve

    assert Lab("f", train=curve, parameters={"epochs": 1}).run(dir=tmp_path).trials[0].status == "finished"
    with pytest.raises(UsageError, match="which another process cannot find"):
        Lab("f", train=lambda run, parameters, seed: None, parameters={"epochs": 1})


SCRIPT = """
import sys, epochal

def train(run, parameters, seed):
    run.log({"val_accuracy": parameters["x"] / 10}, step=0)

GUARD
    result = epochal.Lab("script", train=train, space={"x": [1, 2, 3]}).run(dir=sys.argv[1])
    print([t.metrics["val_accuracy"] for t in result.trials], [t.error for t in result.trials])
"""


@pytest.mark.parametrize("guard", ["if __name__ == '__main__':", "if True:"])
def test_a_function_of_a_script_is_found_too(tmp_path: Path, guard: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", guard))
    done = subprocess.run(
        [sys.executable, "script.py", "runs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    if "True" in guard:  # a script that would begin a lab in each trial says so, instead of beginning one
        assert "below: if __name__ == '__main__'" in done.stderr + done.stdout + _errors(tmp_path / "runs")
    else:
        assert done.stdout == "[0.1, 0.2, 0.3] [None, None, None]\n", done.stderr


def _errors(root: Path) -> str:
    return " ".join(str(state.error) for state in read_lab(root)[1])


def start(folder: Path, marks: Path, *, trials: int = 3, epochs: int = 12, sleep: float = 0.1) -> subprocess.Popen[str]:
    marks.mkdir(exist_ok=True)
    (folder / "lab.toml").write_text(
        '[lab]\nname = "broken"\ntrain = "tests.lab.trainings:resumes"\nobjective = "val_accuracy"\n'
        f'[parameters]\nmarks = "{marks}"\nsleep = {sleep}\nepochs = {epochs}\n'
        + "".join(f'[[trials]]\nname = "t{n}"\n' for n in range(trials))
    )
    return run_again(folder, "--json")


def run_again(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "epochal", "lab", "run", f"{folder}/lab.toml", "--dir", f"{folder}/runs", *words],
        cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_marks(marks: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 60
    while len(found := sorted(path.name for path in marks.iterdir())) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def steps(marks: Path) -> Iterator[tuple[str, int, int]]:
    for path in marks.iterdir():
        trial, step, pid = path.name.split("-")
        yield trial, int(step), int(pid)


def test_killed_at_any_moment_the_rest_is_trained_and_nothing_twice(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    process = start(tmp_path, marks)
    wait_for_marks(marks, 12 + 6)  # in the middle of the second trial
    process.kill()
    process.communicate()
    pids = {pid for *_, pid in steps(marks)}
    assert all(gone(pid) for pid in pids)
    before = read_lab(tmp_path / "runs")[1]
    assert [(s.status, s.resumable) for s in before] == [("finished", False), ("stopped", True), ("waiting", False)]

    process = run_again(tmp_path, "--resume", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found = json.loads(out)["trials"]
    assert [(t["status"], t["metrics"]["weight"]) for t in found] == [("finished", 12.0)] * 3
    assert [t["run"] for t in found[:2]] == [s.run for s in before[:2]]
    # The first trial was left alone, the second went on from its last snapshot, at most one epoch before its death.
    of_first = [step for trial, step, _ in steps(marks) if trial == "t0"]
    assert sorted(of_first) == list(range(12))
    assert found[1]["metrics"]["first"] >= 4
    assert len([step for trial, step, _ in steps(marks) if trial == "t1"]) <= 12 + 2
    runs = Library(tmp_path / "runs").runs()
    assert len(runs) == 3
    for run in runs:
        series = run.scalars(["weight"])["weight"]
        assert series.steps.tolist() == list(range(12))
        assert series.v.tolist() == [float(step + 1) for step in range(12)]
        assert run.info().status == "finished"


def test_ctrl_c_puts_all_down_and_resuming_takes_it_up(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    process = start(tmp_path, marks, trials=2)
    wait_for_marks(marks, 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    found = json.loads(out)["trials"]
    assert [(t["status"], t["error"]) for t in found] == [
        ("stopped", "the lab was interrupted"),
        ("stopped", "not begun"),
    ]
    [run] = Library(tmp_path / "runs").runs()
    assert (run.info().status, run.info().error) == ("stopped", "the lab was interrupted")
    process = run_again(tmp_path, "--resume", "--json", "--jobs", "2")
    out, err = process.communicate(timeout=120)
    assert [(t["status"], t["metrics"]["weight"]) for t in json.loads(out)["trials"]] == [("finished", 12.0)] * 2, err


def test_two_processes_do_not_run_one_lab(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    process = start(tmp_path, marks, trials=1, sleep=0.5)
    wait_for_marks(marks, 1)
    other = run_again(tmp_path, "--resume")
    _, err = other.communicate(timeout=60)
    process.kill()
    process.communicate()
    assert other.returncode == 2
    assert "is being run by another process" in err


def test_a_full_disk_ends_the_lab_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from epochal.errors import StorageFullError
    from epochal.store import lines

    def full(fd: int, data: object) -> None:
        raise OSError(28, "No space left on device")

    made = lab(parameters={"epochs": 1})
    monkeypatch.setattr(lines, "write_all", full)
    with pytest.raises(StorageFullError, match=r"(?s)No space left.*--resume"):
        made.run(dir=tmp_path)


def test_an_objective_that_no_trial_has_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    lab(parameters={"epochs": 1}, objective="val_acuracy", mode="max").run(dir=tmp_path, say=said.append)
    assert said == ["trial 0 has no metric 'val_acuracy', the objective of the lab; did you mean 'val_accuracy'?"]


def test_the_door_has_the_lab() -> None:
    assert epochal.Lab is Lab
    assert epochal.lab.rerun is rerun
