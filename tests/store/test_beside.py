"""What lies beside the numbers: lines that only grow, and series of the machine that are no steps of the training."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from epochal.facts import Alert, ConsoleLine
from epochal.store import RunWriter, StoredRun
from epochal.store.lines import BLOCK_BYTES, LineFile, read_lines
from tests.store.helpers import EPOCH_START, begin, child, run_child


def line(n: int, text: str, *, stream: str = "stdout", **more: Any) -> dict[str, Any]:
    return {"t": EPOCH_START + n, "step": n, "stream": stream, "text": text, **more}


def texts(run: StoredRun, **options: Any) -> list[str]:
    return [each.text for each in run.console(**options)]


def put(writer: RunWriter, name: str, *documents: dict[str, Any]) -> None:
    file = LineFile(writer.folder / name, limit_bytes=1 << 30)
    file.write(documents)
    file.close()


def test_lines_come_back_in_order_also_the_last_ones(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "x.jsonl", limit_bytes=1 << 30)
    documents = [{"n": n, "text": "é\n\r" * (n % 50)} for n in range(5_000)]
    assert file.write(documents[:3_000]) == 3_000
    file.close()
    assert file.write(documents[3_000:]) == 2_000
    file.close()
    assert (tmp_path / "x.jsonl").stat().st_size > 3 * BLOCK_BYTES
    assert read_lines(tmp_path / "x.jsonl") == (documents, 0)
    for last in (1, 2, 700, 4_999, 5_000, 5_001, 100_000):
        assert read_lines(tmp_path / "x.jsonl", last=last) == (documents[-last:], 0), last
    assert read_lines(tmp_path / "none.jsonl", last=3) == ([], 0)


def test_a_torn_line_is_left_out_and_a_damaged_one_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n":1}\n\xff\xfe{\n[1]\n{"n":2}\n{"n":3')
    assert read_lines(path) == ([{"n": 1}, {"n": 2}], 2)
    assert read_lines(path, last=1) == ([{"n": 2}], 0)


def test_no_more_than_the_limit_is_written_and_it_is_said_how_many_were(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "x.jsonl", limit_bytes=30)
    assert file.write([{"n": n} for n in range(10)]) == 3
    assert file.write([{"n": 9}]) == 0
    assert file.write([{"n": 9}], beyond=True) == 1
    file.close()
    assert [row["n"] for row in read_lines(tmp_path / "x.jsonl")[0]] == [0, 1, 2, 9]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_leaves_no_half_line() -> None:
    file = LineFile(Path("/dev/full"), limit_bytes=1 << 30)
    with pytest.raises(OSError, match="No space"):
        file.write([{"n": 1}])
    assert file.size == 0
    file.close()


def test_a_half_written_line_is_taken_back(tmp_path: Path) -> None:
    done = run_child(
        """
        import resource, signal, sys
        from pathlib import Path
        from epochal.store.lines import LineFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        file = LineFile(Path(sys.argv[1]), limit_bytes=1 << 30)
        file.write([{"text": "x" * 50}])
        try:
            file.write([{"text": "y" * 50}])
        except OSError as error:
            print(error.strerror)
        file.write([{"z": 1}])
        """,
        tmp_path / "x.jsonl",
    )
    assert done.strip() == "File too large"
    assert read_lines(tmp_path / "x.jsonl") == ([{"text": "x" * 50}, {"z": 1}], 0)


def test_a_line_that_was_told_again_is_shown_once(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    put(
        writer,
        "console.jsonl",
        line(0, "start"),
        line(1, "10%", ended=False),
        line(2, "a warning", stream="stderr"),
        line(3, "50%", ended=False),
        line(4, "100%"),
        line(5, "waiting", ended=False),
    )
    run = StoredRun(writer.path)
    assert texts(run) == ["start", "a warning", "100%", "waiting"]
    assert [each.ended for each in run.console()] == [True, True, True, False]
    for last in (1, 2, 3, 4, 9):
        assert texts(run, last=last) == ["start", "a warning", "100%", "waiting"][-last:]
    assert run.console()[1] == ConsoleLine(t=EPOCH_START + 2, step=2, stream="stderr", text="a warning")
    writer.finish()


def test_the_last_lines_are_found_behind_many_states_of_one_bar(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    states = [line(n, f"{n}", ended=False) for n in range(1, 500)]
    put(writer, "console.jsonl", line(0, "first"), *states, line(500, "done"))
    assert texts(StoredRun(writer.path), last=2) == ["first", "done"]
    writer.finish()


def test_consoles_and_alerts_of_all_processes_are_put_together_by_time(tmp_path: Path) -> None:
    first = begin(tmp_path, run_id="r")
    put(first, "console.jsonl", line(1, "a"), line(4, "d"))
    put(first, "alerts.jsonl", {"t": 3, "step": None, "title": "late", "level": "error", "rule": "loss: nan"})
    first.finish()
    second = begin(tmp_path, run_id="r", resume="must")
    put(second, "console.jsonl", line(7, "g"))
    second.finish()
    other = begin(tmp_path, run_id="r", rank=1, resume="must")
    put(other, "console.jsonl", line(2, "b"), line(8, "h"), {"odd": 1}, line(9, "?", stream="elsewhere"))
    put(other, "alerts.jsonl", {"t": 1, "step": 5, "title": "early", "text": "why", "level": "info"})
    other.finish()
    run = StoredRun(first.path)
    assert [(each.text, each.rank) for each in run.console()] == [("a", 0), ("b", 1), ("d", 0), ("g", 0), ("h", 1)]
    assert texts(run, last=2) == ["g", "h"]
    assert run.alerts() == [
        Alert(t=1, step=5, title="early", text="why", rank=1),
        Alert(t=3, step=None, title="late", level="error", rule="loss: nan"),
    ]


def test_code_and_environment_are_those_of_the_latest_process(tmp_path: Path) -> None:
    first = begin(tmp_path, run_id="r", code={"script": "a.py", "commit": "1"}, environment={"python": "3"})
    first.put_file("code/diff.patch", "- old é\n".encode())
    first.put_file("code/packages.txt", b"numpy==2.1\nepochal==0.1  # editable\n")
    first.finish()
    run = StoredRun(first.path)
    assert (run.code(), run.environment()) == ({"script": "a.py", "commit": "1"}, {"python": "3"})
    second = begin(tmp_path, run_id="r", resume="must")
    second.put_file("code/origin.json", json.dumps({"code": {"commit": "2"}, "environment": []}).encode())
    second.finish()
    assert run.code() == {"script": "a.py", "commit": "2"}
    assert run.environment() == {"python": "3"}
    assert run.diff() == "- old é\n"
    assert run.packages() == {"numpy": "2.1", "epochal": "0.1"}


def test_what_was_not_recorded_is_none(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    found = (run.console(), run.alerts(), run.diff(), run.packages(), run.code(), run.environment())
    assert found == ([], [], None, {}, {}, {})
    writer.finish()


def test_readers_are_told_of_new_lines(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    for name in ("console.jsonl", "alerts.jsonl"):
        before = run.version()
        put(writer, name, line(1, "news"))
        assert run.version() != before, name
    writer.finish()


def test_the_machine_counts_no_steps(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    writer.log({"system/cpu": 50.0, "system/gpu0/use": 3.0}, 7)
    writer.flush()
    run.refresh()
    assert (run.info().last_step, run.info().last_epoch) == (None, None)
    writer.log({"loss": 1.0}, 3)
    writer.log({"system/cpu": 50.0}, 9)
    writer.flush()
    run.refresh()
    assert run.info().last_step == 3
    writer.finish()
    assert StoredRun(writer.path).info().last_step == 3
    assert StoredRun(writer.path).scalars()["system/cpu"].steps.tolist() == [7, 9]


@pytest.mark.parametrize(("data", "step"), [({"system/cpu": 1.0}, None), ({"system/cpu": 1.0, "loss": 1.0}, 5)])
def test_the_machine_counts_no_steps_of_a_run_that_was_killed(
    tmp_path: Path, data: dict[str, float], step: int | None
) -> None:
    code = """
        import os, signal, sys
        from epochal.store import RunWriter
        writer = RunWriter.create(sys.argv[1], project="p")
        print(writer.path, flush=True)
        writer.log(eval(sys.argv[2]), 5)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    with child(code, tmp_path, data) as process:
        run = StoredRun(process.line())
        assert process.wait(60) == -signal.SIGKILL
    run.refresh()
    assert (run.info().status, run.info().last_step) == ("crashed", step)
