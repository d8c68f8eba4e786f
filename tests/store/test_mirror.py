from __future__ import annotations

import filecmp
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from epochal.errors import RemoteError
from epochal.store import RunWriter, StoredRun
from epochal.store.mirror import Mirror, folder_of
from epochal.store.remote import Entry, Remote, safe_parts
from tests.objects import ObjectServer, object_server
from tests.store.helpers import begin, child, rows, statistics_columns


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as server:
        yield server


@pytest.fixture
def remote(server: ObjectServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Remote:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{len(server.buckets)}"
    return Remote(server.make(bucket) + "/team/runs")


def record(root: Path, *, run_id: str = "run", steps: range = range(200), finish: bool = True) -> RunWriter:
    writer = begin(root, run_id=run_id)
    for step in steps:
        writer.log({"loss": 1.0 / (step + 1), "accuracy": step / 1000}, step)
        if step % 50 == 0:
            writer.add_snapshot("params", {"weight": np.full((3, 4), float(step), np.float32)}, step=step)
            writer.add_statistics(statistics_columns(["a", "b"], step))
    writer.put_file("network/graph.json", b"{}")
    if finish:
        writer.finish()
    return writer


def files(root: Path) -> list[str]:
    return sorted(
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.is_file() and ".sync" not in p.relative_to(root).parts
    )


def test_a_finished_run_comes_back_byte_for_byte(remote: Remote, tmp_path: Path) -> None:
    there, here = tmp_path / "a", tmp_path / "b"
    record(there)
    Mirror(there, remote).push("p/run")
    assert [e.key for e in remote.entries()] == files(there)
    Mirror(here, remote).pull("p/run")
    assert files(here) == files(there)
    assert filecmp.cmpfiles(there, here, files(there), shallow=False)[0] == files(there)
    assert rows(StoredRun(here / "p/run"), "loss") == rows(StoredRun(there / "p/run"), "loss")


def test_only_what_changed_travels(remote: Remote, tmp_path: Path) -> None:
    there, here = tmp_path / "a", tmp_path / "b"
    record(there)
    up, down = Mirror(there, remote), Mirror(here, remote)
    first = up.push("p/run")
    assert first.files == len(files(there))
    assert (up.push("p/run").files, Mirror(there, remote).push("p/run").files) == (0, 0)
    assert down.pull("p/run").files == first.files
    assert (down.pull("p/run").files, Mirror(here, remote).pull("p/run").files) == (0, 0)
    (there / "p/run/meta.json").write_text('{"name": "new"}')
    assert up.push("p/run").files == 1
    assert down.pull("p/run").files == 1
    assert StoredRun(here / "p/run").info().name == "new"


def test_a_run_that_grows_is_followed_without_a_hole(remote: Remote, tmp_path: Path) -> None:
    there, here = tmp_path / "a", tmp_path / "b"
    writer = begin(there, run_id="run")
    up, down = Mirror(there, remote), Mirror(here, remote)
    reader = StoredRun(here / "p/run")
    seen = 0
    for turn in range(12):
        for step in range(turn * 400, (turn + 1) * 400):
            writer.log({"loss": float(step)}, step)
        if turn % 3 == 0:
            writer._drain.cycle()  # some are in the stream, some in the journal alone
        if turn % 4 == 1:
            writer.add_snapshot("params", {"w": np.zeros(3, np.float32)}, step=turn * 400 + 399)
        up.push("p/run")
        down.pull("p/run")
        steps = reader.scalars(["loss"])["loss"].steps.tolist()
        assert steps == list(range(len(steps)))
        assert len(steps) == (turn + 1) * 400
        seen = len(steps)
        assert all(step < seen for step in reader.snapshot_steps())
    writer.finish()
    up.push("p/run")
    down.pull("p/run")
    assert reader.scalars(["loss"])["loss"].steps.tolist() == list(range(seen))
    assert reader.info().status == "finished"
    assert not (here / "p/run" / "w" / writer.folder.name / "journal.bin").exists()
    assert "journal.bin" not in {e.key.rpartition("/")[2] for e in remote.entries()}
    assert files(here) == files(there)


def test_what_only_the_journal_of_a_killed_process_holds_comes_along(remote: Remote, tmp_path: Path) -> None:
    with child(
        """
        import sys, time
        from epochal.store import RunWriter
        writer = RunWriter.create(sys.argv[1], project="p", run_id="run")
        for step in range(3000):
            writer.log({"loss": float(step)}, step)
        print("logged", flush=True)
        time.sleep(60)
        """,
        tmp_path / "a",
    ) as process:
        assert process.line() == "logged"
    Mirror(tmp_path / "a", remote).push("p/run")
    Mirror(tmp_path / "b", remote).pull("p/run")
    reader = StoredRun(tmp_path / "b" / "p/run")
    assert reader.scalars(["loss"])["loss"].v.tolist() == [float(step) for step in range(3000)]


def test_a_reader_that_comes_between_two_puts_misses_nothing(remote: Remote, tmp_path: Path) -> None:
    """Pull after each single object that a push has put: what was there before is always all there."""
    there, here = tmp_path / "a", tmp_path / "b"
    writer = begin(there, run_id="run")
    up, down = Mirror(there, remote), Mirror(here, remote)
    reader = StoredRun(here / "p/run")
    put, least, looks = remote.put, 0, 0

    def put_and_look(key: str, data: object) -> str:
        nonlocal looks
        tag = put(key, data)
        if least:
            down.pull("p/run")
            steps = reader.scalars(["loss"])["loss"].steps.tolist()
            assert steps == list(range(len(steps))), key
            assert len(steps) >= least, key
            assert all(step < len(steps) for step in reader.snapshot_steps()), key
            looks += 1
        return tag

    remote.put = put_and_look  # type: ignore[method-assign]
    for turn in range(8):
        for step in range(turn * 100, turn * 100 + 100):
            writer.log({"loss": float(step)}, step)
        if turn % 2:
            writer._drain.cycle()
        writer.add_snapshot("params", {"w": np.zeros(3, np.float32)}, step=turn * 100 + 99)
        up.push("p/run")
        least = turn * 100 + 100
    writer.finish()
    up.push("p/run")
    assert looks > 20


def test_a_push_between_listing_and_taking_leaves_no_hole(remote: Remote, tmp_path: Path) -> None:
    there, here = tmp_path / "a", tmp_path / "b"
    writer = begin(there, run_id="run")
    up, down = Mirror(there, remote), Mirror(here, remote)
    reader = StoredRun(here / "p/run")
    for turn in range(6):
        for step in range(turn * 150, turn * 150 + 100):
            writer.log({"loss": float(step)}, step)
        up.push("p/run")
        listed = remote.entries("p/run")
        for step in range(turn * 150 + 100, turn * 150 + 150):
            writer.log({"loss": float(step)}, step)
        writer._drain._scalars.end()  # what follows is in a segment that the listing does not have
        writer._drain.renew_all = True
        writer._drain.cycle()
        up.push("p/run")
        down.pull("p/run", entries=listed)
        found = reader.scalars()
        steps = found["loss"].steps.tolist() if "loss" in found else []
        assert steps == list(range(len(steps)))
        assert len(steps) >= turn * 150
    down.pull("p/run")
    assert reader.scalars(["loss"])["loss"].steps.tolist() == list(range(900))
    writer.finish()


def test_a_file_that_was_changed_here_is_not_overwritten(remote: Remote, tmp_path: Path) -> None:
    record(tmp_path / "a")
    (tmp_path / "a/p/run/meta.json").write_text('{"name": "both"}')
    Mirror(tmp_path / "a", remote).push("p/run")
    here = Mirror(tmp_path / "b", remote)
    here.pull("p/run")
    meta = tmp_path / "b/p/run/meta.json"
    meta.write_text('{"name": "mine"}')
    (tmp_path / "a/p/run/meta.json").write_text('{"name": "theirs"}')
    Mirror(tmp_path / "a", remote).push("p/run")
    assert here.pull("p/run").kept == 1
    assert meta.read_text() == '{"name": "mine"}'


def test_a_folder_that_is_gone_here_is_not_deleted_there(remote: Remote, tmp_path: Path) -> None:
    record(tmp_path / "a")
    mirror = Mirror(tmp_path / "a", remote)
    mirror.push("p/run")
    count = len(remote.entries())
    (tmp_path / "a/p/run").rename(tmp_path / "elsewhere")
    mirror.push("p/run")
    (tmp_path / "a/p/run").mkdir()
    mirror.push("p/run")
    assert len(remote.entries()) == count


def test_names_that_lead_out_of_the_folder_are_refused(remote: Remote, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "cache"
    keys = [
        "p/run/../../../evil",
        "p/run//etc/evil",
        "/p/run/evil",
        "p/run/a\\..\\evil",
        "p/run/C:evil",
        "p/run/x\x00y",
    ]
    keys += ["p/run/w/./evil", "p/run/ends.", "p/run/" + "d/" * 40 + "evil"]
    entries = [Entry(key, 4, "t") for key in keys]
    done = Mirror(root, remote).pull("p/run", entries=entries)
    assert (done.files, sorted(done.refused)) == (0, sorted(keys))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert safe_parts("p/run/w/r000-abc/names") == ["p", "run", "w", "r000-abc", "names"]


def test_a_store_with_such_names_is_said_to_have_them(server: ObjectServer, remote: Remote, tmp_path: Path) -> None:
    record(tmp_path / "a")
    Mirror(tmp_path / "a", remote).push("p/run")
    server.put(remote.bucket, f"{remote.prefix}/p/run/../../../evil", b"evil")
    with pytest.raises(RemoteError, match=r"leads out of the store .*evil"):
        Mirror(tmp_path / "b", remote).pull("p/run")
    assert not list(tmp_path.rglob("evil"))


def test_an_object_with_the_name_of_a_folder_is_refused_alone(
    server: ObjectServer, remote: Remote, tmp_path: Path
) -> None:
    record(tmp_path / "a")
    Mirror(tmp_path / "a", remote).push("p/run")
    server.put(remote.bucket, f"{remote.prefix}/p/run/w", b"evil")
    done = Mirror(tmp_path / "b", remote).pull("p/run")
    assert done.refused
    assert StoredRun(tmp_path / "b/p/run").path.is_dir()


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("p/run/run.json", "p/run"),
        ("p/.labs/lab/events.jsonl", "p/.labs/lab"),
        ("p/run", None),
        (".index.sqlite", None),
        (".sync/x/y/z", None),
        (".trash/p/run/run.json", None),
        ("p/.labs/lab.json", None),
    ],
)
def test_what_a_name_belongs_to(key: str, folder: str | None) -> None:
    assert folder_of(key) == folder
