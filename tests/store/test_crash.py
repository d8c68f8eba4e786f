"""What a process that ends without farewell leaves behind."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.store import StoredRun
from epochal.store.repair import repair
from tests.store.helpers import begin, child, run_child, wait_until

# Values are derived from their place, so that every one that comes back can be checked bit for bit.
LOGGER = """
    import os, struct, sys, threading
    from epochal.store import RunWriter
    w = RunWriter.create(sys.argv[1], project="p", run_id="r", resume="allow")
    threads, pause = int(sys.argv[2]), float(sys.argv[3])
    print("begun", flush=True)
    def log(number):
        done = open(f"{sys.argv[1]}/done{number}", "r+b", buffering=0)
        step = 0
        while True:
            w.append_many({f"a{number}": step / 3, f"b{number}": -step / 7}, step, step * 0.5)
            step += 1
            os.pwrite(done.fileno(), struct.pack("<q", step), 0)
            if pause: threading.Event().wait(pause)
    for n in range(threads): open(f"{sys.argv[1]}/done{n}", "wb").write(bytes(8))
    workers = [threading.Thread(target=log, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers: worker.start()
    print("logging", flush=True)
    workers[0].join()
"""


def acknowledged(root: Path, number: int) -> int:
    return int.from_bytes((root / f"done{number}").read_bytes(), "little")


def check(run: StoredRun, root: Path, threads: int) -> int:
    """Every number whose call had returned is there, exactly once and exact; return how many rows there are."""
    total = 0
    series = run.scalars()
    for number in range(threads):
        done = acknowledged(root, number)
        for name in (f"a{number}", f"b{number}"):
            found = series[name]
            steps = np.arange(len(found))
            assert len(found) in (done, done + 1), (name, len(found), done)
            assert np.array_equal(found.steps, steps)
            assert found.v.tobytes() == (steps / 3 if name[0] == "a" else -steps / 7).tobytes()
            assert found.t.tobytes() == (steps * 0.5).tobytes()
            total += len(found)
    return total


@pytest.mark.parametrize(("threads", "pause"), [(1, 0), (1, 0.001), (3, 0)])
def test_kill_loses_no_number_whose_call_had_returned(tmp_path: Path, threads: int, pause: float) -> None:
    rng = random.Random(threads + int(pause * 1e6))
    for attempt in range(4):
        root = tmp_path / str(attempt)
        root.mkdir()
        with child(LOGGER, root, threads, pause) as process:
            assert (process.line(), process.line()) == ("begun", "logging")
            run = StoredRun(root / "p" / "r")
            run.scalars()
            wait_until(lambda root=root: all(acknowledged(root, n) for n in range(threads)))  # type: ignore[misc]
            time.sleep(rng.uniform(0, 1.3))
            assert run.info().status == "running"
        assert run.info().status == "crashed"
        rows = check(run, root, threads)
        assert check(StoredRun(run.path), root, threads) == rows
        assert run.notices() == ()
        report = repair(run.path)
        assert report.writers in ((), (next(run.folder.writers_path.iterdir()).name,))
        assert not next(run.folder.writers_path.iterdir()).joinpath("journal.bin").exists()
        assert check(run, root, threads) == check(StoredRun(run.path), root, threads) == rows
        assert repair(run.path).folded == 0


def test_a_reader_beside_a_fast_writer_sees_each_row_once_and_none_missing(tmp_path: Path) -> None:
    with child(LOGGER, tmp_path, 2, 0) as process:
        assert (process.line(), process.line()) == ("begun", "logging")
        run = StoredRun(tmp_path / "p" / "r")
        looks, deadline = 0, time.monotonic() + 2.5
        while time.monotonic() < deadline:
            before = [acknowledged(tmp_path, n) for n in range(2)]
            series = run.scalars()
            for number in range(2):
                found = series.get(f"a{number}")
                if found is not None:
                    assert np.array_equal(found.steps, np.arange(len(found)))
                    assert found.v.tobytes() == (found.steps / 3).tobytes()
                    # A look that met a lap of the ring may be a moment behind, never out of order.
                    looks += len(found) >= before[number]
    assert looks > 20
    check(run, tmp_path, 2)


def test_os_exit_loses_no_number(tmp_path: Path) -> None:
    code = """
        import os, sys
        from epochal.store import RunWriter
        w = RunWriter.create(sys.argv[1], project="p", run_id="r")
        for step in range(1000): w.log({"a": step}, step)
        os._exit(0)
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.info().status == "crashed"
    assert run.scalars()["a"].v.tolist() == list(range(1000))
    assert run.summaries()["a"].n == 1000
    assert run.summaries()["a"].last == 999


@pytest.mark.parametrize("keep", ["w = make()", "make()"])
def test_an_exit_without_finish_is_a_stop_with_everything_written(tmp_path: Path, keep: str) -> None:
    code = f"""
        import sys, time
        from epochal.store import RunWriter
        def make():
            w = RunWriter.create(sys.argv[1], project="p", run_id="r")
            for step in range(1000): w.log({{"a": step}}, step)
            w.submit(lambda: (time.sleep(0.2), w.add_snapshot("params", {{}}, step=7)))
            return w
        {keep}
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.info().status == "stopped"
    assert run.scalars()["a"].v.tolist() == list(range(1000))
    assert run.snapshot_steps() == [7]
    assert not (next(run.folder.writers_path.iterdir()) / "journal.bin").exists()


def test_ctrl_c_in_the_middle_of_logging_harms_nothing(tmp_path: Path) -> None:
    code = """
        import sys
        from epochal.store import RunWriter
        w = RunWriter.create(sys.argv[1], project="p", run_id="r")
        print("begun", flush=True)
        done = 0
        for attempt in range(20):
            try:
                while True:
                    w.append("a", done, 0.0, 1.0)
                    done += 1
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        w.finish("stopped")
        print(done)
    """
    with child(code, tmp_path) as process:
        assert process.line() == "begun"
        for _ in range(20):
            time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert process.line() == "interrupted"
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    steps = StoredRun(tmp_path / "p" / "r").scalars()["a"].steps
    # A call that was interrupted after its number was stored is repeated by this program.
    assert sorted(set(steps.tolist())) in (list(range(int(out))), list(range(int(out) + 1)))
    assert len(steps) - int(out) <= 20


def test_a_forked_child_never_writes_into_its_parents_run(tmp_path: Path) -> None:
    code = """
        import os, sys, threading, warnings
        from epochal.store import RunWriter
        said = []
        w = RunWriter.create(sys.argv[1], project="p", run_id="r", on_problem=said.append)
        stop = threading.Event()
        def log():
            step = 0
            while not stop.is_set():
                w.append("thread", step, 0.0, float(step)); step += 1
        worker = threading.Thread(target=log); worker.start()
        pids = []
        for n in range(8):
            w.log({"parent": n}, n)
            pid = os.fork()
            if not pid:
                for step in range(1000): w.log({"child": step}, step)
                w.log({"parent": -1.0}, 99)
                w.submit(lambda: None)
                w.flush(); w.finish("failed")
                ok = len(said) == 1 and "forked" in said[0] and "not recorded" in said[0]
                sys.stdout.flush()
                os._exit(0 if ok else 3)
            pids.append(pid)
        codes = [os.waitpid(pid, 0)[1] for pid in pids]
        stop.set(); worker.join()
        w.log({"parent": 8}, 8)
        w.finish()
        assert codes == [0] * 8, codes
        assert said == [], said
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.info().status == "finished"
    series = run.scalars()
    assert sorted(series) == ["parent", "thread"]
    assert series["parent"].v.tolist() == list(range(9))
    assert series["thread"].v.tolist() == list(range(len(series["thread"])))
    assert run.notices() == ()


def test_a_forked_child_that_ends_by_itself_leaves_the_run_alone(tmp_path: Path) -> None:
    code = """
        import os, sys
        from epochal.store import RunWriter
        w = RunWriter.create(sys.argv[1], project="p", run_id="r")
        w.log({"a": 1.0}, 0)
        if not os.fork(): sys.exit(0)
        os.wait()
        w.log({"a": 2.0}, 1)
        w.finish()
    """
    run_child(code, tmp_path)
    run = StoredRun(tmp_path / "p" / "r")
    assert run.info().status == "finished"
    assert run.scalars()["a"].v.tolist() == [1.0, 2.0]


def crashed(tmp_path: Path, rows: int = 60) -> Path:
    """A run that died: twenty rows in each of two batches of the stream, the rest in the journal; return its part."""
    code = """
        import os, sys
        from epochal.store import RunWriter
        w = RunWriter.create(sys.argv[1], project="p", run_id="r")
        for step in range(int(sys.argv[2])):
            w.append("a", step, 0.5, step / 3)
            if step in (19, 39): assert w.flush()
        os.kill(os.getpid(), 9)
    """
    with child(code, tmp_path, rows) as process:
        assert process.wait(30) == -signal.SIGKILL
    return next((tmp_path / "p" / "r" / "w").iterdir())


def values(path: Path) -> list[float]:
    found = StoredRun(path).scalars()
    return found["a"].v.tolist() if "a" in found else []


def test_a_segment_torn_at_any_byte_loses_nothing_that_the_journal_holds(tmp_path: Path) -> None:
    folder = crashed(tmp_path)
    segment = folder / "scalars" / "00000000.arrows"
    data = segment.read_bytes()
    for cut in range(0, len(data), 5):
        segment.write_bytes(data[:cut])
        run = StoredRun(folder.parent.parent)
        assert run.scalars()["a"].v.tolist() == [step / 3 for step in range(60)], cut
        assert run.notices() == ()


def test_repair_makes_a_torn_segment_whole_for_everyone(tmp_path: Path) -> None:
    import pyarrow as pa

    folder = crashed(tmp_path)
    segment = folder / "scalars" / "00000000.arrows"
    os.truncate(segment, segment.stat().st_size - 3)
    with pytest.raises((pa.ArrowInvalid, OSError)):
        pa.ipc.open_stream(segment.read_bytes()).read_all()
    report = repair(folder.parent.parent)
    assert (report.folded, report.damaged, report.writers) == (40, 0, (folder.name,))
    assert report.cut > 0
    tables = [pa.ipc.open_stream(p.read_bytes()).read_all() for p in sorted((folder / "scalars").iterdir())]
    assert [v for t in tables for v in t["v"].to_pylist()] == [step / 3 for step in range(60)]
    assert values(folder.parent.parent) == [step / 3 for step in range(60)]
    assert StoredRun(folder.parent.parent).info().status == "crashed"
    assert StoredRun(folder.parent.parent).summaries()["a"].n == 60


def test_repair_renews_a_summary_that_is_older_than_the_last_fold(tmp_path: Path) -> None:
    folder = crashed(tmp_path, rows=40)
    (folder / "summary.json").write_text('{"format_version": 1, "rows_end": 0, "series": {}}')
    assert repair(folder.parent.parent).folded == 0
    assert StoredRun(folder.parent.parent).summaries()["a"].n == 40


def test_repair_leaves_a_living_writer_alone(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    report = repair(writer.path)
    assert (report.running, report.writers) == ((writer.folder.name,), ())
    assert (writer.folder / "journal.bin").exists()
    writer.finish()


def test_damage_in_the_middle_leaves_the_rest_and_is_counted(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(60):
        writer.log({"a": step / 3}, step)
        if step % 20 == 19:
            assert writer.flush()
    writer.finish()
    segment = writer.folder / "scalars" / "00000000.arrows"
    data = bytearray(segment.read_bytes())
    at = bytes(data).index(np.array([25 / 3, 26 / 3]).tobytes())
    data[at + 3] ^= 0x10
    segment.write_bytes(bytes(data))
    run = StoredRun(writer.path)
    assert run.scalars()["a"].steps.tolist() == [*range(20), *range(40, 60)]
    (notice,) = run.notices()
    assert (notice.code, notice.count) == ("damaged", 20)
    assert "at least 20 rows are lost; the rest is shown" in notice.message
    assert run.info().notices == (notice,)


@pytest.mark.parametrize("what", ["missing", "empty", "noise", "headless"])
def test_a_lost_segment_leaves_the_others_and_is_counted(tmp_path: Path, what: str) -> None:
    writer = begin(tmp_path)
    writer._drain._scalars._limits = (8_000_000, 10)
    for step in range(60):
        writer.log({"a": step / 3, "b": 1.0}, step)
        if step % 20 == 19:
            assert writer.flush()
    writer.finish()
    segment = writer.folder / "scalars" / "00000001.arrows"
    if what == "missing":
        segment.unlink()
    elif what == "empty":
        segment.write_bytes(b"")
    elif what == "noise":
        segment.write_bytes(random.Random(0).randbytes(segment.stat().st_size))
    else:
        segment.write_bytes(bytes(400) + segment.read_bytes()[400:])
    run = StoredRun(writer.path)
    found = run.scalars()
    if what == "headless":
        assert found["a"].v.tolist() == [step / 3 for step in range(60)], "names come from the names file"
        assert [n.code for n in run.notices()] == ["damaged"]
        return
    for name in ("a", "b"):
        assert found[name].steps.tolist() == [*range(20), *range(40, 60)]
    (notice,) = run.notices()
    assert (notice.code, notice.count) == ("damaged", 40)


def test_damaged_small_files_are_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    writer.add_snapshot("params", {"w": np.zeros(3)}, step=0)
    writer.add_snapshot("params", {"w": np.ones(3)}, step=1)
    writer.finish()
    (writer.folder / "state.json").write_text("{")
    (writer.path / "meta.json").write_text("[]")
    (writer.folder / "params" / "step-0000000000.safetensors").write_bytes(b"\xff" * 40)
    run = StoredRun(writer.path)
    assert run.scalars()["a"].v.tolist() == [1.0]
    assert run.info().status == "crashed"
    assert [n.code for n in run.notices()] == ["damaged", "damaged"]
    assert run.tensor_film("w")[0].tolist() == [1]
    with pytest.raises(Exception, match=r"Snapshot step-0000000000\.safetensors cannot be read"):
        run.snapshot(0)


def test_two_processes_in_one_run_are_both_kept_and_told(tmp_path: Path) -> None:
    first = begin(tmp_path, run_id="r")
    said: list[str] = []
    second = begin(tmp_path, run_id="r", resume="allow", on_problem=said.append)
    assert len(said) == 1
    assert f"process {os.getpid()} on" in said[0]
    assert "writes into run p/r too" in said[0]
    for step in range(10):
        first.log({"a": 1.0, "mine": 1.0}, step)
        second.log({"a": 2.0}, step + 5)
    first.finish()
    second.finish()
    run = StoredRun(first.path)
    assert run.scalars()["a"].v.tolist() == [1.0] * 5 + [2.0] * 10
    assert len(run.scalars()["mine"]) == 10
    notices: dict[str, Any] = {n.code: n for n in run.notices()}
    assert notices.keys() == {"two_writers", "hidden"}
    assert notices["hidden"].count == 5


def test_a_clock_that_goes_back_does_not_turn_the_boots_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(tmp_path, run_id="r")
    for step in range(10):
        first.log({"a": 1.0}, step)
    first.finish()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    second = begin(tmp_path, run_id="r", resume="must")
    for step in range(5, 8):
        second.log({"a": 2.0}, step)
    second.finish()
    assert StoredRun(first.path).scalars()["a"].v.tolist() == [1.0] * 5 + [2.0] * 3


def test_a_damaged_snapshot_is_left_out_of_films_and_told(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in (1, 2, 3):
        writer.add_snapshot("params", {"w": np.full(2, step, np.float32)}, step=step)
    writer.drop("errors", 1)
    writer.finish()
    run = StoredRun(writer.path)
    damaged = next(writer.path.rglob("step-0000000002.safetensors"))
    damaged.write_bytes(b"\xff" * 40)
    steps, frames = run.tensor_film("w", None)
    assert steps.tolist() == [1, 3]
    assert frames[:, 0].tolist() == [1, 3]
    told = [notice.message for notice in run.notices()]
    assert "the params snapshot of step 2 cannot be read; films leave it out" in told
    assert "1 error was not recorded" in told
