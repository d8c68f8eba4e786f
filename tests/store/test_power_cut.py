"""The machine stops: what was handed to the system and not yet synced is lost, in part, and in any order.

What is modelled. Every `fsync` and `fdatasync` of the writer is seen, and keeps a copy of the file as it was then, and
of the names in a folder. At the cut each file becomes one that a journalling file system (ext4, XFS, btrfs) may leave:

- a file whose name and content were synced is there at least as it was then;
- what was appended afterwards is there, or is missing, or is there in part, or is as long but all zeros or noise;
- a file that was replaced by renaming without a sync is the new one, the old one, or the new name with no content;
- a file that was never synced is whole, empty, or not there;
- each page of the memory-mapped journal is as it is now, or as it was at some earlier moment, or all zeros.

What is not: writes that the disk itself reports as done and forgets, and damage to what was synced before.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from epochal.store import RunWriter, StoredRun, journal, process, threads
from epochal.store import begin as begin_module
from epochal.store import writer as writer_module
from epochal.store.repair import repair
from tests.store.helpers import statistics_columns

PAGE = 4096


class Disk:
    """Knows of each file below a folder what would be there after a power cut."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        """Inode -> the content at its last sync."""
        self.names: dict[Path, int] = {}
        """The name of each synced file at the last sync of the file, or of its folder -> inode."""
        self.pages: list[bytes] = []
        """The journal at earlier moments."""
        self._held: list[int] = []
        self._plain = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

    def __enter__(self) -> Disk:
        for name, plain in self._plain.items():

            def seen(fd: int, plain: Callable[[int], None] = plain) -> None:
                plain(fd)
                self.synced(fd)

            setattr(os, name, seen)
        return self

    def __exit__(self, *_: object) -> None:
        for name, plain in self._plain.items():
            setattr(os, name, plain)
        for fd in self._held:
            os.close(fd)

    def synced(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if not path.is_relative_to(self.root):
            return
        if path.is_dir():
            for child in path.iterdir():
                if child.is_file() and child.stat().st_ino in self.contents:
                    self.names[child] = child.stat().st_ino
        else:
            inode = os.fstat(fd).st_ino
            if inode not in self.contents:
                self._held.append(os.dup(fd))  # or its number would go to another file once it is deleted
            self.contents[inode] = path.read_bytes()
            self.names[path] = inode

    def glimpse(self, file: Path) -> None:
        """Note the journal as it is: the system may write its pages at any time."""
        self.pages.append(file.read_bytes())

    def cut(self, target: Path, rng: random.Random) -> None:
        """Copy what is left to `target`."""
        target.mkdir(parents=True)
        now = {path: path.stat().st_ino for path in self.root.rglob("*") if path.is_file()}
        for path in sorted(now.keys() | self.names.keys(), key=lambda p: (p.parent.name, p.name)):
            left = self._left(path, now.get(path), rng)
            if left is not None:
                place = target / path.relative_to(self.root)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(left)
        for path in sorted(self.root.rglob("*")):  # folders that hold nothing may be there or not
            if path.is_dir() and rng.random() < 0.7:
                (target / path.relative_to(self.root)).mkdir(parents=True, exist_ok=True)

    def _left(self, path: Path, inode: int | None, rng: random.Random) -> bytes | None:
        old = self.contents.get(self.names[path]) if path in self.names else None
        if path.name == "journal.bin":
            return None if inode is None else self._torn_pages(path.read_bytes(), rng)
        if inode is None:  # its name was synced once, and it was taken away since
            return rng.choice([old, None]) if old is not None else None
        new = path.read_bytes()
        if inode in self.contents and self.names.get(path) == inode:
            return self._grown(self.contents[inode], new, rng)
        if inode in self.contents:  # renamed after its sync: the name may still be the old one's
            return rng.choice([old, self.contents[inode]])
        return rng.choice([old, new, b"", new[: rng.randrange(len(new) + 1)]])

    def _grown(self, synced: bytes, new: bytes, rng: random.Random) -> bytes:
        rest = new[len(synced) :]
        if not new.startswith(synced):
            return new  # cut back by its writer
        kept = rng.randrange(len(rest) + 1)
        noise = rng.randbytes(len(rest) - kept)
        return synced + rng.choice([rest, b"", rest[:kept], rest[:kept] + bytes(len(rest) - kept), rest[:kept] + noise])

    def _torn_pages(self, now: bytes, rng: random.Random) -> bytes:
        versions = [now, bytes(len(now)), *self.pages]
        weight = rng.choice([0.0, 0.5, 1.0])  # none, some or all of the pages are as they are now
        pages = []
        for at in range(0, len(now), PAGE):
            version = now if rng.random() < weight else rng.choice(versions)
            pages.append(version[at : at + PAGE])
        return b"".join(pages)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread folds by itself here: each fold is one of the test's own steps."""
    monkeypatch.setattr(threads.Workers, "start", lambda self: None)
    monkeypatch.setattr(journal, "CAPACITY", 512)
    number = itertools.count()
    monkeypatch.setattr(begin_module, "new_boot_id", lambda: f"b{next(number):05}")


ACTIONS = st.lists(
    st.sampled_from(["log", "log", "log many", "cycle", "rotate", "statistics", "snapshot", "file", "glimpse"]),
    min_size=3,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=ACTIONS, seed=st.integers(0, 2**32), earlier=st.booleans())
def test_what_was_synced_survives_and_the_rest_is_told(
    quiet: None, tmp_path_factory: pytest.TempPathFactory, actions: list[str], seed: int, earlier: bool
) -> None:
    home = tmp_path_factory.mktemp("cut")
    rng = random.Random(seed)
    first_step = 0
    with Disk(home / "disk") as disk:
        if earlier:
            first = begin(home / "disk")
            for step in range(5):
                first.append("a", step, 0.0, -1.0)
            end(first)
            first_step = 5
        writer = begin(home / "disk")
        logged: dict[str, list[tuple[int, bytes]]] = {"a": [], "b": []}
        safe = {"a": 0, "b": 0, "statistics": 0}
        statistics = 0
        synced_files: dict[str, bytes] = {}
        for number, action in enumerate(actions):
            step = first_step + number
            if action.startswith("log"):
                for part in range(3 if action == "log" else 200):
                    for name in logged:
                        value = np.float64(rng.random())
                        writer.append(name, 1000 * step + part, 0.5, float(value))
                        logged[name].append((1000 * step + part, value.tobytes()))
            elif action == "cycle":
                writer._drain.cycle()
                safe = {"a": len(logged["a"]), "b": len(logged["b"]), "statistics": statistics}
            elif action == "rotate":
                writer._drain._scalars.end()
            elif action == "statistics":
                writer.add_statistics(statistics_columns(["param/w"], step))
                statistics += 1
            elif action == "snapshot":
                writer.add_snapshot("params", {"w": np.full(3, step, np.float32)}, step=step)
            elif action == "file":
                writer.put_file("network/graph.json", json.dumps({"layers": [], "edges": [], "n": number}).encode())
                synced_files["network/graph.json"] = b""
            else:
                disk.glimpse(writer.folder / "journal.bin")
        disk.cut(home / "left", rng)
        end(writer)
    check(home / "left", writer, logged, safe, earlier=earlier)
    repair(home / "left" / "p" / "r")
    check(home / "left", writer, logged, safe, earlier=earlier)
    go_on(home / "left", logged)
    shutil.rmtree(home)


def begin(root: Path) -> RunWriter:
    return RunWriter.create(root, project="p", run_id="r", resume="allow", on_problem=lambda _: None)


def end(writer: RunWriter) -> None:
    writer_module._LIVE.discard(writer)
    writer._finished = True
    writer._drain.end("finished", None)


def check(
    root: Path,
    writer: RunWriter,
    logged: dict[str, list[tuple[int, bytes]]],
    safe: dict[str, int],
    *,
    earlier: bool,
) -> None:
    run = StoredRun(root / "p" / "r")
    with pytest.MonkeyPatch.context() as patch:
        later = time.time() + 3600
        patch.setattr(time, "time", lambda: later)
        patch.setattr(process, "_scope", lambda: "another boot/1")
        info = run.info()
        assert info.status == "crashed"
        series = run.scalars()
        lost = 0
        for name, rows in logged.items():
            found = rows_of(series, name, skip=5 if earlier and name == "a" else 0)
            assert found == [row for row in rows if row in set(found)], "in the order logged, each once, nothing new"
            assert set(rows[: safe[name]]) <= set(found), "what was synced is there"
            lost += len(rows) - len(found)
        if earlier:
            assert series["a"].v[:5].tolist() == [-1.0] * 5
        found_statistics = len(run.statistics("param/w")) if "param/w" in run.statistics_series() else 0
        assert safe["statistics"] <= found_statistics
        for step in run.snapshot_steps():
            try:
                assert run.snapshot(step)["w"].tolist() == [step] * 3
            except epochal_errors():
                continue
        told = {notice.code: notice for notice in run.notices()}
    assert "cut_off" in told
    assert told["cut_off"].count <= lost, "no more than was lost is called lost"
    # A graph is put in place synced: it is there whole, or the one before it is.
    graph = root / "p" / "r" / "w" / writer.folder.name / "network" / "graph.json"
    if graph.exists():
        assert json.loads(graph.read_bytes())["layers"] == []


def rows_of(series: Any, name: str, *, skip: int) -> list[tuple[int, bytes]]:
    if name not in series:
        return []
    found = series[name]
    return [(int(s), v.tobytes()) for s, v in zip(found.steps[skip:], found.v[skip:], strict=True)]


def epochal_errors() -> tuple[type[Exception], ...]:
    from epochal.errors import DamagedError, NotFoundError

    return DamagedError, NotFoundError


def go_on(root: Path, logged: dict[str, list[tuple[int, bytes]]]) -> None:
    """The run can be gone on with, and then hides nothing that it should not."""
    before = StoredRun(root / "p" / "r").scalars()
    writer = begin(root)
    writer.append("a", 10**9, 0.0, 7.0)
    end(writer)
    after = StoredRun(root / "p" / "r").scalars()
    assert after["a"].v[-1] == 7.0
    for name, series in before.items():
        assert after[name].v[: len(series)].tobytes() == series.v.tobytes()


def test_a_missing_stretch_is_counted(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary was written before the segment that it tells of, and the journal is gone."""
    writer = begin(tmp_path)
    for step in range(10):
        writer.append("a", step, 0.0, 1.0)
    writer._drain.cycle()
    segment = next((writer.folder / "scalars").iterdir())
    size = segment.stat().st_size
    for step in range(10, 25):
        writer.append("a", step, 0.0, 1.0)
    writer._drain.renew_all = True
    writer._drain.cycle()
    run = StoredRun(tmp_path / "p" / "r")
    left = tmp_path / "left" / "p" / "r"
    shutil.copytree(run.path, left)
    os.truncate(left / segment.relative_to(run.path), size)
    (left / "w" / writer.folder.name / "journal.bin").unlink()
    end(writer)
    run = StoredRun(left)
    assert not run.notices(), "this machine goes on, so the process may live"
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(process, "_scope", lambda: "another boot/1")
    assert len(run.scalars()["a"]) == 10
    (notice,) = run.notices()
    assert (notice.code, notice.count) == ("cut_off", 15)
    assert notice.message.startswith("the machine stopped or was started anew while r000-")
    assert notice.message.endswith("at least 15 of the last numbers are lost")


def test_a_killed_process_is_no_stopped_machine(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = begin(tmp_path)
    writer.append("a", 0, 0.0, 1.0)
    state = json.loads((writer.folder / "state.json").read_text())
    shutil.copytree(tmp_path / "p", tmp_path / "q")
    file = tmp_path / "q" / "r" / "w" / writer.folder.name / "state.json"
    file.write_text(json.dumps(state | {"pid": 2**22 + 1, "process": "1"}))
    end(writer)
    run = StoredRun(tmp_path / "q" / "r")
    assert (run.info().status, run.notices()) == ("crashed", ())


def test_the_model_itself_loses_what_was_not_synced(tmp_path: Path) -> None:
    """A test of the test: a file that is only written may be lost, one that is synced never."""
    outcomes = set()
    for seed in range(60):
        home = tmp_path / str(seed)
        (home / "disk").mkdir(parents=True)
        with Disk(home / "disk") as disk:
            for name in ("written", "synced"):
                with (home / "disk" / name).open("wb") as file:
                    file.write(b"abc")
                    file.flush()
                    if name == "synced":
                        os.fsync(file.fileno())
                    file.write(b"def")
            disk.cut(home / "left", random.Random(seed))
        left = {path.name: path.read_bytes() for path in (home / "left").iterdir()}
        assert left["synced"].startswith(b"abc")
        outcomes.add(("written", left.get("written")))
        outcomes.add(("synced", left["synced"]))
    assert {("written", None), ("written", b""), ("written", b"abcdef")} <= outcomes
    assert {("synced", b"abc"), ("synced", b"abcdef"), ("synced", b"abc\0\0\0")} <= outcomes
