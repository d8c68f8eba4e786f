"""Disks that refuse: full, read-only, gone. Training goes on; what fits in memory is kept; the rest is counted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import StorageFullError
from epochal.store import Library, StoredRun
from tests.store.helpers import begin, run_child, statistics_columns, wait_until


def _mount(path: Path, options: str) -> None:
    path.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    path = tmp_path / "disk"
    _mount(path, "size=6m")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while shutil.disk_usage(disk).free:
            file.write(bytes(4096))
    return ballast


def test_numbers_logged_on_a_full_disk_are_written_when_there_is_space_again(disk: Path) -> None:
    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    writer.log({"before": 1.0}, 0)
    assert writer.flush()
    ballast = fill(disk)
    for step in range(100_000):
        writer.append("during", step, 0.0, step / 3)
    writer.log({"new series": 1.0}, 0)
    assert not writer.flush()
    assert len(said) == 1, "said once"
    assert "No space left on device; numbers are kept in memory" in said[0]
    run = StoredRun(writer.path)
    assert run.info().status == "running"
    assert run.scalars()["before"].v.tolist() == [1.0]
    ballast.unlink()
    wait_until(lambda: writer.flush(1.0), secs=5)
    assert run.scalars()["during"].v.tobytes() == (np.arange(100_000) / 3).tobytes()
    writer.log({"after": 1.0}, 0)
    writer.finish()
    assert len(said) == 1
    run = StoredRun(writer.path)
    assert sorted(run.scalars()) == ["after", "before", "during", "new series"]
    assert run.scalars()["during"].v.tobytes() == (np.arange(100_000) / 3).tobytes()
    assert (run.info().status, run.notices()) == ("finished", ())


def test_what_no_memory_is_left_for_is_counted_by_name(disk: Path) -> None:
    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    writer._drain.ring._memory_rows = 1000
    ballast = fill(disk)
    for step in range(65_536 + 1000 + 30):
        writer.append("a" if step % 2 else "b", step, 0.0, 1.0)
    assert not writer.flush()
    ballast.unlink()
    wait_until(lambda: writer.flush(1.0), secs=5)
    writer.finish()
    assert len(said) == 2
    assert "the memory for scalars that cannot be written is full" in said[1]
    run = StoredRun(writer.path)
    (notice,) = run.notices()
    assert (notice.code, notice.count, notice.hint) == ("dropped_scalars", 30, "series: b, a")
    assert "30 numbers were not recorded" in notice.message
    assert sum(map(len, run.scalars().values())) == 65_536 + 1000


def test_a_full_disk_never_leaves_half_a_message_or_half_a_file(disk: Path) -> None:
    import pyarrow as pa

    def whole(segment: Path) -> bool:
        try:
            pa.ipc.open_stream(segment.read_bytes()).read_all().validate(full=True)
        except OSError:
            return False
        return True

    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    rng = np.random.default_rng(0)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    for step in range(40):
        writer.append_many({f"m{i}": float(i) for i in range(200)}, step, 0.0)
        writer.flush(5)
        try:
            writer.add_snapshot("params", {"w": rng.normal(size=10_000)}, step=step)
        except StorageFullError as error:
            assert f"the snapshot of step {step} was not written: No space left on device" in str(error)  # noqa: PT017
        # The writer's thread may be at work, and cut back what found no room a moment later.
        wait_until(lambda: all(map(whole, (writer.folder / "scalars").iterdir())))
    assert said
    assert not list(writer.folder.rglob("*.tmp"))
    taken = StoredRun(writer.path).snapshot_steps()
    assert 0 < len(taken) < 40
    for step in taken:
        assert StoredRun(writer.path).tensor("w", step).shape == (10_000,)
    ballast.unlink()
    wait_until(lambda: writer.flush(1.0), secs=5)
    writer.finish()
    run = StoredRun(writer.path)
    assert sum(map(len, run.scalars().values())) == 8_000
    assert {n.code: n.count for n in run.notices()} == {"dropped_snapshot": 40 - len(taken)}


def test_a_disk_that_stays_full_keeps_the_journal(disk: Path) -> None:
    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    fill(disk)
    for step in range(500):
        writer.append("a", step, 0.0, float(step))
    writer.add_statistics(statistics_columns(["a"], 0))
    writer.finish()
    assert "the run ended while 500 numbers could not be written: No space left on device" in said[-1]
    run = StoredRun(writer.path)
    assert run.info().status == "running", "not even its end could be written"
    # The name of a series comes before its first number, and there was no room for it either.
    assert (writer.folder / "journal.bin").exists()


def test_a_run_cannot_begin_on_a_full_disk_and_leaves_nothing(disk: Path) -> None:
    ballast = fill(disk)
    os.truncate(ballast, ballast.stat().st_size - 200_000)
    with pytest.raises(StorageFullError, match=r"The run cannot be recorded at .*: No space left on device") as caught:
        begin(disk)
    assert "EPOCHAL_DIR" in caught.value.hint
    assert Library(disk).runs() == []
    assert [p.name for p in disk.rglob("*") if p.is_file()] == ["ballast"]


def test_a_disk_that_becomes_read_only_is_waited_for(disk: Path) -> None:
    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    # Open files keep a mount from turning read-only: let the writer find its folder read-only by another way.
    with writer._drain._lock:
        writer._drain._scalars.abandon()
    mounted = subprocess.run(["mount", "--bind", disk, disk], check=False).returncode == 0
    assert mounted
    subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    try:
        writer.log({"a": 2.0}, 1)
        assert not writer.flush()
        assert "Read-only file system" in said[0]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    wait_until(lambda: writer.flush(1.0), secs=5)
    writer.finish()
    assert StoredRun(writer.path).scalars()["a"].v.tolist() == [1.0, 2.0]
    assert len(said) == 1


def test_a_folder_without_permission_says_so(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    code = """
        import os, sys
        from epochal.store import RunWriter
        from epochal.errors import StorageFullError
        if os.getuid() == 0: os.setuid(65534)
        try: RunWriter.create(sys.argv[1], project="p")
        except StorageFullError as error: print(error)
    """
    said = run_child(code, locked)
    assert f"No run can be recorded below {locked}: Permission denied" in said
    assert "hint: free some space there, or name another folder" in said


def test_a_run_moved_to_the_trash_while_it_runs_goes_on_when_it_is_restored(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, run_id="r", on_problem=said.append)
    library = Library(tmp_path)
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    library.delete(library.run("r"))
    writer.log({"a": 2.0}, 1)
    assert not writer.flush()
    assert "No such file or directory" in said[0]
    assert not writer.path.exists(), "a deleted run does not come back by itself"
    library.restore("p", "r")
    writer.log({"a": 3.0}, 2)
    wait_until(lambda: writer.flush(1.0), secs=5)
    writer.finish()
    assert library.run("r").scalars()["a"].v.tolist() == [1.0, 2.0, 3.0]


def test_a_removed_folder_stops_nothing_and_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, run_id="r", on_problem=said.append)
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    run = StoredRun(writer.path)
    assert len(run.scalars()["a"]) == 1
    shutil.rmtree(tmp_path / "p")
    for step in range(1, 11):
        writer.log({"a": 1.0}, step)
    with pytest.raises(StorageFullError, match="the snapshot of step 5 was not written"):
        writer.add_snapshot("params", {}, step=5)
    writer.finish()
    assert "the run ended while 10 numbers could not be written: No such file or directory" in said[-1]
    assert not (tmp_path / "p").exists()
    with pytest.raises(Exception, match="There is no run at"):
        run.scalars()


def test_statistics_wait_for_space_too(disk: Path) -> None:
    said: list[str] = []
    writer = begin(disk, on_problem=said.append)
    writer._drain.statistics._limit = 200_000
    ballast = fill(disk)
    for step in range(1000):
        writer.add_statistics(statistics_columns(["param/w"], step))
    assert not writer.flush()
    ballast.unlink()
    wait_until(lambda: writer.flush(1.0), secs=5)
    writer.finish()
    run = StoredRun(writer.path)
    kept = run.statistics("param/w").steps.tolist()
    assert 0 < len(kept) < 1000
    assert kept == list(range(len(kept)))
    assert {n.code: n.count for n in run.notices()} == {"dropped_statistics": 1000 - len(kept)}


def test_a_snapshot_that_fails_in_a_job_is_counted_once(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    (writer.folder / "params").mkdir()
    (writer.folder / "params" / "step-0000000005.safetensors").mkdir()
    writer.submit(lambda: writer.add_snapshot("params", {"w": np.zeros(2)}, step=5))
    assert writer.flush()
    writer.finish()
    assert len(said) == 1
    assert {n.code: n.count for n in StoredRun(writer.path).notices()} == {"dropped_snapshot": 1}
