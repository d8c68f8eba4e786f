from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from epochal.errors import UsageError
from epochal.lab.local import LocalRunner
from epochal.lab.runner import Runner
from tests.lab.runner_checks import Bench, RunnerChecks


class TestLocal(RunnerChecks):
    @pytest.fixture
    def runner(self) -> Iterator[Runner]:
        runner = LocalRunner(jobs=2)
        yield runner
        runner.close()

    def test_what_killed_it_is_named(self, runner: Runner, bench: Bench) -> None:
        error = bench.one(runner, bench.task("killed")).error
        assert error is not None
        assert error.startswith("the process of the trial was killed by signal 9 (SIGKILL)")

    def test_a_crash_in_native_code_shows_where(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("crashes"))
        assert state.error is not None
        assert "signal 11 (SIGSEGV)" in state.error
        assert state.traceback is not None
        assert "in crashes" in state.traceback

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that pins processes to cores")
    def test_cores_are_divided(self, runner: Runner, bench: Bench) -> None:
        for _ in range(2):
            runner.start(bench.task("threads"))
        one, two = bench.wait(runner, 2)
        share = max(1, len(os.sched_getaffinity(0)) // 2)
        assert one.metrics["cores"] == one.metrics["threads"] == share
        if len(os.sched_getaffinity(0)) > 1:
            assert one.metrics["first"] != two.metrics["first"]

    def test_what_one_trial_imported_is_there_for_the_next(self, runner: Runner, bench: Bench) -> None:
        first, second = (bench.one(runner, bench.task("imports")) for _ in range(2))
        assert (first.metrics["there"], second.metrics["there"]) == (0.0, 1.0)

    def test_a_trial_that_takes_too_much_memory_is_ended(self, runner: Runner, bench: Bench) -> None:
        state = bench.one(runner, bench.task("hungry", {"bytes": 400_000_000}, memory=200_000_000))
        assert state.status == "failed"
        assert state.error is not None
        assert "of memory, more than the 200 MB it may" in state.error


def test_jobs_must_be_a_number_above_nothing() -> None:
    with pytest.raises(UsageError, match="jobs is 0"):
        LocalRunner(jobs=0)
