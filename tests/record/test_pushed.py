"""Parameters that are handed over call by call, from the call to what the store gives back."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import RecordingWarning, UsageError
from epochal.facts import Graph, Layer
from epochal.record import Run, init
from epochal.store import StoredRun
from epochal.views.layers import TensorFacts, group_layers


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def column(found: StoredRun, series: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return found.statistics(series).columns[name].astype(np.float64)


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("pushed", dir=tmp_path, strict=True, **options)


def nielsen(seed: int = 0) -> dict[str, list[np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(seed)
    return {
        "weights": [rng.normal(size=(12, 4)), rng.normal(size=(3, 12))],
        "biases": [rng.normal(size=(12, 1)), rng.normal(size=(3, 1))],
    }


def test_every_call_keeps_the_parameters_bit_for_bit_and_their_statistics(tmp_path: Path) -> None:
    kept, slopes = [], []
    with begin(tmp_path) as run:
        for epoch in range(15):
            now, slope = nielsen(epoch), nielsen(100 + epoch)
            run.log({"loss": 1.0}, step=10 * epoch, epoch=epoch)
            run.log_parameters(now, gradients=slope, activations={"hidden": now["weights"][0]})
            kept.append(now["weights"][1].copy())
            slopes.append(slope["weights"][1].copy())
            now["weights"][1][:] = 0  # nothing is read after the call
            slope["weights"][1][:] = 0
    found = stored(run)
    steps = [10 * epoch for epoch in range(15)]
    assert found.snapshot_steps() == steps
    assert all(np.array_equal(found.tensor("weights.1", s), values) for s, values in zip(steps, kept, strict=True))
    assert found.snapshot_header(50).epoch == 5.0
    assert found.statistics_series() == [
        *(f"param/{n}" for n in ("weights.0", "weights.1", "biases.0", "biases.1")),
        *(f"grad/{n}" for n in ("weights.0", "weights.1", "biases.0", "biases.1")),
        "act/hidden",
    ]
    table = found.statistics("param/weights.1")
    assert table.steps.tolist() == steps
    np.testing.assert_allclose(column(found, "param/weights.1", "std"), [float(v.std()) for v in kept], rtol=1e-12)
    moved = [float(np.linalg.norm(b - a) / np.linalg.norm(a)) for a, b in pairwise(kept)]
    np.testing.assert_allclose(column(found, "param/weights.1", "update_ratio")[1:], moved, rtol=1e-6)
    for k, values in enumerate(kept):
        assert np.array_equal(table.counts[k], np.histogram(values, 64, (table.lo[k], table.hi[k]))[0])
    means = [float(v.mean()) for v in slopes]
    np.testing.assert_allclose(column(found, "grad/weights.1", "mean"), means, rtol=1e-9)
    assert found.notices() == ()
    facts = found.info().recorder
    assert (facts["framework"], facts["looks"], facts["snapshots"], facts["skipped"]) == ("numpy", 15, 15, 0)


def test_lists_of_weights_and_biases_are_layers(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log_parameters(nielsen())
    graph = stored(run).graph()
    assert graph is not None
    tensors = [
        TensorFacts(
            series="param/" + n, kind="param", name=n, shape=a.shape, dtype="F64", frames=1, rows=1, change=None
        )
        for n, a in stored(run).snapshot(0).items()
    ]
    layers = group_layers(tensors, graph)
    assert [(one.layer, one.inputs, one.outputs) for one in layers] == [("0", 4, 12), ("1", 12, 3)]
    assert [(one.weight and one.weight.name, one.bias and one.bias.name) for one in layers] == [
        ("weights.0", "biases.0"),
        ("weights.1", "biases.1"),
    ]


def test_steps_and_epochs_are_those_of_the_last_log_call(tmp_path: Path) -> None:
    w = {"w": np.ones(2)}
    with begin(tmp_path) as run:
        run.log_parameters(w)  # before anything was logged: step 0
        run.log({"x": 1.0}, step=7, epoch=1)
        run.log_parameters(w)
        run.log_parameters(w, step=np.int64(9), epoch=2)
        assert run.step == 7
        run.log({"x": 2.0})
        run.log_parameters(w)
    found = stored(run)
    assert found.snapshot_steps() == [0, 7, 8, 9]
    assert [found.snapshot_header(s).epoch for s in (0, 7, 8, 9)] == [None, 1.0, 2.0, 2.0]
    epochs = found.scalars()["epoch"]
    assert (epochs.steps.tolist(), epochs.v.tolist()) == ([7, 9], [1.0, 2.0])


@pytest.mark.parametrize(
    ("snapshots", "expected"),
    [("all", list(range(12))), ("epoch", [0, 4, 8]), (5, [0, 5, 10]), (None, [])],
)
def test_which_calls_keep_the_values(tmp_path: Path, snapshots: Any, expected: list[int]) -> None:
    with begin(tmp_path) as run:
        for step in range(12):
            run.log_parameters({"w": np.full(3, float(step))}, step=step, epoch=step / 4, snapshots=snapshots)
    found = stored(run)
    assert found.snapshot_steps() == expected
    assert found.statistics("param/w").columns["mean"].tolist() == list(range(12))


def test_a_tree_that_changes_begins_anew(tmp_path: Path) -> None:
    trees: list[Any] = [
        {"a": np.zeros(2)},
        {"a": np.ones(2)},
        {"a": np.ones(2), "b": np.full(3, 2.0)},
        {"a": np.ones(4)},
        {"c": np.ones(1, "f4")},
    ]
    with begin(tmp_path) as run:
        for step, tree in enumerate(trees):
            run.log_parameters(tree, step=step)
    found = stored(run)
    assert [{n: a.tolist() for n, a in found.snapshot(s).items()} for s in range(5)] == [
        {n: a.tolist() for n, a in tree.items()} for tree in trees
    ]
    ratios = found.statistics("param/a").columns["update_ratio"]
    assert np.isnan(ratios[[0, 2, 3]]).all()
    graph = found.graph()
    assert graph is not None
    assert [layer.layer_id for layer in graph.layers] == ["c"]


def test_gradients_that_come_later_and_only_sometimes(tmp_path: Path) -> None:
    w = {"w": np.ones(2), "n": np.arange(3)}
    with begin(tmp_path) as run:
        for step in range(6):
            run.log_parameters(w, gradients={"w": np.full(2, step)} if step % 2 else None, step=step)
    found = stored(run)
    table = found.statistics("grad/w")
    assert (table.steps.tolist(), table.columns["mean"].tolist()) == ([1, 3, 5], [1.0, 3.0, 5.0])
    assert found.statistics("param/w").steps.tolist() == list(range(6))


def test_gradients_without_a_parameter_are_told(tmp_path: Path) -> None:
    w = {"w": np.ones(2), "n": np.arange(3), "left": np.ones(2)}
    slopes = {"w": np.ones(2), "n": np.ones(3), "left": np.ones(3), "dw": np.ones(2), "none": None}
    with begin(tmp_path) as run:
        with pytest.warns(RecordingWarning, match="2 gradients have no parameter of their name and shape: left, dw"):
            run.log_parameters(w, gradients=slopes, step=0)
        run.log_parameters(w, gradients=slopes, step=1)
    assert stored(run).statistics("grad/w").steps.tolist() == [0, 1]


def test_arrays_that_were_one_at_first_are_told_apart_once_they_are_two(tmp_path: Path) -> None:
    zeros = np.zeros(3)
    with begin(tmp_path) as run:
        run.log_parameters({"a": zeros, "b": zeros}, step=0)
        run.log_parameters({"a": zeros + 1, "b": zeros + 2}, step=1)
    found = stored(run)
    assert list(found.snapshot(0)) == ["a"]
    assert {n: a[0] for n, a in found.snapshot(1).items()} == {"a": 1.0, "b": 2.0}


def test_dead_units_and_figures_of_large_outputs_are_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(size=(500, 80)), 0)
    values[:, :20] = 0
    values[3, 50] = np.nan
    with begin(tmp_path) as run:
        run.log_parameters({"w": np.ones(1)}, activations={"relu": values, "flat": values[:, 30]})
    found = stored(run)
    row = found.statistics("act/relu").columns
    finite = values[np.isfinite(values)]
    assert row["dead"][0] == 0.25
    assert np.isnan(found.statistics("act/flat").columns["dead"][0])
    assert (row["nan"][0], row["zeros"][0], row["size"][0]) == (1, int((values == 0).sum()), values.size)
    for name, expected in (("mean", finite.mean()), ("std", finite.std()), ("max", finite.max())):
        assert row[name][0] == pytest.approx(expected, rel=1e-12)
    assert row["norm"][0] == pytest.approx(np.linalg.norm(finite), rel=1e-12)


def test_a_graph_that_is_given_is_kept(tmp_path: Path) -> None:
    graph = Graph(source="declared", layers=(Layer(layer_id="a", kind="Dense"),), model="M", framework="numpy")
    with begin(tmp_path) as run:
        run.log_parameters({"w": np.ones(2)}, graph=graph)
        run.log_parameters({"w": np.ones(3)})
    assert stored(run).graph() == graph


def test_pytorch_tensors_among_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    w = torch.randn(4, 3, requires_grad=True)
    (w**2).sum().backward()
    tensors = {
        "w": w,
        "half": w.detach().to(torch.bfloat16),
        "eight": w.detach().to(torch.float8_e4m3fn),
        "n": torch.tensor(3),
    }
    with begin(tmp_path) as run:
        run.log_parameters(tensors, gradients={"w": w.grad}, activations={"half": tensors["half"]})
    found = stored(run)
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    read = safetensors.load_file(found.snapshot_path(0))
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name].float(), tensor.detach().float())
    assert found.statistics("grad/w").columns["norm"][0] == pytest.approx(w.grad.norm().item(), rel=1e-6)
    assert found.statistics("act/half").columns["mean"][0] == pytest.approx(
        tensors["half"].float().mean().item(), rel=1e-5
    )
    assert found.info().recorder["framework"] == "torch"


def test_large_parameters_wait_for_memory_and_none_is_lost(tmp_path: Path) -> None:
    w = np.zeros(8_000_000)  # 64 MB: the pool has room for three
    with begin(tmp_path) as run:
        for step in range(6):
            w[:2] = step
            run.log_parameters({"w": w}, step=step)
    found = stored(run)
    assert found.snapshot_steps() == list(range(6))
    assert [found.tensor("w", s)[0] for s in range(6)] == list(range(6))


def test_nothing_of_the_users_is_held(tmp_path: Path) -> None:
    import weakref

    class Held(np.ndarray[Any, Any]):
        pass

    w = np.ones(3).view(Held)
    gone = weakref.ref(w)
    with begin(tmp_path) as run:
        run.log_parameters({"w": w}, gradients={"w": w}, activations={"w": w})
        del w
        assert gone() is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "x"}, "without any array"),
        (3, None),
        (object(), "without any array"),
        ({"__metadata__": np.ones(1)}, "safetensors"),
    ],
)
def test_what_cannot_be_recorded_is_said_and_training_goes_on(tmp_path: Path, given: Any, message: str | None) -> None:
    with init("pushed", dir=tmp_path, strict=False) as run:
        if message is None:
            run.log_parameters(given)
        else:
            with pytest.warns(RecordingWarning, match=message):
                run.log_parameters(given)
        run.log({"x": 1.0})
    assert len(stored(run).scalars()["x"]) == 1


def test_odd_arguments(tmp_path: Path) -> None:
    w = {"w": np.ones(1)}
    with begin(tmp_path) as run:
        for snapshots in ("never", 0, -3, 1.5, True):
            with pytest.raises(UsageError, match="snapshots is"):
                run.log_parameters(w, snapshots=snapshots)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="not a whole number"):
            run.log_parameters(w, step="last")  # type: ignore[arg-type]
        run.watch(w)
        with pytest.raises(UsageError, match="is being watched"):
            run.log_parameters(w)
        run.unwatch()
        run.log_parameters(w, step=3)
        with pytest.raises(UsageError, match="handed over"):
            run.watch(w)
        run.unwatch()
        run.watch(w)
    assert 3 in stored(run).snapshot_steps()


def test_a_run_that_is_off_or_over_takes_nothing(tmp_path: Path) -> None:
    with init("pushed", mode="off") as run:
        run.log_parameters("anything")
    run = init("pushed", dir=tmp_path, strict=False)
    run.finish()
    with pytest.warns(RecordingWarning, match="nothing is recorded any more"):
        run.log_parameters({"w": np.ones(1)})


def test_from_several_threads(tmp_path: Path) -> None:
    run = begin(tmp_path)

    def work(k: int) -> None:
        for i in range(40):
            run.log_parameters({"w": np.full(5, 100.0 * k + i)}, step=100 * k + i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    found = stored(run)
    steps = found.snapshot_steps()
    assert len(steps) == 120
    assert all((found.tensor("w", s) == s).all() for s in steps)
