from __future__ import annotations

import json
import math
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.errors import (
    FormatVersionError,
    NotFoundError,
    RecordingWarning,
    RunExistsError,
    StorageFullError,
    UsageError,
)
from epochal.facts import Edge, Graph, Layer, Parameter
from epochal.store import RawTensor, RunWriter, StoredRun, graph_to_json
from tests.store.helpers import begin, equal, rows, run_child, statistics_columns, wait_until

HARD = [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 0.1, 1.7976931348623157e308]


def test_numbers_come_back_exactly_live_and_after_the_end(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    for step, value in enumerate(HARD):
        writer.log({"x": value, "träin/loss ": step}, step, 0.1 * step)
    expected = [(s, 0.1 * s, np.float64(v).tobytes()) for s, v in enumerate(HARD)]
    assert rows(run, "x") == expected, "from the journal"
    assert writer.flush()
    assert rows(run, "x") == expected, "from the stream"
    writer.finish()
    assert rows(run, "x") == expected
    assert rows(StoredRun(writer.path), "x") == expected
    assert run.scalars()["träin/loss "].v.tolist() == list(range(len(HARD)))


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    writer = begin(
        tmp_path,
        name="first",
        config={"lr": 0.1, "deep": {"n": 3}},
        group="g",
        parent="p0",
        tags=["a", "b"],
        notes="hm",
        code={"git": "abc"},
        environment={"python": "3.11"},
    )
    info = StoredRun(writer.path).info()
    assert (info.status, info.ended, info.seconds) == ("running", None, None)
    writer.set_state(recorder={"period": 7})
    writer.log({"loss": 1.0, "epoch": 0.5}, 12)
    writer.finish("failed", error="ValueError: no")
    info = StoredRun(writer.path).info()
    assert (info.name, info.project, info.run_id) == ("first", "p", writer.run_id)
    assert (info.config, info.group, info.parent) == ({"lr": 0.1, "deep": {"n": 3}}, "g", "p0")
    assert (info.tags, info.notes) == (("a", "b"), "hm")
    assert (info.code, info.environment, info.recorder) == ({"git": "abc"}, {"python": "3.11"}, {"period": 7})
    assert (info.status, info.error, info.last_step, info.last_epoch) == ("failed", "ValueError: no", 12, 0.5)
    assert info.seconds is not None
    assert info.path == str(writer.path)


def test_a_finished_run_keeps_no_journal_and_its_files_are_as_the_layout_says(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="r")
    writer.log({"a": 1.0}, 0)
    writer.add_statistics(statistics_columns(["param/w"], 0))
    writer.add_snapshot("params", {"w": np.zeros(2)}, step=0)
    writer.finish()
    found = sorted(str(p.relative_to(writer.folder)) for p in writer.folder.rglob("*") if p.is_file())
    assert found == [
        "begin.json",
        "names",
        "params/step-0000000000.safetensors",
        "scalars/00000000.arrows",
        "state.json",
        "stats/00000000.arrows",
        "summary.json",
    ]
    assert writer.path == tmp_path / "p" / "r"
    state = json.loads((writer.folder / "state.json").read_text())
    assert (state["status"], state["format_version"], state["rank"]) == ("finished", 1, 0)
    assert writer.folder.name == f"r000-{state['boot']}"


def test_segments_rotate_and_each_is_complete_in_itself(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer._drain._scalars._limits = (8_000_000, 1000)
    for step in range(40):
        writer.append_many({f"m{i}": step + i / 100 for i in range(100)}, step, 0.0)
        if step % 8 == 7:
            assert writer.flush()
    writer.finish()
    segments = sorted((writer.folder / "scalars").iterdir())
    assert len(segments) == 3
    import pyarrow as pa

    tables = [pa.ipc.open_stream(p.read_bytes()).read_all() for p in segments]
    assert sum(t.num_rows for t in tables) == 4000
    assert StoredRun(writer.path).scalars(["m7"])["m7"].v.tolist() == [step + 0.07 for step in range(40)]


def test_statistics_come_back(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    series = ["param/0.weight", "grad/0.weight", "act/1"]
    for step in (0, 10, 20):
        writer.add_statistics(statistics_columns(series, step))
        if step == 10:
            assert writer.flush()
            assert run.statistics("grad/0.weight").steps.tolist() == [0, 10]
    writer.finish()
    assert run.statistics_series() == series
    assert run.statistics_rows() == dict.fromkeys(series, 3)
    table = run.statistics("grad/0.weight")
    expected = [statistics_columns(series, step) for step in (0, 10, 20)]
    assert table.steps.tolist() == [0, 10, 20]
    for name, column in table.columns.items():
        assert column.tolist() == [e[name][1] for e in expected]
    assert table.counts.tolist() == [e["counts"][1].tolist() for e in expected]
    assert (table.lo.tolist(), table.hi.tolist()) == ([-1.5] * 3, [2.5] * 3)
    with pytest.raises(NotFoundError, match="no statistics of 'param/x'") as caught:
        run.statistics("param/x")
    assert "param/0.weight" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.zeros((2, 63))}, "column 'counts'"),
        ({"mean": np.zeros(3)}, "column 'mean'"),
        ({"mean": ["x", "y"]}, "column 'mean'"),
    ],
)
def test_statistics_of_the_wrong_shape_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    writer = begin(tmp_path)
    with pytest.raises(UsageError, match=message):
        writer.add_statistics(statistics_columns(["a", "b"], 0, **change))
    columns = statistics_columns(["a"], 0)
    del columns["std"]
    with pytest.raises(UsageError, match="lack the column 'std'"):
        writer.add_statistics(columns)
    writer.finish()


def test_the_caller_may_change_his_arrays_afterwards(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    columns = statistics_columns(["a"], 5)
    writer.add_statistics(columns)
    columns["mean"][:] = -7
    columns["counts"][:] = 9
    writer.finish()
    table = StoredRun(writer.path).statistics("a")
    assert table.columns["mean"].tolist() == [5.0]
    assert table.counts[0, 1] == 6


def test_snapshots_come_back_bit_for_bit(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    rng = np.random.default_rng(0)
    taken: dict[int, dict[str, npt.NDArray[Any]]] = {
        step: {
            "0.weight": rng.normal(size=(12, 4)).astype(np.float32),
            "0.bias": np.full(12, np.nan, np.float32),
            "half": rng.normal(size=3).astype(np.float16),
            "count": np.array(step),
            "flags": np.array([True, False]),
            "empty": np.zeros((0, 3)),
            "transposed": np.asfortranarray(rng.normal(size=(3, 5))),
        }
        for step in (0, 5, 10)
    }
    for step, tensors in taken.items():
        writer.add_snapshot("params", tensors, step=step, epoch=step / 10)
    run = StoredRun(writer.path)
    assert run.snapshot_steps() == [0, 5, 10]
    assert run.snapshot_steps("grads") == []
    for step, tensors in taken.items():
        assert equal(run.snapshot(step), tensors)
        header = run.snapshot_header(step)
        assert (header.step, header.epoch, list(header.tensors)) == (step, step / 10, list(tensors))
        assert equal({"x": run.tensor("0.weight", step)}, {"x": tensors["0.weight"]})
    steps, frames = run.tensor_film("0.weight")
    assert steps.tolist() == [0, 5, 10]
    assert frames.tobytes() == b"".join(t["0.weight"].tobytes() for t in taken.values())
    assert run.tensor_film("half", [10, 0])[0].tolist() == [0, 10]
    writer.finish()


def test_bfloat16_comes_back_as_float32_of_the_same_values(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    exact = np.array([1.0, -2.5, np.inf, 3.0e38], np.float32)
    bits = (exact.view(np.uint32) >> 16).astype(np.uint16)
    writer.add_snapshot("params", {"w": RawTensor("BF16", (2, 2), bits)}, step=1)
    read = StoredRun(writer.path).tensor("w", 1)
    assert read.dtype == np.float32
    assert read.view(np.uint32).tolist() == (bits.astype(np.uint32) << 16).reshape(2, 2).tolist()
    with pytest.raises(UsageError, match="has 6 bytes, its shape"):
        writer.add_snapshot("params", {"w": RawTensor("BF16", (2, 2), bits[:3])}, step=2)
    with pytest.raises(UsageError, match="type <U1, which safetensors cannot hold"):
        writer.add_snapshot("params", {"w": np.array(["a"])}, step=2)
    assert StoredRun(writer.path).snapshot_steps() == [1]
    writer.finish()


def test_missing_snapshots_and_tensors_name_what_there_is(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    with pytest.raises(NotFoundError, match="no snapshot at step 3") as caught:
        run.snapshot(3)
    assert caught.value.hint == "no snapshots were recorded"
    for step in (0, 100, 200):
        writer.add_snapshot("params", {"w": np.zeros(2)}, step=step)
    with pytest.raises(NotFoundError) as caught:
        run.snapshot(3)
    assert caught.value.hint == "nearest: 0, 100, 200"
    with pytest.raises(NotFoundError, match="no tensor 'v'") as caught:
        run.tensor("v", 0)
    assert caught.value.hint == "it has: w"
    with pytest.raises(NotFoundError, match="no tensor 'v'"):
        run.tensor_film("v")
    writer.finish()


def test_graphs_and_files_come_back(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    run = StoredRun(writer.path)
    assert run.graph() is None
    assert run.network_path() is None
    graph = Graph(
        source="export",
        layers=(
            Layer(layer_id="in", kind="input", role="input", outputs=((-1, 4),)),
            Layer(
                layer_id="0",
                kind="Linear",
                inputs=((-1, 4),),
                outputs=((-1, 3),),
                parameters=(Parameter(name="0.weight", shape=(3, 4), dtype="float32", role="weight"),),
                activation="relu",
                attributes={"bias": False},
            ),
        ),
        edges=(Edge(source="in", target="0", skip=True),),
        model="Net",
    )
    writer.put_file("network/graph.json", graph_to_json(graph))
    writer.put_file("network/network.pt2", b"PK")
    assert run.graph() == graph
    path = run.network_path()
    assert path is not None
    assert path.read_bytes() == b"PK"
    for name in ("../x", "/etc/x", "a/../../x", ""):
        with pytest.raises(UsageError, match="leads out of the run's folder"):
            writer.put_file(name, b"")
    writer.finish()


def test_jobs_run_in_order_and_their_failures_are_counted(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    done: list[int] = []

    def fail() -> None:
        raise ValueError("no such thing")

    for n in range(3):
        writer.submit(lambda n=n: done.append(n))  # type: ignore[misc]
        writer.submit(fail)
    assert writer.flush()
    assert done == [0, 1, 2]
    assert writer.pending_jobs == 0
    assert said == ["a part of the recording failed: ValueError: no such thing"]
    writer.finish()
    (notice,) = StoredRun(writer.path).notices()
    assert (notice.code, notice.count) == ("dropped_job", 3)


def test_a_slow_job_delays_no_fold(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    gate = threading.Event()
    writer.submit(gate.wait)
    writer.log({"a": 1.0}, 0)
    wait_until(lambda: (writer.folder / "scalars" / "00000000.arrows").exists(), secs=4)
    gate.set()
    writer.finish()


def test_flush_gives_up_in_time(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    gate = threading.Event()
    writer.submit(gate.wait)
    began = time.monotonic()
    assert not writer.flush(timeout=0.2)
    assert time.monotonic() - began < 2
    gate.set()
    assert writer.flush()
    writer.finish()
    assert not writer.flush()


def test_an_idle_writer_only_beats(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    assert writer.flush()
    run = StoredRun(writer.path)
    run.scalars()
    before = {p: p.stat().st_mtime_ns for p in writer.folder.rglob("*") if p.is_file()}
    version = run.version()
    wait_until(
        lambda: (writer.folder / "state.json").stat().st_mtime_ns != before[writer.folder / "state.json"], secs=4
    )
    changed = {p.name for p, at in before.items() if p.stat().st_mtime_ns != at}
    assert changed == {"state.json"}
    assert run.version() == version, "a heartbeat is no news"
    assert not run.refresh()
    writer.finish()
    assert run.version() != version


def test_ids_and_resuming(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no run p/r to go on with") as missing:
        begin(tmp_path, run_id="r", resume="must")
    assert "resume='allow'" in missing.value.hint
    first = begin(tmp_path, run_id="r", resume="allow", config={"lr": 1})
    first.log({"a": 1.0}, 0)
    first.finish()
    with pytest.raises(RunExistsError, match="Run p/r is there already") as exists:
        begin(tmp_path, run_id="r")
    assert "resume='allow'" in exists.value.hint
    second = begin(tmp_path, run_id="r", resume="must", config={"lr": 2, "new": 3})
    assert second.path == first.path
    assert second.folder != first.folder
    run = StoredRun(second.path)
    assert run.info().status == "running"
    assert run.info().config == {"lr": 2, "new": 3}
    second.finish()
    assert json.loads((second.path / "run.json").read_text())["config"] == {"lr": 1}
    with pytest.raises(UsageError, match="needs the id of the run"):
        begin(tmp_path, resume="must")
    with pytest.raises(UsageError, match="resume is 'maybe'"):
        begin(tmp_path, run_id="r", resume="maybe")


def test_ranks_share_a_run(tmp_path: Path) -> None:
    writers = [begin(tmp_path, run_id="r", rank=rank) for rank in (1, 0, 2)]
    for writer in writers:
        rank = int(writer.folder.name[1:4])
        writer.log({"loss": float(rank)}, rank)
    run = StoredRun(writers[0].path)
    assert {n: s.v.tolist() for n, s in run.scalars().items()} == {
        "loss": [0.0],
        "rank1/loss": [1.0],
        "rank2/loss": [2.0],
    }
    with pytest.raises(RunExistsError):
        begin(tmp_path, run_id="r", rank=1)
    writers[0].finish()
    assert run.info().status == "running"
    writers[1].finish("failed", error="boom")
    writers[2].finish()
    assert (run.info().status, run.info().error) == ("failed", "rank 0: boom")
    assert run.notices() == ()


def test_a_newer_format_is_refused_naming_both_versions(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="r")
    writer.finish()
    document = json.loads((writer.path / "run.json").read_text())
    (writer.path / "run.json").write_text(json.dumps(document | {"format_version": 7}))
    for attempt in (
        lambda: StoredRun(writer.path).info(),
        lambda: StoredRun(writer.path).scalars(),
        lambda: begin(tmp_path, run_id="r", resume="allow"),
    ):
        with pytest.raises(FormatVersionError, match="has format version 7, this Epochal reads up to 1") as caught:
            attempt()
        assert "pip install --upgrade epochal" in caught.value.hint


def test_bad_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for arguments in ({"project": "a/b"}, {"project": "p", "run_id": ".."}, {"project": "p", "rank": -1}):
        with pytest.raises(UsageError):
            RunWriter.create(tmp_path / "root", **arguments)
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFullError, match=r"No run can be recorded below .*file") as caught:
        begin(tmp_path / "file")
    assert "EPOCHAL_DIR" in caught.value.hint


def test_after_finish_nothing_more_is_taken(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.log({"a": 1.0}, 0)
    writer.finish("stopped")
    writer.finish("failed")
    with pytest.raises(UsageError, match="after the run was finished"):
        writer.log({"a": 2.0}, 1)
    run = StoredRun(writer.path)
    assert run.info().status == "stopped"
    assert run.scalars()["a"].v.tolist() == [1.0]


def test_problems_are_warnings_when_nobody_listens(tmp_path: Path) -> None:
    writer = begin(tmp_path, on_problem=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writer.drop("looks", 3, "three looks were too slow")
        writer.drop("looks", 2, "three looks were too slow")
    assert [str(w.message) for w in caught] == ["three looks were too slow"]
    assert caught[0].category is RecordingWarning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer.drop("other", 1, "this must not raise inside the recording")
    writer.finish()
    assert {n.code: n.count for n in StoredRun(writer.path).notices()} == {"dropped_looks": 5, "dropped_other": 1}


def test_summaries_say_what_a_series_came_to(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.define("acc", better="max")
    values = [3.0, math.nan, 1.0, math.inf, 2.0, 1.0]
    for step, value in enumerate(values):
        writer.log({"loss": value, "acc": -value}, 10 * step)
    writer.finish()
    summaries = StoredRun(writer.path).summaries()
    loss, acc = summaries["loss"], summaries["acc"]
    assert (loss.n, loss.last, loss.first_step, loss.last_step) == (6, 1.0, 0, 50)
    assert (loss.min, loss.min_step, loss.max, loss.max_step, loss.mean) == (1.0, 20, 3.0, 0, 1.75)
    assert (loss.nan, loss.inf) == (1, 1)
    assert (loss.best, loss.best_step) == (1.0, 20)
    assert (acc.better, acc.best, acc.best_step) == ("max", -1.0, 20)
    assert loss.spark[0] == 3.0
    assert math.isnan(loss.spark[1])


def test_recording_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
        import sys
        from epochal.store import RunWriter, StoredRun
        w = RunWriter.create(sys.argv[1], project="p")
        w.log({"a": 1.0}, 0)
        w.finish()
        assert StoredRun(w.path).scalars()["a"].v[0] == 1.0
        heavy = {"pyarrow", "pandas", "torch", "polars", "fastapi", "pydantic"}
        print(sorted({m.split(".")[0] for m in sys.modules} & heavy))
    """
    assert run_child(code, tmp_path).strip() == "[]"
