"""Watching without a budget, at a distance, under a bound on the disk, with gradients kept and exact figures."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.errors import RecordingWarning, UsageError
from epochal.record import Run, init
from epochal.record.digest import Digest
from epochal.record.probe import Activation, Figures
from epochal.record.staging import Layout, Pool
from epochal.store import StoredRun
from epochal.store.thinning import thinned_steps
from epochal.workspace import RunReader

Arrays = dict[str, npt.NDArray[Any]]


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("watch", dir=tmp_path, strict=True, **options)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def test_without_a_budget_every_nth_step_is_looked_at_exactly(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(50)}
    with begin(tmp_path) as run:
        run.watch(arrays, budget=None, every=10, snapshots=None)
        for step in range(1, 1001):
            arrays["w"][:] = step
            run.log({"x": 1.0}, step=step)
    table = stored(run).statistics("param/w")
    # Step 0 is the untrained network.
    assert table.steps.tolist() == list(range(0, 1001, 10))
    assert table.columns["mean"].tolist() == [float(s) for s in table.steps.tolist()]
    facts = stored(run).info().recorder
    assert (facts["budget"], facts["every"], facts["skipped"]) == (None, 10, 0)


def test_without_a_budget_and_distance_every_call_is_looked_at(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(50)}
    with begin(tmp_path) as run:
        run.watch(arrays, budget=None)
        for step in range(600):
            arrays["w"][:] = step
            run.log({"x": 1.0}, step=step)
    assert stored(run).statistics("param/w").steps.tolist() == list(range(600))


def test_without_a_budget_training_waits_for_the_writer_rather_than_leave_out_a_look(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(8_000_000)}  # 64 MB: there is memory for three
    gate = threading.Event()
    run = begin(tmp_path)
    assert run._writer is not None
    run._writer.submit(lambda: gate.wait(30))
    run.watch(arrays, budget=None, snapshots=None)
    threading.Timer(0.5, gate.set).start()
    start = time.perf_counter()
    for step in range(8):
        arrays["w"][:2] = step
        run.log({"x": 1.0}, step=step)
    assert time.perf_counter() - start > 0.4
    run.finish()
    table = stored(run).statistics("param/w")
    assert table.steps.tolist() == list(range(8))
    assert table.columns["max"].tolist() == list(range(8))
    assert stored(run).notices() == ()


def test_with_a_distance_and_a_budget_multiples_are_looked_at_as_the_budget_allows(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(50)}
    with begin(tmp_path) as run:
        run.watch(arrays, every=7, snapshots=None)
        for step in range(400):
            run.log({"x": 1.0}, step=step)
    steps = stored(run).statistics("param/w").steps.tolist()
    assert set(steps) <= {*range(0, 400, 7), 399}
    assert len(steps) > 20


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": 0}, "every is 0"),
        ({"every": 2.5}, "every is 2.5"),
        ({"budget": 2}, "budget is 2"),
        ({"disk": 0}, "disk is 0"),
        ({"snapshots": 0}, "snapshots is 0"),
        ({"gradient_snapshots": True, "gradients": False}, "gradient_snapshots=True asks for gradients"),
    ],
)
def test_schedules_that_cannot_be_are_told(tmp_path: Path, options: Any, says: str) -> None:
    with begin(tmp_path) as run, pytest.raises(UsageError, match=says):
        run.watch({"w": np.zeros(1)}, **options)


def test_snapshots_stay_under_their_bound_dense_early_with_the_best_and_those_asked_for(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(1000)}  # 8 kB
    with begin(tmp_path) as run:
        run.define("val_loss", better="min")
        run.watch(arrays, disk=200_000, budget=0.0)
        for epoch in range(300):
            arrays["w"][:] = epoch
            run.log({"val_loss": abs(epoch - 171.0)}, step=epoch, epoch=epoch)
            if epoch == 222:
                run.snapshot()
            if epoch % 50 == 0:
                assert run._writer is not None
                run._writer.flush()
                used = sum(p.stat().st_size for p in run._writer.folder.glob("params/step-*"))
                assert used <= 200_000
    found = stored(run)
    steps = found.snapshot_steps()
    assert {0, 1, 2, 171, 222, 299} <= set(steps)
    assert 20 <= len(steps) <= 24
    assert all(found.snapshot(s)["w"][0] == s for s in steps)
    gaps = np.diff([s for s in steps if s not in (171, 222)])
    assert gaps[:4].max() <= 2
    assert gaps[-4:].min() >= 8
    # Statistics of all epochs are there all the same.
    assert found.statistics("param/w").steps.tolist() == list(range(300))
    notices = {n.code: n for n in found.notices()}
    assert list(notices) == ["thinned"]
    assert notices["thinned"].count == 300 - len(steps)
    folder = next((run.path or tmp_path).glob("w/*"))
    from epochal.store import WriterFolder

    assert sorted([*thinned_steps(WriterFolder(folder)), *steps]) == list(range(300))
    facts = found.info().recorder
    assert facts["thinned"] == 300 - len(steps)
    assert facts["disk_limit"] == 200_000
    assert facts["disk_bytes"] == sum(p.stat().st_size for p in folder.glob("params/step-*")) <= 200_000


def test_the_bound_holds_over_unwatching_and_watching_again(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(1000)}
    with begin(tmp_path) as run:
        for part in range(3):
            run.watch(arrays, disk=100_000, budget=0.0)
            for epoch in range(20 * part, 20 * part + 20):
                run.log({"x": 1.0}, step=epoch, epoch=epoch)
            run.unwatch()
    folder = next((run.path or tmp_path).glob("w/*"))
    assert sum(p.stat().st_size for p in folder.glob("params/step-*")) <= 100_000
    assert stored(run).snapshot_steps()[-1] == 59


def test_gradients_are_kept_as_values_when_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = SimpleNamespace(
        parameters={"w": np.zeros((3, 2)), "b": np.zeros(3, "<f4"), "still": np.ones(2)},
        gradients={"w": np.zeros((3, 2)), "b": np.zeros(3, "<f4")},
    )
    truth = {}
    with begin(tmp_path) as run:
        run.watch(model, gradient_snapshots=True, disk=100_000)
        for epoch in range(1, 6):
            for name, gradient in model.gradients.items():
                gradient[...] = rng.normal(size=gradient.shape)
                model.parameters[name] -= gradient
            if epoch == 4:
                model.gradients["still"] = np.full(2, 7.0)
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
            truth[epoch] = {name: g.copy() for name, g in model.gradients.items()}
    found = stored(run)
    assert found.snapshot_steps("grads") == [1, 2, 3, 4, 5]
    assert found.snapshot_steps("params") == [0, 1, 2, 3, 4, 5]
    for epoch, gradients in truth.items():
        kept = found.snapshot(epoch, "grads")
        assert set(kept) == set(gradients)
        for name, gradient in gradients.items():
            assert kept[name].dtype == gradient.dtype
            assert np.array_equal(kept[name], gradient)
        assert found.snapshot_header(epoch, "grads").epoch == epoch
    film = RunReader(found).film("grad/w")
    assert np.array_equal(film.frames, [truth[e]["w"] for e in range(1, 6)])


def test_gradients_are_not_kept_as_values_by_default(tmp_path: Path) -> None:
    model = SimpleNamespace(parameters={"w": np.zeros(2)}, gradients={"w": np.ones(2)})
    with begin(tmp_path) as run:
        run.watch(model)
        run.log({"x": 1.0}, epoch=0)
    assert stored(run).snapshot_steps("grads") == []
    assert stored(run).statistics("grad/w").columns["mean"].tolist() == [1.0]


def test_a_snapshot_by_hand_that_finds_no_memory_is_told_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("epochal.record.watch.WAIT_SECONDS", 0.05)
    gate = threading.Event()
    with init("watch", dir=tmp_path, strict=False) as run:
        assert run._writer is not None
        run._writer.submit(lambda: gate.wait(30))
        run.watch({"w": np.zeros(8_000_000)}, snapshots=None, budget=0.0)
        for step in range(3):
            run.snapshot(step)
        with pytest.warns(RecordingWarning, match="could not free memory for the snapshot in time"):
            run.snapshot(3)
        gate.set()
    losses = {n.code: n.count for n in stored(run).notices()}
    assert losses == {"dropped_looks": 1}


def digested(*caught: Activation) -> dict[str, Any]:
    layout = Layout(())
    slot = Pool(layout, layout, lambda places, facts: None).take()
    assert slot is not None
    slot.statistics, slot.step, slot.t, slot.activations = True, 5, 1.5, lambda: list(caught)
    digest = Digest()
    digest.take([slot])
    rows = digest.rows()
    assert rows is not None
    return rows


def test_figures_of_all_values_stand_beside_the_histogram_of_a_sample() -> None:
    rng = np.random.default_rng(0)
    every = rng.normal(size=100_000)
    every[:10] = [math.nan, math.inf, -math.inf, 0, 0, 0, 50, -60, 0, math.nan]
    finite = every[np.isfinite(every)]
    sample = every[11::7].astype("<f4")
    figures = Figures(
        mean=float(finite.mean()), std=float(finite.std()), min=-60.0, max=50.0,
        norm=float(np.linalg.norm(finite)), zeros=4, nan=2, inf=2,
    )  # fmt: skip
    rows = digested(
        Activation(layer="relu", values=sample, size=100_000, dead=0.25, figures=figures),
        Activation(layer="all", values=np.array([0.0, 2.0]), size=2),
    )
    at = rows["series"].index("act/relu")
    for name in ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf"):
        assert rows[name][at] == getattr(figures, name), name
    assert (rows["size"][at], rows["seen"][at]) == (100_000, len(sample))
    assert (rows["lo"][at], rows["hi"][at]) == (sample.min(), sample.max())
    assert np.array_equal(rows["counts"][at], np.histogram(sample.astype(float), 64, (sample.min(), sample.max()))[0])
    assert rows["dead"][at] == 0.25
    other = rows["series"].index("act/all")
    assert (rows["mean"][other], rows["zeros"][other], rows["seen"][other]) == (1.0, 1, 2)
    assert math.isnan(rows["dead"][other])


def test_dead_units_are_a_film(tmp_path: Path) -> None:
    model = SimpleNamespace(parameters={"w": np.zeros(2)}, activations={"relu": np.zeros((5, 4))})
    with begin(tmp_path) as run:
        run.watch(model)
        for epoch in range(4):
            model.activations["relu"][:, :epoch] = 1.0
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
    reader = RunReader(stored(run))
    assert reader.film("dead/act/relu").frames.tolist() == [1.0, 0.75, 0.5, 0.25]
    assert np.isnan(reader.film("dead/param/w").frames).all()


def test_nothing_is_looked_at_where_nothing_is_wanted(tmp_path: Path) -> None:
    looked = 0

    class Quiet:
        @property
        def parameters(self) -> Arrays:
            nonlocal looked
            looked += 1
            return arrays

    arrays = {"w": np.zeros(5)}
    with begin(tmp_path) as run:
        run.watch(Quiet(), parameters=False, gradients=False, activations=False, snapshots=None)
        run.log({"x": 1.0}, step=0, epoch=0)
        before = looked
        for step in range(1, 20):
            run.log({"x": 1.0}, step=step, epoch=step)
        assert looked == before
        run.snapshot()
    assert stored(run).snapshot_steps() == [19]
    assert stored(run).statistics_series() == []
    assert RunReader(stored(run)).info.recorder["looks"] == 0
