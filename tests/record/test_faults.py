"""Whatever goes wrong around a run, the training goes on; what was lost is counted and told."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.errors import RecordingWarning
from epochal.record import Run
from epochal.store import StoredRun
from tests.store.helpers import child, run_child, wait_until


class InjectedError(Exception):
    """A mistake in our own code."""


class Broken:
    """A writer that fails in every way, but for what a test may want to know of it."""

    def __init__(self, plain: Any, error: Callable[[], BaseException]) -> None:
        self._plain, self._error = plain, error

    def __getattr__(self, name: str) -> Any:
        if not callable(plain := getattr(self._plain, name)):
            return plain

        def fail(*_: object, **__: object) -> None:
            raise self._error()

        return fail


CALLS: dict[str, Callable[[Run], object]] = {
    "log": lambda run: run.log({"loss": 1.0}),
    "aside": lambda run: run.aside({"loss": 1.0}),
    "watch": lambda run: run.watch({"w": np.zeros(3)}),
    "unwatch": lambda run: run.unwatch(),
    "snapshot": lambda run: run.snapshot(),
    "log_parameters": lambda run: run.log_parameters({"w": np.zeros(3)}),
    "define": lambda run: run.define("loss", better="min"),
    "alert": lambda run: run.alert("fire"),
    "log_predictions": lambda run: run.log_predictions(np.zeros((2, 3)), [0, 1], np.full((2, 2), 0.5)),
    "log_embedding": lambda run: run.log_embedding(np.zeros((3, 2))),
    "log_graph": lambda run: run.log_graph({"w": np.zeros((2, 3))}),
    "set_config": lambda run: run.set_config({"lr": 1.0}),
    "describe": lambda run: run.describe(notes="x"),
    "keep_file": lambda run: run.keep_file(__file__),
    "note_lost": lambda run: run.note_lost("this"),
    "note_once": lambda run: run.note_once("that"),
    "finish": lambda run: run.finish(),
}
"""Each public method that records something."""

ASKED = {"flush", "recorded_scalars", "parent_parameters"}
"""They are asked for something, and raise what keeps them from answering."""
INNER = {"end_with_process", "leave_to_parent", "overhear", "placed"}
"""They record nothing themselves."""


def test_every_public_method_is_here() -> None:
    public = {name for name, _ in inspect.getmembers(Run, inspect.isfunction) if not name.startswith("_")}
    assert public == set(CALLS) | ASKED | INNER


def quiet(tmp_path: Path, **options: Any) -> Run:
    return epochal.init("p", dir=tmp_path, id="r", **{"system": False, "console": False, "code": False, **options})


@pytest.mark.parametrize("error", [InjectedError, MemoryError, RecursionError, OSError], ids=lambda e: e.__name__)
@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_of_ours_in_any_method_never_reaches_the_training(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    """Everything behind the method fails, counting what is lost included."""
    run = quiet(tmp_path, strict=False)
    writer, append = run._writer, run._append
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run._writer = Broken(writer, lambda: error("injected"))  # type: ignore[assignment]
        run._append = append_of(run)
        CALLS[name](run)
        CALLS[name](run)
    assert all(w.category is RecordingWarning for w in told)
    assert all(Path(w.filename).name == "test_faults.py" for w in told), "at the user's line"
    if name != "note_once":
        assert len(told) <= 2, "once for each kind"
    run._writer, run._append, run._closed = writer, append, ""
    run.log({"after": 1.0})
    assert writer is not None
    run._watcher = None
    run.finish()
    assert StoredRun(writer.path).scalars()["after"].v.tolist() == [1.0]


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"note_once", "note_lost", "unwatch", "keep_file", "describe"}))
def test_strict_raises_the_mistake_itself(tmp_path: Path, name: str) -> None:
    run = quiet(tmp_path, strict=True)
    writer, append = run._writer, run._append
    if name == "snapshot":
        run.watch({"w": np.zeros(3)})
        assert run._watcher is not None
        run._watcher._writer = Broken(writer, lambda: InjectedError("injected"))  # type: ignore[assignment]
        run._watcher._look = fail  # type: ignore[method-assign]
    elif name == "alert":
        assert run._alerts is not None
        run._alerts.raise_alert = fail  # type: ignore[method-assign]
    else:
        run._writer = Broken(writer, lambda: InjectedError("injected"))  # type: ignore[assignment]
        run._append = append_of(run)
    with pytest.raises(InjectedError):
        CALLS[name](run)
    run._writer, run._append, run._closed, run._watcher = writer, append, "", None
    run.finish()


def append_of(run: Run) -> Any:
    assert run._writer is not None
    return run._writer.append_many


def fail(*_: object, **__: object) -> Any:
    raise InjectedError("injected")


def test_a_mistake_while_the_users_error_passes_does_not_hide_it(tmp_path: Path) -> None:
    def train() -> None:
        with quiet(tmp_path, strict=False) as run:
            run._last_words = fail
            run._closers.append(fail)
            raise ZeroDivisionError

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError):
            train()
    assert ["injected" in str(w.message) for w in told] == [True]
    info = StoredRun(tmp_path / "p" / "r").info()
    assert (info.status, info.error) == ("failed", "ZeroDivisionError")


def test_threads_that_log_while_the_run_ends(tmp_path: Path) -> None:
    """Each call is either recorded whole, or refused and counted: none is half there, none hangs, none raises."""
    run = quiet(tmp_path, strict=False)
    counts, errors = [0] * 4, []
    started = threading.Barrier(5)

    def work(number: int) -> None:
        started.wait()
        try:
            while not run.ended:
                run.log({f"a{number}": float(counts[number]), f"b{number}": 1.0}, step=counts[number])
                counts[number] += 1
            for _ in range(50):
                run.log({"late": 1.0})
        except BaseException as error:  # noqa: BLE001 - the test tells
            errors.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        time.sleep(0.2)
        finishers = [threading.Thread(target=run.finish) for _ in range(2)]
        for thread in [*finishers, *threads]:
            thread.start() if thread in finishers else None
        for thread in [*finishers, *threads]:
            thread.join(30)
            assert not thread.is_alive()
    assert errors == []
    found = StoredRun(tmp_path / "p" / "r")
    assert found.info().status == "finished"
    series = found.scalars()
    assert "late" not in series
    for number in range(4):
        a, b = series[f"a{number}"], series[f"b{number}"]
        assert a.v.tolist() == list(range(len(a)))
        # The last call may have met the end: it was counted by this test and refused by the run.
        assert counts[number] - 1 <= len(a) <= counts[number] + 1
        assert abs(len(a) - len(b)) <= 1


@pytest.mark.parametrize("handled", [True, False])
def test_sigterm_in_the_middle_of_logging(tmp_path: Path, handled: bool) -> None:
    code = """
        import os, signal, sys, epochal
        if sys.argv[2] == "True":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        done = open(sys.argv[1] + "/done", "wb", buffering=0)
        with epochal.init("p", dir=sys.argv[1], id="r", system=False, console=False, code=False) as run:
            print("begun", flush=True)
            step = 0
            while True:
                run.log({"a": step / 3, "b": -1.0}, step=step)
                step += 1
                os.pwrite(done.fileno(), step.to_bytes(8, "little"), 0)
    """
    for attempt in range(3):
        root = tmp_path / str(attempt)
        root.mkdir()
        with child(code, root, handled) as process:
            assert process.line() == "begun"
            wait_until(lambda root=root: (root / "done").stat().st_size > 0)  # type: ignore[misc]
            time.sleep(0.05 + 0.2 * attempt)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            assert process.returncode == (143 if handled else -signal.SIGTERM)
        done = int.from_bytes((root / "done").read_bytes(), "little")
        run = StoredRun(root / "p" / "r")
        for name in ("a", "b"):
            found = run.scalars()[name]
            assert found.steps.tolist() in (list(range(done)), list(range(done + 1)))
        info = run.info()
        assert (info.status, info.error) == (("failed", "SystemExit: 143") if handled else ("crashed", None))
        assert run.notices() == ()


def test_a_script_killed_at_any_moment_leaves_a_run_that_can_be_read_whole(tmp_path: Path) -> None:
    """With everything that a run records: numbers, parameters, values, console, machine."""
    code = """
        import os, sys, numpy, epochal
        run = epochal.init("p", dir=sys.argv[1], id="r", system=0.1)
        weights = {"layers.0.weight": numpy.zeros((30, 30), numpy.float32)}
        run.watch(weights, snapshots=3)
        done = open(sys.argv[1] + "/done", "wb", buffering=0)
        step = 0
        while True:
            weights["layers.0.weight"] += 1
            picture = epochal.Image(numpy.full((8, 8), step % 256, numpy.uint8))
            run.log({"loss": step / 3, "picture": picture}, step=step)
            print("step", step, flush=True)
            step += 1
            os.pwrite(done.fileno(), step.to_bytes(8, "little"), 0)
    """
    for attempt in range(3):
        root = tmp_path / str(attempt)
        root.mkdir()
        with child(code, root) as process:
            wait_until(lambda root=root: (root / "done").exists() and (root / "done").stat().st_size > 0, secs=30)  # type: ignore[misc]
            assert process.stdout is not None
            threading.Thread(target=process.stdout.read, daemon=True).start()
            time.sleep(0.3 + 0.45 * attempt)
        done = int.from_bytes((root / "done").read_bytes(), "little")
        run = StoredRun(root / "p" / "r")
        assert run.info().status == "crashed"
        assert run.scalars()["loss"].steps.tolist() in (list(range(done)), list(range(done + 1)))
        for step in run.snapshot_steps():
            values = run.snapshot(step)["layers.0.weight"]
            assert values.min() == values.max() in (step + 1, 0)
        # A value's row comes with the next fold, about a second later at most.
        for item in run.media("picture") if "picture" in run.media_series() else ():
            assert item.step <= done
            assert run.blob(item.sha256).stat().st_size
        # Of lines that come faster than anybody reads, some are left out; a last one may be half there.
        printed = [int(found[1]) for line in run.console() if (found := re.fullmatch(r"step (\d+)", line.text))]
        assert printed == sorted(set(printed))
        assert {notice.code for notice in run.notices()} <= {"dropped_looks"}, "a look the writer had no room for"


def test_a_folder_that_is_removed_stops_nothing_and_is_said_once_for_each_kind(tmp_path: Path) -> None:
    """Numbers wait in memory for the folder to come back, and are counted as lost at the end."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = quiet(tmp_path / "runs", strict=False)
        weights = {"w": np.zeros(3)}
        run.watch(weights, snapshots=1)
        run.log({"loss": 1.0})
        assert run.flush()
        shutil.rmtree(tmp_path / "runs")
        for step in range(1, 20):
            weights["w"] += 1
            run.log({"loss": 1.0, "picture": epochal.Image(np.zeros((4, 4), np.uint8))}, step=step)
            run.alert(f"alert {step}")
            run.set_config({"step": step})
        run.snapshot()
        run.keep_file(__file__)
        run.log_graph(weights)
        assert not run.flush(2.0)
        run.finish()
    messages = [str(w.message) for w in told if w.category is RecordingWarning]
    assert len(messages) == len(set(messages)) <= 9, messages
    assert any("nothing can be written to" in message for message in messages)
    assert any("numbers could not be written: No such file or directory" in message for message in messages)
    assert any("the snapshot of step 1 was not written" in message for message in messages)
    assert not (tmp_path / "runs").exists(), "what somebody removed does not come back by itself"


def test_a_folder_that_comes_back_has_everything(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        run = quiet(tmp_path, strict=False)
        run.log({"loss": 0.0}, step=0)
        assert run.flush()
        (tmp_path / "p").rename(tmp_path / "away")
        for step in range(1, 50):
            run.log({"loss": float(step), "new": 1.0}, step=step)
        assert not run.flush(1.5)
        (tmp_path / "away").rename(tmp_path / "p")
        wait_until(lambda: run.flush(1.0))
        run.finish()
    found = StoredRun(tmp_path / "p" / "r")
    assert found.scalars()["loss"].v.tolist() == list(range(50))
    assert (found.info().status, found.notices()) == ("finished", ())


def test_a_clock_that_is_set_back_stops_no_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between looks is waited for by the clock on the wall."""
    back = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - back[0])
    monkeypatch.setattr("epochal.record.run.time", lambda: real() - back[0])
    run = quiet(tmp_path, strict=True)
    weights = {"w": np.zeros(1000)}
    run.watch(weights, budget=0.01)
    for _ in range(200):
        weights["w"] += 1
        run.log({"loss": 1.0})
    assert run._watcher is not None
    run._watcher.due_time = run._watcher.policy.due_time = real() + 0.2  # as after a look that was paid for
    before, back[0] = run._watcher.policy.looks, 86_400.0
    assert run.flush()
    deadline = time.monotonic() + 10
    while run._watcher.policy.looks <= before + 1 and time.monotonic() < deadline:
        run.log({"loss": 1.0})
        time.sleep(0.001)
    assert run._watcher.policy.looks > before + 1
    run.finish()
    found = StoredRun(tmp_path / "p" / "r")
    assert found.info().status == "finished"
    assert found.scalars()["loss"].t.min() < real() - 80_000


def test_a_file_size_limit_is_waited_out(tmp_path: Path) -> None:
    """A full disk that needs no rights to make: the system refuses to let any file grow."""
    code = """
        import resource, sys, time, warnings
        from epochal.store import RunWriter
        said = []
        w = RunWriter.create(sys.argv[1], project="p", run_id="r", on_problem=said.append)
        for step in range(1000): w.append("before", step, 0.0, step / 3)
        assert w.flush()
        segment = next((w.folder / "scalars").iterdir())
        limit = segment.stat().st_size + 1000  # room for a part of a message
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for step in range(5000): w.append("during", step, 0.0, step / 7)
        assert not w.flush()
        assert segment.stat().st_size == limit - 1000, "no half a message stays"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        deadline = time.monotonic() + 10
        while not w.flush(1.0): assert time.monotonic() < deadline
        w.finish()
        assert len(said) == 1 and "File too large; numbers are kept in memory" in said[0], said
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.scalars()["before"].v.tobytes() == (np.arange(1000) / 3).tobytes()
    assert run.scalars()["during"].v.tobytes() == (np.arange(5000) / 7).tobytes()
    assert (run.info().status, run.notices()) == ("finished", ())


def test_too_many_open_files_are_waited_out(tmp_path: Path) -> None:
    code = """
        import os, resource, sys, time, numpy, warnings
        import epochal
        from epochal.errors import StorageFullError
        options = dict(dir=sys.argv[1], system=False, console=False, code=False)
        run = epochal.init("p", id="r", **options)
        run.log({"first": 1.0})
        weights = {"w": numpy.zeros(10)}
        run.watch(weights, snapshots=1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        taken = []
        try:
            while True: taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError: pass
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for step in range(1, 500):
                run.log({"loss": float(step), f"series {step % 40}": 1.0}, step=step)
            run.flush(3.0)
            try: epochal.init("p", id="other", **options)
            except StorageFullError as error: assert "Too many open files" in str(error), error
            else: raise AssertionError("a run began without a file")
        messages = [str(w.message) for w in told]
        assert any("Too many open files" in m for m in messages), messages
        for fd in taken: os.close(fd)
        deadline = time.monotonic() + 10
        while not run.flush(1.0): assert time.monotonic() < deadline
        run.log({"loss": 500.0}, step=500)
        run.finish()
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    series = run.scalars()
    assert series["loss"].v.tolist() == list(range(1, 501))
    assert sum(len(s) for name, s in series.items() if name.startswith("series ")) == 499
    assert run.info().status == "finished"
    assert {notice.code for notice in run.notices()} <= {"dropped_snapshot", "dropped_looks", "dropped_file"}
    assert [path.name for path in (tmp_path / "p").iterdir() if not path.name.startswith(".")] == ["r"]


def test_names_of_any_length_and_kind(tmp_path: Path) -> None:
    names = ["", " ", "/", "a" * 100_000, "ä" * 5000, "a/b//c", "\x00", "line\nbreak", "\ud800", "rank1/x", '"', "\\"]
    with quiet(tmp_path, strict=True) as run:
        for step in range(3):
            run.log({name: float(number) for number, name in enumerate(names)}, step=step)
    found = StoredRun(tmp_path / "p" / "r").scalars()
    assert len(found) == len(names)
    for number, name in enumerate(names):
        shown = name.encode("utf-8", "backslashreplace").decode()
        assert found[shown].v.tolist() == [float(number)] * 3


@pytest.mark.slow
def test_a_hundred_thousand_series(tmp_path: Path) -> None:
    with quiet(tmp_path, strict=True) as run:
        for step in range(2):
            run.log({f"group{number % 100}/series{number}": number / 3 for number in range(100_000)}, step=step)
    found = StoredRun(tmp_path / "p" / "r")
    series = found.scalars()
    assert len(series) == 100_000
    for number in (0, 1, 65_536, 99_999):
        assert series[f"group{number % 100}/series{number}"].v.tolist() == [number / 3] * 2
    assert len(found.summaries()) == 100_000
    assert found.notices() == ()


def test_the_end_of_the_interpreter_in_a_thread_that_logs(tmp_path: Path) -> None:
    """The script ends while another thread still records: what its calls gave before the end is there."""
    code = """
        import sys, threading, time, epochal
        run = epochal.init("p", dir=sys.argv[1], id="r", system=False)
        def work():
            step = 0
            while True:
                run.log({"loss": float(step)}, step=step); step += 1
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.info().status == "finished"
    steps = run.scalars()["loss"].steps
    assert len(steps) > 100
    assert steps.tolist() == list(range(len(steps)))
    assert {notice.code for notice in run.notices()} <= {"dropped_late"}


def test_a_read_only_folder_says_so_before_the_training_begins(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere; tests/store/test_faults.py mounts a read-only disk")
    tmp_path.chmod(0o555)
    with pytest.raises(epochal.EpochalError, match="Permission denied"):
        quiet(tmp_path)
    tmp_path.chmod(0o755)


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="needs Linux: limits, signals and /proc are used to make things go wrong")
