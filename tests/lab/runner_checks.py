"""What every runner must do. A test class that inherits these says which runner, by its fixture `runner`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from epochal.facts import LabInfo, Trial, TrialState
from epochal.lab.runner import Runner, Task, ask_to_stop
from epochal.store import LabLog, StoredRun, new_lab_id, new_run_id

PATIENCE_SECS = 90.0
HERE = str(Path(__file__).parents[2])


class Bench:
    """Hands tasks to a runner, and waits for how they end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = LabInfo(id=new_lab_id(), name="checks", project="checks", created=time.time())
        self.log = LabLog(root, self.info)
        self.count = 0

    def task(self, training: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> Task:
        trial = Trial(
            number=self.count, configuration=self.count, repeat=0, seed=more.pop("seed", 7), parameters=parameters or {}
        )
        self.count += 1
        facts: dict[str, Any] = {
            "root": str(self.root),
            "lab_path": str(self.log.path),
            "lab_id": self.info.id,
            "lab_name": "checks",
            "project": "checks",
            "trial": trial,
            "attempt": 1,
            "run_id": new_run_id(),
            "objective": "val_accuracy",
            "train": f"tests.lab.trainings:{training}",
            "sys_path": (HERE,),
        }
        return Task(**{**facts, **more})

    def wait(self, runner: Runner, count: int) -> list[TrialState]:
        found: list[TrialState] = []
        deadline = time.monotonic() + PATIENCE_SECS
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} ended"
            found += [ended.state for ended in runner.wait(0.5)]
        return found

    def one(self, runner: Runner, task: Task) -> TrialState:
        runner.start(task)
        return self.wait(runner, 1)[0]

    def run(self, state: TrialState) -> StoredRun:
        assert state.run is not None
        return StoredRun(self.root / "checks" / state.run)

    def look(self, task: Task) -> None:
        """Bring what a trial has recorded so far to `root`, where it is elsewhere."""

    def until(self, task: Task, series: str) -> float:
        """Wait until a running trial has logged a series; its last value."""
        deadline = time.monotonic() + PATIENCE_SECS
        path = self.root / "checks" / task.run_id
        while time.monotonic() < deadline:
            self.look(task)
            if (path / "run.json").is_file():
                found = StoredRun(path).summaries()
                if series in found:
                    return found[series].last
            time.sleep(0.05)
        raise AssertionError(f"{series} was not logged")


def gone(pid: float) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


class RunnerChecks:
    """The conformance suite."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        bench = Bench(tmp_path)
        with bench.log:
            yield bench

    def test_a_trial_is_a_whole_run(self, runner: Runner, bench: Bench) -> None:
        task = bench.task("curve", {"rate": 0.25, "epochs": 3}, seed=11)
        state = bench.one(runner, task)
        assert (state.status, state.error, state.run) == ("finished", None, task.run_id)
        assert state.metrics["final"] == 0.25**3
        assert state.metrics["val_accuracy"] == state.metrics["best_val_accuracy"] == 1.0 - 0.25**3
        assert state.metrics["best_epoch"] == 2.0
        info = bench.run(state).info()
        assert (info.status, info.group, info.name) == ("finished", bench.info.id, "checks 0")
        wanted = {"rate": 0.25, "epochs": 3, "lab": bench.info.id, "trial": 0, "repeat": 0, "seed": 11}
        assert {**info.config, **wanted} == info.config
        assert bench.run(state).scalars(["train/loss"])["train/loss"].steps.tolist() == [0, 1, 2]

    def test_an_error_is_the_trials_own(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("wrong", {"filters": [8, 16], "kernels": [3]}))
        assert (state.status, state.error) == ("failed", "ValueError: 2 filters for 1 kernels")
        assert state.traceback is not None
        assert 'raise ValueError(f"{len(filters)}' in state.traceback
        assert not state.resumable
        info = bench.run(state).info()
        assert (info.status, info.error) == ("failed", "ValueError: 2 filters for 1 kernels")

    def test_a_death_is_told_and_the_next_trial_goes_on(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("killed"))
        assert state.status == "failed"
        assert state.error is not None
        assert "process of the trial" in state.error, state
        assert state.resumable
        assert state.metrics["loss"] == 0.25
        assert bench.one(runner, bench.task("curve")).status == "finished"

    def test_an_early_exit_is_no_success(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("exits"))
        assert state.status == "failed"
        assert state.error == "RuntimeError: the training ended its process: sys.exit(3)"

    def test_megabytes_of_output_are_no_trouble(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("chatters"))
        assert state.status == "finished"
        lines = bench.run(state).console()
        assert lines[0].text == "the first line"
        assert len(lines) == 80_001

    def test_a_request_to_stop_reaches_a_training_that_does_not_ask(self, runner: Runner, bench: Bench) -> None:
        task = bench.task("endless")
        runner.start(task)
        bench.until(task, "loss")
        ask_to_stop(task, "pruned", "it was behind")
        [state] = bench.wait(runner, 1)
        assert (state.status, state.error, state.resumable) == ("stopped", "it was behind", False)
        assert bench.run(state).info().status == "stopped"

    def test_a_training_that_asks_ends_by_itself(self, runner: Runner, bench: Bench) -> None:
        task = bench.task("polite")
        runner.start(task)
        bench.until(task, "loss")
        ask_to_stop(task, "interrupted", "Ctrl-C")
        [state] = bench.wait(runner, 1)
        assert (state.status, state.error, state.resumable) == ("stopped", "Ctrl-C", True)
        assert state.metrics["steps"] >= 1

    def test_a_trial_can_be_killed(self, runner: Runner, bench: Bench) -> None:
        task = bench.task("silent")
        runner.start(task)
        pid = bench.until(task, "pid")
        runner.kill(task.trial.number)
        [state] = bench.wait(runner, 1)
        assert (state.status, state.resumable) == ("failed", True)
        assert gone(pid)

    def test_a_loss_that_is_no_number_stops_the_trial_where_that_is_asked(self, runner: Runner, bench: Bench) -> None:
        parameters = {"epochs": 6, "nan_at": 2}
        state = bench.one(runner, bench.task("curve", parameters, stop_on_nan=True))
        assert (state.status, state.error) == ("stopped", "train/loss was nan at step 2")
        assert bench.run(state).scalars(["train/loss"])["train/loss"].steps.tolist() == [0, 1, 2]
        assert bench.one(runner, bench.task("curve", parameters)).status == "finished"

    def test_a_trial_has_only_so_long(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("endless", trial_seconds=0.5))
        assert (state.status, state.error) == ("stopped", "the trial took longer than 0.5 s")
        assert not state.resumable

    def test_nothing_of_a_trial_is_left_for_the_next(self, runner: Runner, bench: Bench) -> None:
        first, second = (bench.one(runner, bench.task("fresh", seed=3)) for _ in range(2))
        assert first.metrics["seen"] == second.metrics["seen"] == 1.0
        assert first.metrics["drawn"] == second.metrics["drawn"]
        assert first.metrics["pid"] != second.metrics["pid"]
        assert bench.one(runner, bench.task("fresh", seed=4)).metrics["drawn"] != first.metrics["drawn"]

    def test_its_word_counts_when_it_dies_a_moment_later(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("ends_after_its_word"))
        assert (state.status, state.metrics.get("val_accuracy")) == ("finished", 0.75), state

    def test_what_cannot_be_called_or_found_is_said(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("takes_other"))
        assert state.error is not None
        assert "does not take parameters and seed" in state.error
        state = bench.one(runner, bench.task("curv"))
        assert state.error is not None
        assert "'curve'" in state.error
        state = bench.one(runner, bench.task("returns_text"))
        assert state.error is not None
        assert "val_accuracy = 'very good'" in state.error

    def test_two_at_once(self, runner: Runner, bench: Bench) -> None:
        assert runner.slots == 2
        for _ in range(2):
            runner.start(bench.task("threads"))
        one, two = bench.wait(runner, 2)
        assert one.metrics["began"] < two.metrics["ended"]
        assert two.metrics["began"] < one.metrics["ended"]
        assert one.metrics["threads"] == two.metrics["threads"] == max(1, (os.cpu_count() or 2) // 2) or (
            one.metrics["threads"] == two.metrics["threads"] == 1.0
        )

    def test_closing_leaves_nothing_running(self, runner: Runner, bench: Bench) -> None:
        task = bench.task("silent")
        runner.start(task)
        pid = bench.until(task, "pid")
        runner.close()
        assert gone(pid)
