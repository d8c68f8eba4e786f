"""Watching a network of numpy arrays, from the log call to what the store gives back."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.errors import RecordingWarning
from epochal.facts import Graph, Layer
from epochal.record import Run, init
from epochal.store import StatisticsTable, StoredRun

Arrays = dict[str, npt.NDArray[Any]]


def network(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "layers.0.weight": rng.normal(size=(12, 4)),
        "layers.0.bias": np.zeros(12),
        "layers.1.weight": rng.normal(size=(3, 12)).astype("<f4"),
        "layers.1.count": np.array(0),
    }


def train(arrays: Arrays, step: int) -> None:
    rng = np.random.default_rng(step)
    for array in arrays.values():
        array += rng.normal(size=array.shape).astype(array.dtype) if array.dtype.kind == "f" else 1


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def column(table: StatisticsTable, name: str) -> npt.NDArray[np.float64]:
    return table.columns[name].astype(np.float64)


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("watch", dir=tmp_path, strict=True, **options)


def test_every_epochs_frames_are_the_parameters_bit_for_bit(tmp_path: Path) -> None:
    arrays, kept = network(), []
    with begin(tmp_path) as run:
        run.watch(arrays)
        for epoch in range(20):
            train(arrays, epoch)
            run.log({"loss": 1.0}, step=epoch, epoch=epoch)
            kept.append({n: a.copy() for n, a in arrays.items()})
    found = stored(run)
    assert found.snapshot_steps() == list(range(20))
    for step, expected in enumerate(kept):
        snapshot = found.snapshot(step)
        assert list(snapshot) == list(expected)
        for name, values in expected.items():
            assert snapshot[name].dtype == values.dtype
            assert np.array_equal(snapshot[name], values)
        assert found.snapshot_header(step).epoch == float(step)


def test_statistics_are_those_of_the_frames(tmp_path: Path) -> None:
    arrays = network()
    with begin(tmp_path) as run:
        run.watch(arrays)
        for epoch in range(12):
            train(arrays, epoch)
            run.log({"loss": 1.0}, step=epoch, epoch=epoch)
    found = stored(run)
    assert found.statistics_series() == ["param/layers.0.weight", "param/layers.0.bias", "param/layers.1.weight"]
    for name in ("layers.0.weight", "layers.0.bias", "layers.1.weight"):
        table = found.statistics(f"param/{name}")
        frames = [found.snapshot(step)[name].astype(float) for step in range(12)]
        assert table.steps.tolist() == list(range(12))
        for k, frame in enumerate(frames):
            expected = np.histogram(frame, 64, (table.lo[k], table.hi[k]))[0]
            assert np.array_equal(table.counts[k], expected)
        np.testing.assert_allclose(column(table, "norm"), [np.linalg.norm(f) for f in frames], rtol=1e-9)
        np.testing.assert_allclose(column(table, "std"), [f.std() for f in frames], rtol=1e-9)
        change = [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairwise(frames)]
        np.testing.assert_allclose(column(table, "update_ratio")[1:], change, rtol=1e-6)
        assert np.isnan(column(table, "update_ratio")[0])
        assert column(table, "seen").tolist() == column(table, "size").tolist() == [frames[0].size] * 12


@pytest.mark.parametrize("size", [1_000, 70_000])
def test_update_ratios_go_on_over_many_batches_of_looks(tmp_path: Path, size: int) -> None:
    arrays = {"w": np.ones(size)}
    with begin(tmp_path) as run:
        run.watch(arrays)
        for epoch in range(30):
            arrays["w"] *= 2
            run.log({"x": 1.0}, epoch=epoch)
            if epoch % 7 == 0:
                assert run._writer is not None
                run._writer.flush()
    ratio = stored(run).statistics("param/w").columns["update_ratio"]
    assert ratio[1:].tolist() == [1.0] * 29


@pytest.mark.parametrize(("first", "expected"), [(0, [0, 1, 2]), (1, [0, 1, 2, 3]), (10, [0, 10, 11, 12])])
def test_the_untrained_network_is_step_0_unless_step_0_is_logged(
    tmp_path: Path, first: int, expected: list[int]
) -> None:
    arrays = {"w": np.zeros(3)}
    with begin(tmp_path) as run:
        run.watch(arrays)
        for step in range(first, first + 3):
            arrays["w"] += 1
            run.log({"x": 1.0}, step=step, epoch=step)
    found = stored(run)
    assert found.snapshot_steps() == expected
    assert found.snapshot(0)["w"].tolist() == ([1.0] * 3 if first == 0 else [0.0] * 3)
    assert found.statistics("param/w").steps.tolist() == expected


def test_a_network_that_is_watched_and_never_logged_is_kept_once(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.watch({"w": np.arange(3.0)})
    assert stored(run).snapshot(0)["w"].tolist() == [0.0, 1.0, 2.0]


def test_a_resumed_run_does_not_begin_again_at_step_0(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(3)}
    for resume in ("never", "must"):
        with begin(tmp_path, id="one", resume=resume) as run:
            run.watch(arrays)
            for _ in range(3):
                arrays["w"] += 1
                run.log({"x": 1.0}, epoch=arrays["w"][0])
    found = stored(run)
    assert found.snapshot_steps() == [0, 1, 2, 3, 4, 5]
    assert [found.snapshot(k)["w"][0] for k in range(6)] == [1, 2, 3, 4, 5, 6]


def test_the_last_step_is_always_kept(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(3)}
    with begin(tmp_path) as run:
        run.watch(arrays, budget=0.0)
        for step in range(10_000):
            arrays["w"][:] = step
            run.log({"x": 1.0}, step=step)
    found = stored(run)
    steps = found.snapshot_steps()
    assert steps[-1] == 9_999
    assert found.statistics("param/w").steps[-1] == 9_999
    assert len(steps) < 2_000
    assert all(found.snapshot(s)["w"][0] == s for s in steps[:: max(1, len(steps) // 20)])


def test_every_n_steps_and_by_hand(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(arrays, snapshots=10)
        for step in range(35):
            arrays["w"][:] = step
            run.log({"x": 1.0}, step=step)
            if step == 17:
                run.snapshot()
                run.snapshot()
    found = stored(run)
    assert found.snapshot_steps() == [0, 10, 17, 20, 30, 34]
    assert [found.snapshot(s)["w"][0] for s in (0, 10, 17, 20, 30, 34)] == [0, 10, 17, 20, 30, 34]


def test_only_by_hand(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(arrays, snapshots=None)
        for step in range(20):
            run.log({"x": 1.0}, step=step, epoch=step)
        run.snapshot(step=100)
    found = stored(run)
    assert found.snapshot_steps() == [100]
    assert found.statistics("param/w").steps.tolist()[:20] == list(range(20))


def test_gradients_and_activations_that_the_model_shows(tmp_path: Path) -> None:
    parameters = network()
    model = SimpleNamespace(
        parameters=parameters,
        gradients={"layers.0.weight": np.full((12, 4), 0.5), "layers.0.bias": None},
        activations={"layers.0": np.arange(100_000.0).reshape(100, 1000), "relu": np.zeros((0, 3))},
    )
    with begin(tmp_path) as run:
        run.watch(model)
        for epoch in range(3):
            model.gradients["layers.0.weight"][:] = epoch
            run.log({"x": 1.0}, epoch=epoch)
    found = stored(run)
    names = found.statistics_series()
    assert [n for n in names if n.startswith("grad/")] == ["grad/layers.0.weight"]
    assert column(found.statistics("grad/layers.0.weight"), "mean").tolist() == [0.0, 1.0, 2.0]
    table = found.statistics("act/layers.0")
    assert column(table, "size").tolist() == [100_000] * 3
    assert 10_000 < column(table, "seen")[0] < 20_000
    np.testing.assert_allclose(column(table, "mean"), 50_000, rtol=0.01)
    assert column(found.statistics("act/relu"), "size").tolist() == [0] * 3


def test_what_is_not_wanted_is_not_recorded(tmp_path: Path) -> None:
    model = SimpleNamespace(parameters=network(), gradients=network(), activations={"a": np.ones(3)})
    with begin(tmp_path) as run:
        run.watch(model, gradients=False, activations=False, targets="layers.0")
        run.log({"x": 1.0}, epoch=0)
    found = stored(run)
    assert found.statistics_series() == ["param/layers.0.weight", "param/layers.0.bias"]
    assert len(found.snapshot(0)) == 4


def test_the_models_own_graph_is_kept(tmp_path: Path) -> None:
    graph = Graph(source="declared", layers=(Layer(layer_id="a", kind="Dense"),), model="M", framework="numpy")
    with begin(tmp_path) as run:
        run.watch(SimpleNamespace(parameters={"w": np.ones(2)}, graph=lambda: graph))
        run.log({"x": 1.0})
    assert stored(run).graph() == graph


def test_plain_arrays_get_a_layer_for_each_prefix(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.watch(network())
        run.log({"x": 1.0})
    graph = stored(run).graph()
    assert graph is not None
    assert [layer.layer_id for layer in graph.layers] == ["layers.0", "layers.1"]
    assert [p.role for p in graph.layers[0].parameters] == ["weight", "bias"]


def test_other_shapes_and_new_arrays_begin_anew(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(3)}
    with begin(tmp_path) as run:
        run.watch(arrays)
        for epoch in range(6):
            arrays["w"] = np.full(3 + epoch // 3, float(epoch))
            run.log({"x": 1.0}, epoch=epoch)
    found = stored(run)
    assert [found.snapshot(k)["w"].tolist() for k in (2, 3)] == [[2.0] * 3, [3.0] * 4]
    assert column(found.statistics("param/w"), "size").tolist() == [3, 3, 3, 4, 4, 4]


def test_shared_arrays_are_stored_once_and_named(tmp_path: Path) -> None:
    shared = np.arange(4.0)
    with begin(tmp_path) as run:
        run.watch({"encoder": shared, "decoder": shared, "own": np.ones(1)})
        run.log({"x": 1.0}, epoch=0)
    found = stored(run)
    assert list(found.snapshot(0)) == ["encoder", "own"]
    assert b'"decoder":"encoder"' in found.snapshot_path(0).read_bytes()


def test_the_cost_is_measured_and_told(tmp_path: Path) -> None:
    arrays = network()
    with begin(tmp_path) as run:
        run.watch(arrays, budget=0.05)
        for epoch in range(10):
            run.log({"x": 1.0}, epoch=epoch)
    facts = stored(run).info().recorder
    assert facts["budget"] == 0.05
    assert (facts["looks"], facts["snapshots"], facts["skipped"], facts["period"]) == (10, 10, 0, 1)
    assert facts["caller_seconds"] > 0
    assert facts["writer_seconds"] > 0
    assert facts["loop_seconds"] > 0
    assert facts["share"] > 0


def test_looks_that_the_writer_has_no_room_for_are_counted_and_never_waited_for(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(8_000_000)}  # 64 MB
    gate = threading.Event()
    run = begin(tmp_path)
    assert run._writer is not None
    run._writer.submit(lambda: gate.wait(30))
    run.watch(arrays)
    for epoch in range(10):
        arrays["w"][:2] = epoch
        run.log({"x": 1.0}, epoch=epoch)
    gate.set()
    run.finish()
    found = stored(run)
    steps = found.snapshot_steps()
    # The pool had room for three; the last one was made up for at the end, when waiting is no harm.
    assert steps == [0, 1, 2, 9]
    assert found.info().recorder["skipped"] == 7
    assert {n.code: n.count for n in found.notices()}["dropped_looks"] == 7
    assert [found.tensor("w", s)[0] for s in steps] == steps


@pytest.mark.parametrize("size", [8, 200_000])
def test_a_model_that_cannot_be_read_now_is_read_again_later_and_costs_little_till_then(
    tmp_path: Path, size: int
) -> None:
    class Moody:
        asked, broken = 0, True

        def __init__(self) -> None:
            self.weights = {"w": np.ones(size)}

        @property
        def parameters(self) -> Arrays:
            return self.weights

        @property
        def gradients(self) -> Arrays:
            if self.broken and self.asked:
                self.asked += 1
                until = time.thread_time() + 0.01
                while time.thread_time() < until:
                    pass
                raise RuntimeError("they are elsewhere")
            return {"w": np.ones(size)}

    model = Moody()
    with init("watch", dir=tmp_path) as run:
        run.watch(model)
        model.asked = 1
        with pytest.warns(RecordingWarning, match="elsewhere"):
            run.log({"loss": 1.0}, step=1)
        for step in range(2, 100):
            run.log({"loss": 1.0}, step=step)
        assert model.asked < 20, "each costs 10 ms"
        model.broken = False
        run.log({"loss": 1.0}, step=100, epoch=1)
        run.log({"loss": 1.0}, step=101, epoch=2)
    assert stored(run).snapshot_steps()[-2:] == [100, 101]


def test_one_model_at_a_time_and_unwatch(tmp_path: Path) -> None:
    first, second = {"a": np.zeros(1)}, {"b": np.zeros(1)}
    with init("watch", dir=tmp_path, strict=False) as run:
        run.watch(first)
        run.log({"x": 1.0}, epoch=0)
        with pytest.warns(RecordingWarning, match="being watched already"):
            run.watch(second)
        run.unwatch()
        run.watch(second)
        run.log({"x": 1.0}, epoch=1)
    found = stored(run)
    assert [list(found.snapshot(s)) for s in (0, 1)] == [["a"], ["b"]]


def test_logging_from_two_threads_while_watching(tmp_path: Path) -> None:
    arrays = network()
    run = begin(tmp_path)
    run.watch(arrays)

    def work() -> None:
        for _ in range(500):
            run.log({"x": 1.0})

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    assert len(stored(run).scalars()["x"]) == 1000
    assert stored(run).info().recorder["looks"] > 0


def test_arrays_of_types_that_cannot_be_stored_are_named(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(2), "odd": np.zeros(2, complex), "text": np.array(["a"])}
    with init("watch", dir=tmp_path, strict=False) as run:
        with pytest.warns(RecordingWarning, match=r"2 tensors .* not recorded: odd \(complex128\), text \(<U1\)"):
            run.watch(arrays)
        run.log({"x": 1.0}, epoch=0)
    assert list(stored(run).snapshot(0)) == ["w"]


def test_a_signal_handler_may_log_in_the_middle_of_a_look(tmp_path: Path) -> None:
    class Logging(dict[str, npt.NDArray[Any]]):
        """Logs when it is read, as a handler would that comes at that moment."""

        inside = False

        def __getitem__(self, name: str) -> npt.NDArray[Any]:
            if armed and not self.inside:
                self.inside = True
                run.log({"y": 1.0}, epoch=100 + len(seen))
                seen.append(name)
                self.inside = False
            return super().__getitem__(name)

    armed, seen = False, list[str]()
    arrays = Logging(w=np.zeros(3))
    with begin(tmp_path) as run:
        run.watch(arrays)
        armed = True
        for epoch in range(3):
            run.log({"x": 1.0}, epoch=epoch)
        armed = False
    found = stored(run)
    assert len(found.scalars()["x"]) == 3
    assert len(found.scalars()["y"]) == len(seen) > 0


def test_a_write_that_fails_loses_that_snapshot_only_and_is_counted(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(3)}
    with init("watch", dir=tmp_path, strict=False) as run:
        run.watch(arrays)
        assert run._writer is not None
        folder = run._writer.folder / "params"
        run.log({"x": 1.0}, epoch=0)
        run._writer.flush()
        (folder / "step-0000000001.safetensors").mkdir()
        run.log({"x": 1.0}, epoch=1)
        with pytest.warns(RecordingWarning, match="snapshot of step 1 was not written"):
            run._writer.flush()
        (folder / "step-0000000001.safetensors").rmdir()
        run.log({"x": 1.0}, epoch=2)
    found = stored(run)
    assert found.snapshot_steps() == [0, 2]
    assert found.statistics("param/w").steps.tolist() == [0, 1, 2]
    assert {n.code: n.count for n in found.notices()}["dropped_snapshot"] == 1


def test_statistics_that_fail_are_counted_and_the_next_ones_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {"w": np.ones(3)}
    with init("watch", dir=tmp_path, strict=False) as run:
        run.watch(arrays)
        assert run._writer is not None
        with monkeypatch.context() as broken:
            broken.setattr("epochal.record.digest.describe", lambda *_: 1 / 0)
            run.log({"x": 1.0}, epoch=0)
            with pytest.warns(RecordingWarning, match="ZeroDivisionError"):
                run._writer.flush()
        for epoch in (1, 2):
            arrays["w"] *= 2
            run.log({"x": 1.0}, epoch=epoch)
    found = stored(run)
    assert found.snapshot_steps() == [0, 1, 2]
    assert found.statistics("param/w").steps.tolist() == [1, 2]
    assert column(found.statistics("param/w"), "update_ratio")[1] == 1


def test_a_graph_that_fails_does_not_cost_the_looks(tmp_path: Path) -> None:
    model = SimpleNamespace(parameters={"w": np.ones(2)}, graph=lambda: 1 / 0)
    with init("watch", dir=tmp_path, strict=False) as run:
        run.watch(model)
        with pytest.warns(RecordingWarning, match="drawing the network failed, training goes on: ZeroDivisionError"):
            run.log({"x": 1.0}, epoch=0)
    assert stored(run).snapshot_steps() == [0]
    with pytest.raises(ZeroDivisionError), begin(tmp_path) as run:
        run.watch(model, inputs=1)
