"""Values that are no numbers: stored once, never half, never lost in silence, and never followed out of the run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from epochal.errors import DamagedError, NotFoundError, UsageError
from epochal.facts import HISTOGRAM_BINS, STATISTICS
from epochal.store import RunWriter, StoredRun
from epochal.store import blobs as blobs_module
from epochal.store import media as media_module
from epochal.store.arrow import MEDIA_COLUMNS
from epochal.store.blobs import Blob, Encoded
from epochal.store.files import replace_file
from epochal.store.media import PendingMedia
from epochal.store.repair import repair
from epochal.store.segments import SegmentWriter
from epochal.store.sweep import sweep
from tests.store.helpers import EPOCH_START, begin, child, wait_until


class Note:
    """A value for tests: some bytes."""

    kind = "text"

    def __init__(self, data: bytes, *, caption: str = "", size: int | None = None, **encoded: Any) -> None:
        self.data, self.caption, self._size, self._encoded = data, caption, size, encoded

    @property
    def nbytes(self) -> int:
        return len(self.data) if self._size is None else self._size

    def encode(self) -> Encoded:
        return Encoded(data=self.data, extension="txt", **self._encoded)


class Waiting(Note):
    """A value that is not encoded before it is told to."""

    def __init__(self, data: bytes, go: threading.Event, **more: Any) -> None:
        super().__init__(data, **more)
        self.go = go

    def encode(self) -> Encoded:
        assert self.go.wait(30)
        return super().encode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def add(writer: RunWriter, data: bytes, step: int, *, series: str = "notes", **more: Any) -> bool:
    return writer.add_media(series, Note(data, **more), step=step, t=EPOCH_START + step)


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.glob("w/*/media/blobs/*"))


def test_what_was_given_comes_back(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    extra = Blob(b"extra", "json")
    meta = {"width": 3, "odd": float("nan")}
    assert writer.add_media("a/b", Note(b"one", caption="ein Ü", meta=meta, blobs=(extra,)), step=3, t=5.5, index=2)
    assert writer.flush()
    run = StoredRun(writer.path)
    (item,) = run.media("a/b")
    assert (item.series, item.kind, item.step, item.t, item.index) == ("a/b", "text", 3, 5.5, 2)
    assert (item.sha256, item.extension, item.size, item.caption) == (sha(b"one"), "txt", 3, "ein Ü")
    assert item.meta == {"width": 3, "odd": "NaN", "blobs": [extra.name]}
    assert run.blob(item.sha256).read_bytes() == b"one"
    assert run.blob_bytes(sha(b"extra")) == b"extra"
    (series,) = run.media_series().values()
    assert (series.name, series.kinds, series.count, series.steps) == ("a/b", ("text",), 1, 1)
    writer.finish()
    assert StoredRun(writer.path).media("a/b") == [item]
    assert StoredRun(writer.path).notices() == ()


def test_a_value_of_which_too_much_is_told_is_counted_as_lost(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    writer.add_media("a", Note(b"one", meta={"boxes": ["x" * 1000] * 5000}), step=0, t=EPOCH_START)
    writer.add_media("a", Note(b"two", meta={"boxes": ["x" * 1000] * 50}), step=1, t=EPOCH_START)
    writer.finish()
    assert "5,020,011 characters of JSON" in said[0]
    run = StoredRun(writer.path)
    assert [item.step for item in run.media("a")] == [1]
    assert [(notice.code, notice.count) for notice in run.notices()] == [("dropped_media", 1)]


def test_other_programs_read_the_rows(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(4):
        add(writer, b"%d" % step, step, series="ä" if step % 2 else "b", caption="c" * step)
    writer.finish()
    (path,) = writer.path.glob("w/*/media/*.arrows")
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    table.validate(full=True)
    assert table["step"].to_pylist() == [0, 1, 2, 3]
    assert table["name"].to_pylist() == ["b", "ä", "b", "ä"]
    assert table["sha256"].to_pylist() == [sha(b"%d" % step) for step in range(4)]
    frame = pl.read_ipc_stream(path)
    assert frame["caption"].to_list() == ["", "c", "cc", "ccc"]
    for row in frame.iter_rows(named=True):
        assert sha((path.parent / "blobs" / f"{row['sha256']}.{row['extension']}").read_bytes()) == row["sha256"]


def test_the_same_bytes_are_one_file(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(100):
        add(writer, b"same", step)
        add(writer, b"same", step, series="other")
    writer.finish()
    run = StoredRun(writer.path)
    assert files(writer.path) == [f"{sha(b'same')}.txt"]
    assert [item.step for item in run.media("notes")] == list(range(100))
    assert run.media_series()["other"].count == 100


def test_a_reader_sees_values_while_they_come(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    seen = set()
    for step in range(3):
        add(writer, b"%d" % step, step)
        assert writer.flush()
        assert len(run.media("notes")) == step + 1
        seen.add(run.version())
    assert len(seen) == 3, "the run's version tells of new values"
    assert [item.step for item in run.media("notes", steps=[0, 2, 7])] == [0, 2]
    with pytest.raises(NotFoundError, match="no values of 'nots'"):
        run.media("nots")
    writer.finish()


def test_rows_go_on_in_further_segments(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer._drain.media._segments = SegmentWriter(writer._drain.folder.media, MEDIA_COLUMNS, segment_rows=10)
    for step in range(35):
        add(writer, b"%d" % step, step)
        if step % 5 == 4:
            assert writer.flush()
    writer.finish()
    assert len(list(writer.path.glob("w/*/media/*.arrows"))) > 2
    assert [item.step for item in StoredRun(writer.path).media("notes")] == list(range(35))


def test_a_later_process_hides_what_it_logged_again_and_ranks_stay_apart(tmp_path: Path) -> None:
    first = begin(tmp_path, run_id="r")
    for step in range(6):
        add(first, b"first %d" % step, step)
        add(first, b"kept", step, series="kept")
    first.finish()
    second = begin(tmp_path, run_id="r", resume="must")
    add(second, b"second", 4)
    other = begin(tmp_path, run_id="r", resume="must", rank=2)
    add(other, b"other", 0)
    second.finish()
    other.finish()
    run = StoredRun(second.path)
    found = run.media("notes")
    assert [(item.step, run.blob_bytes(item.sha256)) for item in found] == [
        *((step, b"first %d" % step) for step in range(4)),
        (4, b"second"),
    ]
    assert len(run.media("kept")) == 6
    assert run.blob_bytes(run.media("rank2/notes")[0].sha256) == b"other"
    assert [n.count for n in run.notices() if "values are hidden" in n.message] == [2]


def test_statistics_of_a_value_become_a_row_of_their_own(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    row: dict[str, Any] = {name: float(place) for place, name in enumerate(STATISTICS)}
    row |= {"lo": -1.0, "hi": 1.0, "counts": np.arange(HISTOGRAM_BINS)}
    writer.add_media("kept", Note(b"x", statistics=row), step=2, t=3.0)
    writer.add_media("alone", Note(b"y", statistics=row, kept=False), step=4, t=5.0)
    writer.finish()
    run = StoredRun(writer.path)
    assert list(run.media_series()) == ["kept"]
    assert files(writer.path) == [f"{sha(b'x')}.txt"]
    table = run.statistics("alone")
    assert (table.steps.tolist(), table.t.tolist()) == ([4], [5.0])
    assert table.counts[0].tolist() == list(range(HISTOGRAM_BINS))
    assert run.statistics("kept").steps.tolist() == [2]


def test_what_was_altered_is_said_once_and_counted(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    for step in range(3):
        add(writer, b"x", step, altered={"pixels": 7}, told="7 pixels were clamped")
    writer.finish()
    assert said == ["'notes' at step 0: 7 pixels were clamped"]
    (notice,) = StoredRun(writer.path).notices()
    assert (notice.code, notice.count) == ("altered_pixels", 21)


def test_a_value_that_cannot_be_encoded_is_counted_and_the_next_is_recorded(tmp_path: Path) -> None:
    class Broken(Note):
        def encode(self) -> Encoded:
            raise ZeroDivisionError("in here")

    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    writer.add_media("bad", Broken(b""), step=1, t=0.0)
    add(writer, b"good", 2)
    writer.finish()
    assert said == ["text 'bad' of step 1 was not recorded: ZeroDivisionError: in here"]
    run = StoredRun(writer.path)
    assert list(run.media_series()) == ["notes"]
    assert [(n.code, n.count, n.message) for n in run.notices()] == [("dropped_media", 1, "1 value was not recorded")]


def test_names_and_captions_of_any_kind_are_kept(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    add(writer, b"x", 0, series="lone \ud800 surrogate", caption="also \udfff here")
    add(writer, b"x", 0, series="", caption="\x00")
    add(writer, b"x", 0, series="long", caption="c" * 100_000)
    writer.finish()
    run = StoredRun(writer.path)
    assert list(run.media_series()) == ["lone \\ud800 surrogate", "", "long"]
    assert run.media("")[0].caption == "\x00"
    assert len(run.media("long")[0].caption) == 10_000


def queue(tmp_path: Path, **options: Any) -> tuple[PendingMedia, list[tuple[str, int]]]:
    from epochal.store.layout import WriterFolder

    lost: list[tuple[str, int]] = []
    tmp_path.mkdir(exist_ok=True)
    pending = PendingMedia(
        WriterFolder(tmp_path),
        add_statistics=lambda _: None,
        drop=lambda code, count, _: lost.append((code, count)),
        **options,
    )
    return pending, lost


def test_a_full_queue_is_waited_for_and_then_the_value_is_dropped(tmp_path: Path) -> None:
    pending, lost = queue(tmp_path, queue_bytes=10_000, patience_secs=0.3)
    go = threading.Event()
    assert pending.add("a", Waiting(b"x", go, size=8_000), step=0, t=0.0)
    began = time.monotonic()
    assert not pending.add("a", Note(b"y", size=8_000), step=1, t=0.0)
    assert time.monotonic() - began >= 0.3
    began = time.monotonic()
    assert not pending.add("a", Note(b"y", size=8_000), step=2, t=0.0)
    assert time.monotonic() - began < 0.25, "it waits once, not at every call"
    assert lost == [("media", 1), ("media", 1)]
    assert pending.add("a", Note(b"small", size=100), step=3, t=0.0), "what fits is taken"
    threading.Timer(0.05, go.set).start()
    assert pending.add("a", Note(b"z", size=8_000), step=4, t=0.0), "room that comes in time is used"
    pending.stop()
    assert pending.write()
    pending.end()
    assert len(lost) == 2
    assert len(list((tmp_path / "media" / "blobs").iterdir())) == 3


def test_a_value_larger_than_the_queue_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    pending, lost = queue(tmp_path, queue_bytes=1_000)
    assert pending.add("a", Note(b"x" * 50_000), step=0, t=0.0)
    assert pending.wait(10)
    assert pending.add("a", Note(b"y" * 50_000), step=1, t=0.0)
    pending.stop()
    assert lost == []


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    writer = begin(tmp_path)

    def work(number: int) -> None:
        for step in range(50):
            assert add(writer, b"%d %d" % (number, step), step, series=f"s{number}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.finish()
    run = StoredRun(writer.path)
    for number in range(4):
        found = [run.blob_bytes(item.sha256) for item in run.media(f"s{number}")]
        assert found == [b"%d %d" % (number, step) for step in range(50)]


def refusing(monkeypatch: pytest.MonkeyPatch, *, when: Callable[[], bool]) -> None:
    """Make writing blobs fail as on a full disk."""
    real = replace_file

    def failing(path: Path, data: bytes, *, sync: bool = False) -> None:
        if when():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data, sync=sync)

    monkeypatch.setattr(blobs_module, "replace_file", failing)


@pytest.mark.parametrize("one_call", [True, False])
def test_bytes_are_on_the_disk_before_their_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, one_call: bool
) -> None:
    events: list[str] = []
    real_sync, real_all, real_write = media_module._sync, media_module._sync_file_system, SegmentWriter.write

    def sync(path: Path) -> None:
        real_sync(path)
        events.append(path.name)

    def sync_all(folder: Path) -> bool:
        done = one_call and real_all(folder)
        events.extend(path.name for path in folder.iterdir() if done)
        return done

    def write(self: SegmentWriter, arrays: Any, names: Any, *, rows_end: int) -> None:
        if self.folder.name == "media":
            assert set(arrays["sha256"]) <= {name[:64] for name in events}
            events.append("row")
        real_write(self, arrays, names, rows_end=rows_end)

    monkeypatch.setattr(media_module, "_sync", sync)
    monkeypatch.setattr(media_module, "_sync_file_system", sync_all)
    monkeypatch.setattr(SegmentWriter, "write", write)
    writer = begin(tmp_path)
    for step in range(40):
        add(writer, b"%d" % step, step)
    assert writer.flush()
    add(writer, b"last", 99)
    writer.finish()
    assert len({e for e in events if e.endswith(".txt")}) == 41
    assert "row" in events
    assert len(StoredRun(writer.path).media("notes")) == 41


def test_a_disk_that_is_slow_to_sync_does_not_hold_rows_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(media_module, "_sync_all", lambda *_: go.wait(30))
    writer = begin(tmp_path)
    add(writer, b"x", 0)
    run = StoredRun(writer.path)
    wait_until(lambda: bool(run.media_series()), secs=5)
    go.set()
    writer.finish()
    assert len(run.media("notes")) == 1, "and it is written once"


def test_a_disk_that_refuses_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [True]
    refusing(monkeypatch, when=lambda: full[0])
    writer = begin(tmp_path)
    for step in range(5):
        assert add(writer, b"%d" % step, step)
    writer.log({"loss": 1.0}, 0)
    assert not writer.flush(0.3), "the values are not on the disk"
    assert list(StoredRun(writer.path).scalars()) == ["loss"], "numbers go on"
    full[0] = False
    assert writer.flush(10)
    assert len(StoredRun(writer.path).media("notes")) == 5
    writer.finish()
    assert StoredRun(writer.path).notices() == ()


def test_what_a_disk_refuses_to_the_end_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, when=lambda: True)
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    for step in range(5):
        add(writer, b"%d" % step, step)
    began = time.monotonic()
    writer.finish()
    assert time.monotonic() - began < 5
    run = StoredRun(writer.path)
    assert run.media_series() == {}
    assert [(n.code, n.count) for n in run.notices()] == [("dropped_media", 5)]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert files(writer.path) == []


def test_rows_that_are_refused_to_the_end_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = SegmentWriter.write

    def failing(self: SegmentWriter, arrays: Any, names: Any, *, rows_end: int) -> None:
        if self.folder.name == "media":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, arrays, names, rows_end=rows_end)

    monkeypatch.setattr(SegmentWriter, "write", failing)
    monkeypatch.setattr(media_module, "ROWS_KEPT", 20)
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    for step in range(50):
        add(writer, b"%d" % step, step)
    assert not writer.flush()
    writer.log({"loss": 1.0}, 0)
    writer.finish()
    run = StoredRun(writer.path)
    assert [(n.code, n.count) for n in run.notices()] == [("dropped_media", 50)]
    assert run.media_series() == {}
    assert list(run.scalars()) == ["loss"]
    assert any("some are lost" in message for message in said)


def test_a_write_that_tears_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    torn = [2]
    left: list[list[str]] = []

    def half(fd: int, data: Any) -> int:
        if len(data) == 1000 and torn[0]:
            left.append(files(tmp_path / "p" / "r"))
            torn[0] -= 1
            real(fd, bytes(data[:400]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    monkeypatch.setattr(os, "write", half)
    writer = begin(tmp_path, run_id="r")
    add(writer, b"q" * 1000, 0)
    assert writer.flush(10)
    writer.finish()
    run = StoredRun(writer.path)
    assert len(left) == 2
    assert all(name.startswith(".") for names in left for name in names), "half a file is nobody's"
    assert files(writer.path) == [f"{sha(b'q' * 1000)}.txt"]
    assert run.blob_bytes(run.media("notes")[0].sha256) == b"q" * 1000


def test_a_folder_that_is_removed_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    add(writer, b"a", 0)
    assert writer.flush()
    shutil.rmtree(writer.path)
    for step in range(1, 20):
        assert add(writer, b"%d" % step, step)
        writer.log({"loss": 1.0}, step)
    writer.finish()
    assert any("was not recorded" in message for message in said)
    assert writer._drain._state["dropped"]["media"] == 19
    assert not writer.path.exists(), "nothing is made where the user removed it"


def test_a_forked_child_records_nothing_of_its_parents_run(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    add(writer, b"parent", 0)
    assert writer.flush()
    pid = os.fork()
    if not pid:  # pragma: no cover - another process
        taken = add(writer, b"child", 1)
        os._exit(1 if taken else 0)
    assert os.waitpid(pid, 0)[1] == 0
    writer.finish()
    assert [item.step for item in StoredRun(writer.path).media("notes")] == [0]


KILLED = """
    import sys, time
    from epochal.store import RunWriter
    from epochal.store.blobs import Encoded
    class Note:
        kind, caption, nbytes = "text", "", 1
        def __init__(self, data): self.data = data
        def encode(self): return Encoded(data=self.data, extension="txt")
    w = RunWriter.create(sys.argv[1], project="p", run_id="r")
    print("ready", flush=True)
    step = 0
    while True:
        w.add_media("notes", Note(b"%d" % step), step=step, t=time.time())
        step += 1
        time.sleep(0.002)
"""


@pytest.mark.parametrize("after_secs", [0.4, 1.1, 2.3])
def test_kill_9_loses_at_most_the_last_second(tmp_path: Path, after_secs: float) -> None:
    with child(KILLED, tmp_path) as process:
        assert process.line() == "ready"
        time.sleep(after_secs)
        process.send_signal(signal.SIGKILL)
        killed = time.time()
        process.wait(10)
    run = StoredRun(tmp_path / "p" / "r")
    items = run.media("notes") if run.media_series() else []
    assert [item.step for item in items] == list(range(len(items)))
    for item in items:
        assert run.blob_bytes(item.sha256) == b"%d" % item.step, "a row never names what is not whole"
    # A loaded machine may be late with a fold; hence not one but two and a half.
    last = items[-1].t if items else killed - after_secs
    assert killed - last < 2.5
    assert not run.notices() or all(n.code != "damaged" for n in run.notices())
    report = sweep(run.path)
    assert (report.skipped != "") == (not items)
    if items:
        assert files(run.path) == sorted(item.filename for item in items)
        assert sweep(run.path).files == 0


def test_a_torn_row_is_cut_off_and_the_others_stay(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(3):
        add(writer, b"%d" % step, step)
        assert writer.flush()
    copy = tmp_path / "p" / "copy"
    shutil.copytree(writer.path, copy)
    writer.finish()
    (segment,) = copy.glob("w/*/media/*.arrows")
    whole = segment.stat().st_size
    os.truncate(segment, whole - 40)
    state = next(copy.glob("w/*/state.json"))
    state.write_text(json.dumps({**json.loads(state.read_text()), "pid": 1, "host": "elsewhere", "heartbeat": 0}))
    run = StoredRun(copy)
    assert [item.step for item in run.media("notes")] == [0, 1]
    report = repair(copy)
    assert report.cut > 0
    assert [item.step for item in StoredRun(copy).media("notes")] == [0, 1]
    assert segment.stat().st_size < whole - 40
    pa.ipc.open_stream(segment.read_bytes()).read_all().validate(full=True)


def damaged(tmp_path: Path) -> tuple[StoredRun, list[Path]]:
    writer = begin(tmp_path)
    for step in range(3):
        add(writer, b"value %d" % step, step)
    writer.finish()
    run = StoredRun(writer.path)
    return run, [run.blob(item.sha256) for item in run.media("notes")]


def test_a_damaged_or_missing_file_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    run, paths = damaged(tmp_path)
    paths[0].write_bytes(b"valuE 0")
    paths[1].unlink()
    first, second, third = run.media("notes")
    with pytest.raises(DamagedError, match="does not hold what it held"):
        run.blob_bytes(first.sha256)
    with pytest.raises(DamagedError, match="it is missing"):
        run.blob(second.sha256)
    assert run.blob_bytes(third.sha256) == b"value 2"
    (notice,) = run.notices()
    assert (notice.code, notice.count) == ("damaged", 2)
    assert "2 files of values cannot be read" in notice.message
    paths[1].write_bytes(b"value 1")
    assert run.blob_bytes(second.sha256) == b"value 1"
    (notice,) = run.notices()
    assert (notice.count, notice.hint) == (1, f"the others are shown; it is {first.filename}")


def test_links_out_of_the_run_are_not_followed(tmp_path: Path) -> None:
    run, paths = damaged(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"value 0")
    paths[0].unlink()
    paths[0].symlink_to(secret)
    with pytest.raises(DamagedError, match="no plain file"):
        run.blob(run.media("notes")[0].sha256)
    folder = paths[1].parent
    outside = tmp_path / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    with pytest.raises(DamagedError, match="leads elsewhere"):
        run.blob(run.media("notes")[1].sha256)
    assert sweep(run.path).files == 0
    assert len(list(outside.iterdir())) == 3


def hostile_rows(writer: RunWriter, **changes: Any) -> None:
    """Append a row as no writer of ours would."""
    row: dict[str, Any] = {
        "name": [0], "step": [1], "t": [0.0], "kind": ["image"], "index": [0], "sha256": ["a" * 64],
        "extension": ["png"], "size": [1], "caption": [""], "meta": [""],
    }  # fmt: skip
    SegmentWriter(writer._drain.folder.media, MEDIA_COLUMNS, first=7).write(row | changes, ["notes"], rows_end=9)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": ["../../x"]},
        {"sha256": ["/etc/passwd"]},
        {"sha256": ["A" * 64]},
        {"sha256": ["a" * 63]},
        {"sha256": [""]},
        {"extension": ["py"]},
        {"extension": ["png/../../x"]},
        {"extension": [""]},
        {"size": [-1]},
        {"name": [5]},
        {"meta": ["x" * 5_000_000]},
    ],
)
def test_rows_that_name_no_blob_are_left_out_and_told(tmp_path: Path, changes: dict[str, Any]) -> None:
    writer = begin(tmp_path)
    add(writer, b"good", 0)
    writer.finish()
    hostile_rows(writer, **changes)
    run = StoredRun(writer.path)
    assert [item.step for item in run.media("notes")] == [0]
    assert any("name no file" in n.message and n.count == 1 for n in run.notices())
    assert sweep(run.path).skipped


@pytest.mark.parametrize("meta", ["[1]", "{", '{"blobs": 3}', '{"blobs": ["../../x", 7, "b.py"]}', "[" * 100_000])
def test_facts_that_are_none_are_no_trouble(tmp_path: Path, meta: str) -> None:
    writer = begin(tmp_path)
    writer.finish()
    (writer.folder / "media").mkdir()
    hostile_rows(writer, meta=[meta], size=[2**62])
    run = StoredRun(writer.path)
    (item,) = run.media("notes")
    assert isinstance(item.meta, dict)
    assert (item.size, item.filename) == (2**62, f"{'a' * 64}.png")
    with pytest.raises(DamagedError, match="missing"):
        run.blob(item.sha256)


@pytest.mark.parametrize("name", ["../../x", "a", "", "A" * 64, "g" * 64, "a" * 64 + "/.."])
def test_only_hashes_are_asked_for(tmp_path: Path, name: str) -> None:
    run, _ = damaged(tmp_path)
    with pytest.raises(UsageError, match="no sha256"):
        run.blob(name)


def test_a_hash_that_no_value_names_is_not_found(tmp_path: Path) -> None:
    run, paths = damaged(tmp_path)
    stranger = paths[0].with_name(f"{sha(b'stranger')}.txt")
    stranger.write_bytes(b"stranger")
    with pytest.raises(NotFoundError, match="No recorded value"):
        run.blob(sha(b"stranger"))


def test_a_stream_of_another_layout_is_passed_over(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    add(writer, b"good", 0)
    writer.finish()
    with pa.OSFile(str(writer.folder / "media" / "00000005.arrows"), "wb") as sink:
        table = pa.table({"something": ["else"]})
        with pa.ipc.new_stream(sink, table.schema) as other:
            other.write_table(table)
    run = StoredRun(writer.path)
    assert len(run.media("notes")) == 1
    assert any("unknown way" in n.message for n in run.notices())


def test_sweep_removes_what_nothing_names_and_nothing_else(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    add(writer, b"kept", 0, blobs=(Blob(b"also kept", "json"),))
    assert writer.flush()
    folder = writer.folder / "media" / "blobs"
    orphan = folder / f"{sha(b'orphan')}.png"
    orphan.write_bytes(b"orphan")
    (folder / ".x.tmp").write_bytes(b"half")
    (folder / "readme").write_bytes(b"somebody's")
    assert sweep(writer.path).skipped == "it is still being written"
    writer.finish()
    dry = sweep(writer.path, dry_run=True)
    assert (dry.files, dry.bytes) == (2, 10)
    assert orphan.exists()
    report = sweep(writer.path)
    assert (report.files, report.bytes, report.skipped) == (2, 10, "")
    assert files(writer.path) == sorted([f"{sha(b'kept')}.txt", f"{sha(b'also kept')}.json", "readme"])
    run = StoredRun(writer.path)
    assert run.blob_bytes(sha(b"kept")) == b"kept"
    for segment in (writer.folder / "media").glob("*.arrows"):
        segment.unlink()
    assert "cannot be read" in sweep(writer.path).skipped
    assert len(files(writer.path)) == 3


def test_values_on_a_real_disk_that_is_full(tmp_path: Path) -> None:
    from tests.store.test_faults import _mount, fill

    disk = tmp_path / "disk"
    _mount(disk, "size=6m")
    try:
        said: list[str] = []
        writer = begin(disk, on_problem=said.append)
        add(writer, b"before", 0)
        assert writer.flush()
        ballast = fill(disk)
        for step in range(1, 30):
            assert add(writer, bytes([step]) * 9000, step)
        assert not writer.flush(0.3)
        ballast.unlink()
        wait_until(lambda: writer.flush(1.0), secs=10)
        writer.finish()
        run = StoredRun(writer.path)
        assert [item.step for item in run.media("notes")] == list(range(30))
        assert all(run.blob_bytes(item.sha256) == bytes([item.step]) * 9000 for item in run.media("notes")[1:])
    finally:
        import subprocess

        subprocess.run(["umount", "-l", disk], check=True)
