"""The console of a run: what was printed, a moment later, in its file."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import epochal
from epochal.facts import ConsoleLine
from epochal.record.console import Console
from epochal.record.secret import Masker
from epochal.store import RunWriter, StoredRun
from tests.record.scripts import only_run, script
from tests.store.helpers import begin, wait_until


def texts(run: StoredRun | RunWriter, stream: str | None = None) -> list[str]:
    stored = StoredRun(run.path)
    return [line.text for line in stored.console() if stream in (None, line.stream)]


Make = Callable[..., Console]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    made = begin(tmp_path)
    yield made
    made.finish()


@pytest.fixture
def make(writer: RunWriter) -> Iterator[Make]:
    """Makes consoles that are closed whatever happens."""
    made: list[Console] = []

    def console(**options: Any) -> Console:
        made.append(Console(writer, options.pop("step", lambda: None), Masker(), **{"period_secs": 0.01, **options}))
        return made[-1]

    yield console
    for each in made:
        each.close()


def test_lines_with_their_step_and_stream(writer: RunWriter, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    at: list[int | None] = [None]
    console = make(step=lambda: at[0])
    before = time.time()
    print("loading", "data")
    at[0] = 7
    print("\x1b[31mtrouble\x1b[0m", file=sys.stderr)
    print("no end", end="")
    console.close()
    first, second, third = StoredRun(writer.path).console()
    assert before - 0.001 <= first.t <= second.t <= third.t <= time.time() + 0.001
    assert first == ConsoleLine(t=first.t, step=None, stream="stdout", text="loading data")
    assert second == ConsoleLine(t=second.t, step=7, stream="stderr", text="trouble")
    assert (third.text, third.ended) == ("no end", True)
    assert capsys.readouterr() == ("loading data\nno end", "\x1b[31mtrouble\x1b[0m\n"), "what is shown stays as it is"


def test_lines_are_in_the_file_soon_without_an_end(writer: RunWriter, make: Make) -> None:
    make()
    print("now")
    wait_until(lambda: texts(writer) == ["now"])
    print("and now")
    wait_until(lambda: texts(writer) == ["now", "and now"])


def test_a_progress_bar_is_one_line_whose_state_is_seen_meanwhile(writer: RunWriter, make: Make) -> None:
    console = make(open_secs=0.05)
    for percent in range(100):
        sys.stdout.write(f"\r{percent}%")
    wait_until(lambda: texts(writer) == ["99%"])
    assert [line.ended for line in StoredRun(writer.path).console()] == [False]
    for percent in range(100, 200):
        sys.stdout.write(f"\r{percent}%")
    sys.stdout.write("\rdone \n")
    console.close()
    assert texts(writer) == ["done"]
    assert len((writer.folder / "console.jsonl").read_bytes().splitlines()) <= 4


def test_an_open_line_is_told_at_most_each_open_secs(writer: RunWriter, make: Make) -> None:
    console = make(open_secs=3600.0)
    for percent in range(50):
        sys.stdout.write(f"\r{percent}%")
        time.sleep(0.002)
    wait_until(lambda: len(texts(writer)) == 1)
    console.close()
    assert texts(writer) == ["49%"]
    assert len((writer.folder / "console.jsonl").read_bytes().splitlines()) == 2


def test_secrets_are_masked_also_those_that_come_later(
    writer: RunWriter, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = make()
    monkeypatch.setenv("MY_API_KEY", "abc123secret")
    print("key is abc123secret at postgres://me:pw12@host")
    console.close()
    assert texts(writer) == ["key is *** at postgres://me:***@host"]
    assert "abc123secret" in capsys.readouterr().out
    assert b"abc123secret" not in (writer.folder / "console.jsonl").read_bytes()


def test_the_file_is_bounded_and_keeps_the_end(writer: RunWriter, make: Make) -> None:
    console = make(limit_bytes=20_000)
    for n in range(3_000):
        print(f"line {n}")
    print("Traceback: the end")
    console.close()
    writer.finish()
    found = texts(writer)
    assert found[0] == "line 0"
    assert found[-2:] == ["line 2999", "Traceback: the end"]
    (notice,) = [n for n in StoredRun(writer.path).notices() if n.code == "dropped_console"]
    assert notice.count == 3_001 - len(found)
    assert "lines of the console were not recorded" in notice.message


def test_a_flood_beyond_the_queue_is_counted(writer: RunWriter, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("epochal.record.console.QUEUE_CHARS", 100)
    console = make(period_secs=0.3)
    for n in range(200):
        print(f"line {n}")
    console.close()
    writer.finish()
    (notice,) = StoredRun(writer.path).notices()
    found = texts(writer)
    assert found == [f"line {n}" for n in range(len(found))]
    assert notice.count + len(found) in (200, 201), "a line may be kept whose end was not"


def test_lines_wait_for_a_disk_that_refuses(writer: RunWriter, make: Make) -> None:
    folder = writer.folder / "console.jsonl"
    folder.mkdir()  # cannot be opened as a file
    console = make()
    print("one")
    time.sleep(0.1)
    folder.rmdir()
    print("two")
    wait_until(lambda: texts(writer) == ["one", "two"])
    console.close()
    writer.finish()
    assert StoredRun(writer.path).notices() == ()


def test_a_disk_that_never_takes_them_is_counted(writer: RunWriter, make: Make) -> None:
    (writer.folder / "console.jsonl").mkdir()
    console = make()
    print("one\ntwo")
    console.close()
    writer.finish()
    assert [(n.code, n.count) for n in StoredRun(writer.path).notices()] == [("dropped_console", 2)]


def test_when_nobody_holds_the_run_any_more_it_ends_by_itself(
    writer: RunWriter, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = False

    def step() -> int:
        if gone:
            raise ReferenceError
        return 3

    console = make(step=step)
    print("heard")
    gone = True
    print("not heard")
    wait_until(lambda: not console._thread.is_alive())
    assert texts(writer) == ["heard"]
    assert "write" not in vars(sys.stdout)


def test_a_run_records_its_console_and_gives_the_streams_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with epochal.init("c", dir=tmp_path) as run:
        print("before")
        run.log({"x": 1.0}, step=4)
        print("after")
        stored = StoredRun(run.path or "")
    assert [(line.step, line.text) for line in stored.console()] == [(None, "before"), (4, "after")]
    assert "write" not in vars(sys.stdout)
    assert capsys.readouterr().out == "before\nafter\n"


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"console": False}, {}):
        monkeypatch.setenv("EPOCHAL_CONSOLE", "0")
        with epochal.init("c", dir=tmp_path, **options) as run:  # type: ignore[arg-type]
            assert "write" not in vars(sys.stdout)
            print("x")
        assert run.path is not None
        assert StoredRun(run.path).console() == []
    with epochal.init("c", dir=tmp_path, console=True) as run:
        print("said by the argument")
    assert texts(StoredRun(run.path or "")) == ["said by the argument"]
    with epochal.init("c", dir=tmp_path, mode="off", console=True):
        assert "write" not in vars(sys.stdout)


def test_nested_runs_both_hear(tmp_path: Path) -> None:
    outer = epochal.init("c", dir=tmp_path)
    print("one")
    with epochal.init("c", dir=tmp_path) as inner:
        print("two")
    print("three")
    outer.finish()
    assert texts(StoredRun(inner.path or "")) == ["two"]
    assert texts(StoredRun(outer.path or "")) == ["one", "two", "three"]


def test_warnings_and_what_the_recorder_says_are_heard(tmp_path: Path) -> None:
    script("with epochal.init('c') as run:\n    run.log({'x': 'text'})", tmp_path / "runs")
    assert any("'x' is a str" in text for text in texts(only_run(tmp_path / "runs"), "stderr"))


@pytest.mark.parametrize("with_block", [True, False])
def test_the_traceback_of_what_ended_the_run_is_in_it_once(tmp_path: Path, *, with_block: bool) -> None:
    body = """
    def train(run):
        print("training")
        raise ValueError("diverged at last")
    """
    ending = "with epochal.init('c') as run:\n    train(run)" if with_block else "train(epochal.init('c'))"
    done = script(body, tmp_path / "runs", then=ending)
    found = texts(only_run(tmp_path / "runs"), "stderr")
    assert done.returncode == 1
    assert "ValueError: diverged at last" in done.stderr
    assert found[0] == "Traceback (most recent call last):"
    assert [text for text in found if "diverged" in text] == [
        '    raise ValueError("diverged at last")',
        "ValueError: diverged at last",
    ]
    assert texts(only_run(tmp_path / "runs"), "stdout") == ["training"]


def test_a_killed_script_leaves_what_it_printed_a_second_ago(tmp_path: Path) -> None:
    done = script(
        """
        import signal, time
        run = epochal.init("c")
        print("first\\nsecond", flush=True)
        print("prompt: ", end="", flush=True)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path / "runs",
    )
    assert done.returncode == -signal.SIGKILL
    assert texts(only_run(tmp_path / "runs")) == ["first", "second", "prompt:"]


def test_os_exit_leaves_what_was_printed_a_second_ago(tmp_path: Path) -> None:
    script("run = epochal.init('c')\nprint('said')\nimport time\ntime.sleep(1)\nos._exit(3)", tmp_path / "runs")
    run = only_run(tmp_path / "runs")
    assert (texts(run), run.info().status) == (["said"], "crashed")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_what_a_forked_child_prints_is_not_the_runs(tmp_path: Path) -> None:
    done = script(
        """
        run = epochal.init("c")
        print("parent", flush=True)
        pid = os.fork()
        if pid == 0:
            print("child", flush=True)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print("parent again")
        """,
        tmp_path / "runs",
    )
    assert done.stdout.splitlines() == ["parent", "child", "parent again"], done.stderr
    assert texts(only_run(tmp_path / "runs"), "stdout") == ["parent", "parent again"]


def test_an_interpreter_that_ends_without_finish_keeps_the_console(tmp_path: Path) -> None:
    done = script("run = epochal.init('c')\nprint('x' * 10)\n", tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert texts(only_run(tmp_path / "runs")) == ["xxxxxxxxxx"]


def test_a_run_that_nobody_held_ends_with_the_script(tmp_path: Path) -> None:
    done = script("epochal.init('c').log({'x': 1.0})\nprint('later')\n", tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert only_run(tmp_path / "runs").info().status == "finished"


def test_printing_costs_little(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w", encoding="utf-8") as devnull:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", devnull)

        def seconds() -> float:
            best = 1.0
            for _ in range(5):
                start = time.thread_time()
                for n in range(2_000):
                    print("step", n)
                best = min(best, time.thread_time() - start)
            return best / 2_000

        without = seconds()
        console = make(period_secs=0.25)
        heard = seconds()
        console.close()
    # A print is four writes ("step", " ", the number, "\n"); each may take some microseconds more.
    assert heard - without < 40e-6
