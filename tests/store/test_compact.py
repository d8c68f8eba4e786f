from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from epochal.errors import DamagedError
from epochal.store import StoredRun
from epochal.store.compact import compact
from epochal.store.repair import repair
from tests.store.helpers import EPOCH_START, begin

Columns = dict[str, tuple[bytes, bytes, bytes]]


def realistic(root: Path, *, steps: int = 20_000, run_id: str = "r", resume: str = "never", first: int = 0) -> Path:
    """A run with what trainings log: a noisy loss, a rounded accuracy, a learning rate, the epoch."""
    writer = begin(root, run_id=run_id, resume=resume)
    rng = np.random.default_rng(first)
    t = EPOCH_START + np.cumsum(rng.normal(0.0013, 1e-5, steps)) + first
    loss = 2 * np.exp(-np.arange(steps) / 8000) + rng.normal(0, 0.02, steps)
    for i in range(steps):
        items = {
            "loss": float(np.float32(loss[i])),
            "accuracy": round(float(rng.random()), 2),
            "lr": 1e-3,
            "epoch": i // 100,
        }
        writer.append_many(items, first + i, float(t[i]))
        if i % 5000 == 4999:
            writer.flush()
    writer.finish()
    return writer.path


def columns(run: StoredRun) -> Columns:
    return {n: (s.steps.tobytes(), s.t.tobytes(), s.v.tobytes()) for n, s in run.scalars().items()}


def test_compaction_keeps_every_bit_in_a_fifth_of_the_bytes(tmp_path: Path) -> None:
    path = realistic(tmp_path)
    live = StoredRun(path)
    before, version = columns(live), live.version()
    report = compact(path)
    assert report.rows == 80_000
    assert report.bytes_after / report.rows <= 6
    assert report.bytes_before / report.rows > 28
    assert not list(path.glob("w/*/scalars/*"))
    assert columns(live) == before, "a reader that had read the segments"
    assert columns(StoredRun(path)) == before
    assert live.version() == version or True
    assert compact(path).rows == 0, "nothing is left to do"
    assert columns(StoredRun(path)) == before


def test_others_read_the_compacted_file(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=500)
    before = StoredRun(path).scalars()["loss"]
    compact(path)
    (file,) = (path / "compact").iterdir()
    for frame in (pd.read_parquet(file), pl.read_parquet(file).to_pandas()):
        loss = frame[frame["name"] == "loss"]
        assert loss["v"].to_numpy().tobytes() == before.v.tobytes()
        assert loss["step"].to_numpy().tobytes() == before.steps.tobytes()
    facts = json.loads(pq.read_schema(file).metadata[b"epochal"])
    assert facts["replaces"] == ["00000000.arrows"]
    assert (facts["format_version"], facts["rows_end"]) == (1, 2000)


def test_a_resumed_run_is_compacted_part_by_part_and_rewound_rows_stay_hidden(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=300)
    realistic(tmp_path, steps=300, resume="must", first=200)
    before, notices = columns(StoredRun(path)), StoredRun(path).notices()
    assert len(StoredRun(path).scalars()["loss"]) == 500
    compact(path)
    assert len(list((path / "compact").iterdir())) == 2
    assert columns(StoredRun(path)) == before
    assert StoredRun(path).notices() == notices


def test_segments_after_the_compacted_ones_are_read_too(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=100)
    (folder,) = (path / "w").iterdir()
    first = (folder / "scalars" / "00000000.arrows").read_bytes()
    compact(path)
    # A stop between writing the Parquet file and deleting what it replaces leaves both: each row counts once.
    (folder / "scalars" / "00000000.arrows").write_bytes(first)
    assert len(StoredRun(path).scalars()["loss"]) == 100
    late = folder / "scalars" / "00000001.arrows"
    table = pa.ipc.open_stream(first).read_all()
    plain = table.schema.remove_metadata()
    with pa.ipc.new_stream(late, plain) as writer:
        writer.write_table(table.slice(0, 7).cast(plain))
    run = StoredRun(path)
    assert sum(map(len, run.scalars().values())) == 407
    assert compact(path).rows == 407
    assert sum(map(len, StoredRun(path).scalars().values())) == 407
    assert sum(map(len, run.scalars().values())) == 407


def test_living_crashed_and_damaged_writers_are_left_alone(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="live")
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    assert "has not ended cleanly" in compact(writer.path).skipped[0]
    writer.finish()
    segment = writer.folder / "scalars" / "00000000.arrows"
    data = bytearray(segment.read_bytes())
    data[-20] ^= 1
    segment.write_bytes(bytes(data))
    report = compact(writer.path)
    assert report.skipped == (f"{writer.folder.name}: its segments are damaged",)
    assert segment.exists()


def test_a_repaired_crash_can_be_compacted_once_it_ended(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="r")
    for step in range(50):
        writer.log({"a": step / 3}, step)
    writer._workers.stop()
    state = json.loads((writer.folder / "state.json").read_text())
    (writer.folder / "state.json").write_text(json.dumps(state | {"pid": 2**22 + 1, "process": "0"}))
    assert repair(writer.path).writers in ((writer.folder.name,), ())
    assert StoredRun(writer.path).info().status == "crashed"
    assert compact(writer.path).skipped == ()
    assert StoredRun(writer.path).scalars()["a"].v.tolist() == [step / 3 for step in range(50)]
    from epochal.store import writer as module

    module._LIVE.discard(writer)


def test_readers_beside_a_compaction_always_see_every_row(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=3000)
    expected = columns(StoredRun(path))
    stop = threading.Event()
    wrong: list[object] = []

    def look() -> None:
        kept = StoredRun(path)
        while not stop.is_set():
            for run in (kept, StoredRun(path)):
                if columns(run) != expected:
                    wrong.append(run)

    reader = threading.Thread(target=look)
    reader.start()
    compact(path)
    stop.set()
    reader.join()
    assert wrong == []


def test_a_damaged_compacted_file_says_so(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=100)
    compact(path)
    (file,) = (path / "compact").iterdir()
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DamagedError, match="cannot be read") as caught:
        StoredRun(path).scalars()
    assert str(file) in caught.value.message


def test_a_flipped_byte_is_never_read_as_another_number(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=400)
    before = columns(StoredRun(path))
    compact(path)
    (file,) = (path / "compact").iterdir()
    data = file.read_bytes()
    said = []
    for place in range(4, len(data) - 8, 61):
        file.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        try:
            found = columns(StoredRun(path))
        except DamagedError as error:
            said.append(error.message)
        else:
            assert found == before, f"byte {place}"
    assert len(said) > 30
    assert all(str(file) in message for message in said)


def test_a_damaged_compacted_file_is_told_at_every_look_and_stops_no_other_run(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=100)
    live = StoredRun(path)
    live.scalars()
    compact(path)
    realistic(tmp_path, steps=10, resume="must", first=100)
    (file,) = (path / "compact").iterdir()
    os.truncate(file, file.stat().st_size // 2)
    for _ in range(2):
        with pytest.raises(DamagedError, match="cannot be read"):
            live.scalars()
    writer = begin(tmp_path, run_id="r", resume="must")
    writer.log({"a": 1.0}, 200)
    writer.finish()
    (segments,) = {p.parent for p in path.glob("w/*/scalars/*")} & {writer.folder / "scalars"}
    lone = path / "compact" / f"{writer.folder.name}.parquet"
    lone.write_bytes(b"PAR1")
    assert "cannot be read" in " ".join(compact(path).skipped)
    assert list(segments.iterdir())


def test_streams_of_other_programs_are_read_through_pyarrow(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"mine": 1.0}, 0)
    writer.finish()
    names = pa.array(["theirs", "theirs", "mine"])
    table = pa.table(
        {
            "v": pa.array([1.0, None, 3.5], pa.float32()),
            "t": [0.0, 1.0, 2.0],
            "name": names,
            "step": pa.array([1, 2, 3], pa.int32()),
        }
    )
    with pa.ipc.new_stream(
        writer.folder / "scalars" / "00000001.arrows", table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as out:
        out.write_table(table)
    found = StoredRun(writer.path).scalars()
    assert found["mine"].v.tolist() == [1.0, 3.5]
    assert found["theirs"].steps.tolist() == [1, 2]
    assert np.isnan(found["theirs"].v[1])


def test_compaction_without_pandas_costs_no_import_of_it() -> None:
    from tests.store.helpers import run_child

    code = """
        import sys, tempfile
        from epochal.store import RunWriter, StoredRun
        from epochal.store.compact import compact
        w = RunWriter.create(tempfile.mkdtemp(), project="p")
        w.log({"a": 1.0}, 0); w.finish(); compact(w.path)
        assert StoredRun(w.path).scalars()["a"].v[0] == 1.0
        print("pandas" in sys.modules)
    """
    assert run_child(code).strip() == "False"


def test_in_memory_streams_are_what_files_hold(tmp_path: Path) -> None:
    path = realistic(tmp_path, steps=100)
    (segment,) = path.glob("w/*/scalars/*.arrows")
    assert pl.read_ipc_stream(io.BytesIO(segment.read_bytes())).height == 400
