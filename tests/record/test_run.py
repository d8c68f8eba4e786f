"""A run in the training script: what is recorded, what is told, what never breaks the training."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.errors import NotFoundError, RecordingWarning, RunExistsError, UsageError
from epochal.record import Run, init
from epochal.store import StoredRun


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def series(run: Run) -> dict[str, list[tuple[int, float]]]:
    found = stored(run).scalars()
    return {n: list(zip(s.steps.tolist(), s.v.tolist(), strict=True)) for n, s in found.items()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EPOCHAL_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def script(body: str, root: Path, *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a training script of its own and return how it ended; its run is the only one below `root`."""
    file = root.parent / "train.py"
    file.write_text("import epochal, os, sys\n" + textwrap.dedent(body))
    variables = {**os.environ, "EPOCHAL_DIR": str(root), **(env or {})}
    return subprocess.run(
        [sys.executable, str(file)], env=variables, capture_output=True, text=True, check=False, timeout=60
    )


def only_run(root: Path) -> StoredRun:
    (path,) = [p for p in root.glob("*/*") if (p / "run.json").exists()]
    return StoredRun(path)


def test_numbers_come_back_exactly(root: Path) -> None:
    values = [0.1, 1 / 3, math.pi, 5e-324, 1.7e308, -0.0, math.inf, -math.inf]
    with init("exact") as run:
        for value in values:
            run.log({"x": value})
        run.log({"x": math.nan})
    steps, found = zip(*series(run)["x"], strict=True)
    assert list(steps) == list(range(9))
    assert list(found[:-1]) == values
    assert math.copysign(1, found[5]) == -1
    assert math.isnan(found[-1])
    assert stored(run).summaries()["x"].nan == 1


def test_steps_epochs_and_nested_names(root: Path) -> None:
    with init("names") as run:
        run.log({"train": {"loss": 1, "acc": np.float32(0.5)}, "lr": 0.1}, step=10, epoch=1)
        run.log({"lr": 0.2})
        run.log({"lr": 0.3, "epoch": 2}, step=np.int64(20))
        run.log({"lr": 0.4}, step=30.0)  # type: ignore[arg-type]
    assert run.step == 30
    found = series(run)
    assert found["train/loss"] == [(10, 1.0)]
    assert found["train/acc"] == [(10, 0.5)]
    assert found["lr"] == [(10, 0.1), (11, 0.2), (20, 0.3), (30, 0.4)]
    assert found["epoch"] == [(10, 1.0), (20, 2.0)]


def test_given_times_are_kept(root: Path) -> None:
    with init("times") as run:
        run.log({"x": 1.0}, t=1234.5)
        run.log({"x": 1.0}, t=1235)
    assert stored(run).scalars()["x"].t.tolist() == [1234.5, 1235.0]


def test_what_is_no_number_is_told_once_at_the_users_line_and_counted(root: Path) -> None:
    run = init("bad", strict=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run.log({"loss": 1.0, "note": "hello", "matrix": np.zeros((2, 2))})
        line = sys._getframe().f_lineno - 1
        run.log({"loss": 2.0, "note": "again"})
    run.finish()
    assert [Path(w.filename).name for w in told] == ["test_run.py"] * 2
    assert [w.lineno for w in told] == [line] * 2
    assert "'note' is a str ('hello'), not a number" in str(told[0].message)
    assert "shape (2, 2)" in str(told[1].message)
    assert series(run) == {"loss": [(0, 1.0), (1, 2.0)]}
    assert {n.code: n.count for n in stored(run).notices()} == {"dropped_values": 3}


@pytest.mark.parametrize("step", ["3", 2.5, -1, 2**62, None, [1]])
def test_a_step_that_is_none_goes_on_counting(root: Path, step: Any) -> None:
    with init("steps", strict=False) as run:
        run.log({"x": 1.0}, step=7)
        if step is None:
            run.log({"x": 2.0}, step=step)
        else:
            with pytest.warns(RecordingWarning, match="step 8, the next one"):
                run.log({"x": 2.0}, step=step)
    assert series(run)["x"] == [(7, 1.0), (8, 2.0)]


def test_strict_raises_and_still_records_the_rest(root: Path) -> None:
    with init("strict", strict=True) as run:
        with pytest.raises(UsageError, match="'note' is a str"):
            run.log({"loss": 1.0, "note": "hello"})
        with pytest.raises(UsageError, match="log\\(\\) got a float"):
            run.log(1.0)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="snapshots is 0"):
            run.watch({"w": np.zeros(3)}, snapshots=0)
        with pytest.raises(UsageError, match="no adapter knows"):
            run.watch(object())
        with pytest.raises(UsageError, match="better is 'most'"):
            run.define("loss", better="most")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no model is being watched"):
            run.snapshot()
    assert series(run) == {"loss": [(0, 1.0)]}


def test_the_environment_can_ask_for_strictness(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHAL_STRICT", "1")
    with init("strict") as run, pytest.raises(UsageError):
        run.log({"x": "y"})
    with init("strict", strict=False) as run, pytest.warns(RecordingWarning):
        run.log({"x": "y"})


def test_errors_of_our_own_code_warn_once_and_training_goes_on(root: Path) -> None:
    class Odd(dict[str, float]):
        def items(self) -> Any:
            raise RuntimeError("odd")

    with init("guard", strict=False) as run:
        with pytest.warns(RecordingWarning, match=r"run.log\(\) failed, training goes on: RuntimeError: odd") as told:
            run.log(Odd())
        assert told[0].filename == __file__
        run.log(Odd())
        with pytest.warns(RecordingWarning, match="log\\(\\) got a NoneType"):
            run.log(None)  # type: ignore[arg-type]
    assert {n.code: n.count for n in stored(run).notices()} == {"dropped_error": 3}


def test_keyboard_interrupts_pass(root: Path) -> None:
    class Interrupting(dict[str, float]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    run = init("interrupt", strict=False)
    with pytest.raises(KeyboardInterrupt), run:
        run.log(Interrupting())
    info = stored(run).info()
    assert (info.status, info.error) == ("stopped", "KeyboardInterrupt")


def test_warnings_made_errors_by_the_user_are_errors(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecordingWarning)
        with init("errors", strict=False) as run, pytest.raises(RecordingWarning, match="'x' is a str"):
            run.log({"y": 1.0, "x": "y"})
    assert series(run) == {"y": [(0, 1.0)]}


def test_an_exception_in_the_with_block_is_the_runs_end(root: Path) -> None:
    run = init("failing")
    run.log({"x": 1.0})
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    info = stored(run).info()
    assert (info.status, info.error) == ("failed", "ZeroDivisionError: division by zero")


def test_finishing_twice_is_once_and_logging_later_is_told(root: Path) -> None:
    run = init("late", strict=False)
    run.log({"x": 1.0})
    run.finish()
    run.finish("failed")
    with pytest.warns(RecordingWarning, match="was finished before this call"):
        run.log({"x": 2.0})
    assert stored(run).info().status == "finished"
    assert series(run) == {"x": [(0, 1.0)]}


class Odd:
    """Looks like a number, and is none."""

    shape = ()

    def item(self) -> float:
        raise KeyError("no value")


def test_a_value_that_cannot_be_read_does_not_take_the_others_of_its_call_with_it(root: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.new("F", (4, 4))  # does not say what is black and what is white
    run = init("odd", strict=False)
    with pytest.warns(RecordingWarning) as told:
        run.log({"before": 1.0, "picture": picture, "odd": Odd(), "after": {"it": 2}}, step=3)
    assert [str(each.message).partition(":")[0] for each in told] == [
        "'picture', a Image, could not be read and was not recorded",
        "'odd', a Odd, could not be read and was not recorded",
    ]
    assert "range=" in str(told[0].message)
    assert "KeyError" in str(told[1].message)
    run.finish()
    assert series(run) == {"before": [(3, 1.0)], "after/it": [(3, 2.0)]}
    (notice,) = stored(run).info().notices
    assert (notice.code, notice.count) == ("dropped_values", 2)
    strict = init("odd", strict=True)
    with pytest.raises(UsageError, match="odd") as raised:
        strict.log({"odd": Odd()})
    assert isinstance(raised.value.__cause__, KeyError)
    strict.finish()


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.set_config({"lr": 0.1}),
        lambda run: run.define("loss", better="min"),
        lambda run: run.keep_file(__file__),
        lambda run: run.log_graph({"w": np.ones(3)}),
        lambda run: run.watch({"w": np.ones(3)}),
        lambda run: run.log_parameters({"w": np.ones(3)}),
        lambda run: run.snapshot(),
        lambda run: run.alert("late"),
    ],
)
def test_whatever_is_called_after_the_end_is_told_and_is_silent_where_nothing_is_recorded(
    root: Path, call: Callable[[epochal.Run], object]
) -> None:
    run = init("late", strict=False)
    run.finish()
    with pytest.warns(RecordingWarning, match="was finished before this call"):
        call(run)
    call(epochal.init("late", mode="off"))


def test_what_runs_beside_ends_in_reverse_order_whatever_one_of_them_does(root: Path) -> None:
    ended = []

    def bad() -> None:
        ended.append("bad")
        raise RuntimeError("odd")

    for strict in (False, True):
        run = init("closers", strict=strict)
        run._closers += [lambda: ended.append("first"), bad, lambda: ended.append("last")]
        if strict:
            with pytest.raises(RuntimeError, match="odd"):
                run.finish()
        else:
            with pytest.warns(RecordingWarning, match=r"run.finish\(\) failed, training goes on: RuntimeError: odd"):
                run.finish()
        run.finish()
        assert ended == ["last", "bad", "first"]
        assert stored(run).info().status == "finished"
        ended.clear()


def test_definitions_reach_the_summary(root: Path) -> None:
    with init("define") as run:
        run.define("acc", better="max", x="epoch")
        run.log({"acc": 0.9})
        run.log({"acc": 0.8})
    summary = stored(run).summaries()["acc"]
    assert (summary.better, summary.best, summary.best_step) == ("max", 0.9, 0)


def test_off_does_nothing_and_keeps_nothing(root: Path) -> None:
    with init("quiet", mode="off", config={"lr": 0.1}) as run:
        run.watch(object())
        run.log({"x": "not even a number"})
        run.define("x", better="max")
        run.snapshot()
    assert (run.path, run.step, run.config) == (None, None, {"lr": 0.1})
    assert not root.exists()


def test_attributes_and_facts(root: Path) -> None:
    with init("facts", name="first", config={"lr": 0.1}, tags=["a", "b"], notes="n", group="g") as run:
        assert run.path == root / "facts" / run.id
        assert (run.project, run.name, run.config, run.step) == ("facts", "first", {"lr": 0.1}, None)
        assert run.id in repr(run)
    info = stored(run).info()
    assert (info.name, info.tags, info.notes, info.group) == ("first", ("a", "b"), "n", "g")
    assert info.environment["python"]
    assert info.code["command"]


def test_bad_arguments_of_init_are_told_before_anything_is_made(root: Path) -> None:
    for wrong in ({"mode": "online"}, {"tags": "baseline"}, {"config": 3}, {"project": "a/b"}, {"resume": "yes"}):
        with pytest.raises(UsageError):
            init(**{"project": "p", **wrong})  # type: ignore[arg-type]
    assert not list(root.glob("*/*"))


def test_a_configuration_kept_as_text_is_said(root: Path) -> None:
    with pytest.warns(RecordingWarning, match="config: act cannot be stored"):
        run = init("config", config={"act": len})
    run.finish()


def test_resume_goes_on_after_the_last_step(root: Path) -> None:
    with init("again", id="one") as run:
        for _ in range(3):
            run.log({"x": 1.0})
    with pytest.raises(RunExistsError):
        init("again", id="one")
    with init("again", id="one", resume="must") as run:
        assert run.step == 2
        run.log({"x": 2.0})
    assert series(run)["x"] == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0)]
    with pytest.raises(NotFoundError):
        init("again", id="two", resume="must")
    init("again", id="two", resume="allow").finish()


def test_threads_lose_nothing(root: Path) -> None:
    run = init("threads")

    def work(name: str) -> None:
        for k in range(5_000):
            run.log({name: float(k), "both": 1}, step=k)

    threads = [threading.Thread(target=work, args=(n,)) for n in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    found = series(run)
    assert [len(found[n]) for n in ("a", "b", "both")] == [5_000, 5_000, 10_000]
    assert found["a"] == [(k, float(k)) for k in range(5_000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_leaves_the_run_to_its_parent(root: Path) -> None:
    done = script(
        """
        run = epochal.init("fork")
        run.log({"x": 1.0})
        pid = os.fork()
        if pid == 0:
            run.log({"x": 99.0})
            run.finish("failed")
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        run.log({"x": 2.0})
        """,
        root,
    )
    assert done.returncode == 0, done.stderr
    run = only_run(root)
    assert run.scalars()["x"].v.tolist() == [1.0, 2.0]
    assert run.info().status == "finished"


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        ("", "finished", None),
        ("raise ValueError('diverged')", "failed", "ValueError: diverged"),
        ("sys.exit(0)", "finished", None),
        ("raise KeyboardInterrupt", "stopped", "KeyboardInterrupt"),
    ],
)
def test_a_script_that_never_calls_finish(root: Path, ending: str, status: str, error: str | None) -> None:
    done = script(f"run = epochal.init()\nrun.log({{'x': 1.0}})\n{ending}\n", root)
    run = only_run(root)
    assert (run.info().status, run.info().error) == (status, error), done.stderr
    assert run.project == "train"
    assert run.info().code["script"] == "train.py"
    assert run.scalars()["x"].v.tolist() == [1.0]


def test_a_killed_script_loses_no_number(root: Path) -> None:
    done = script(
        """
        import signal
        run = epochal.init("kill")
        for k in range(1000):
            run.log({"x": float(k)})
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        root,
    )
    assert done.returncode != 0
    run = only_run(root)
    assert run.scalars()["x"].v.tolist() == list(range(1000))
    assert run.info().status == "crashed"


def test_the_readme_names_work_from_the_door() -> None:
    assert epochal.init is init
    assert epochal.Run is Run
