from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.demos import Progress, TableDemo, train
from epochal.demos.training import Engine
from epochal.errors import MissingExtraError, UsageError
from epochal.store import StoredRun

ENGINES = [pytest.param("torch", marks=pytest.mark.torch), "numpy"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "torch":
        pytest.importorskip("torch", reason="needs PyTorch")
    return request.param


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHAL_STRICT", "1")


def test_iris_is_learnt_and_recorded(engine: Engine, tmp_path: Path) -> None:
    seen: list[Progress] = []
    trained = train(TableDemo(), dir=tmp_path, engine=engine, on_progress=seen.append)
    assert trained.metrics["test_accuracy"] >= 0.93
    assert trained.metrics["accuracy"] >= 0.95
    assert (trained.project, trained.name, trained.engine) == ("iris", "iris-12-12", engine)
    assert [p.epoch for p in seen] == list(range(151))

    run = StoredRun(trained.path)
    info = run.info()
    assert info.status == "finished"
    assert info.run_id == trained.run_id
    assert info.name == "iris-12-12"
    assert info.config["epochs"] == 150
    assert info.config["classes"] == ["setosa", "versicolor", "virginica"]
    scalars = run.scalars()
    assert {"loss", "val_loss", "accuracy", "val_accuracy", "test_loss", "test_accuracy", "epoch"} <= scalars.keys()
    loss = scalars["loss"]
    assert loss.steps.tolist() == [6 * epoch for epoch in range(151)], "90 flowers in batches of 16 make 6 steps"
    assert loss.v[0] == pytest.approx(seen[0].metrics["loss"], abs=0), "the untrained network comes first"
    assert loss.v[0] > 0.9 > 0.2 > loss.v[-1]
    steps, epochs = run.epochs()
    assert steps.tolist() == loss.steps.tolist()
    assert epochs.tolist() == list(range(151))
    better = {name: summary.better for name, summary in run.summaries().items()}
    assert (better["val_loss"], better["val_accuracy"], better["test_accuracy"]) == ("min", "max", "max")
    assert len(run.snapshot_steps()) == 151, "one after each epoch and one before"
    assert run.snapshot(0).keys() == {f"layers.{i}.{what}" for i in (0, 2, 4) for what in ("weight", "bias")}
    graph = run.graph()
    assert graph is not None
    assert [la.layer_id for la in graph.layers] == ["x", *(f"layers.{i}" for i in range(5)), "output"]


@pytest.mark.torch
def test_the_recorded_network_is_the_one_that_was_tested(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    from epochal.demos.tables import load_table, split
    from epochal.network import open_recorded

    demo = TableDemo(epochs=12, hidden=(8,))
    trained = train(demo, dir=tmp_path, engine="torch")
    parts = split(load_table("iris"), validation=demo.validation, test=demo.test, seed=demo.seed)
    scores = open_recorded(StoredRun(trained.path))(parts.test.features)
    assert (scores.argmax(axis=1) == parts.test.labels).mean() == pytest.approx(trained.metrics["test_accuracy"])


def test_the_same_seed_gives_the_same_numbers(engine: Engine, tmp_path: Path) -> None:
    demo = TableDemo(epochs=4, hidden=(5,), seed=9)
    one, same = (train(demo, dir=tmp_path, engine=engine) for _ in range(2))
    other = train(TableDemo(epochs=4, hidden=(5,), seed=10), dir=tmp_path, engine=engine)
    assert one.metrics == same.metrics
    assert one.metrics != other.metrics
    assert one.path != same.path
    for step in StoredRun(one.path).snapshot_steps():
        for name, value in StoredRun(one.path).snapshot(step).items():
            np.testing.assert_array_equal(StoredRun(same.path).snapshot(step)[name], value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "my flowers (2).csv"
    rows = [f"{i % 7},{(i % 2) * 4 + i / 100},{'ab'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["u,v,kind", *rows]))
    demo = TableDemo(path=path, target="kind", hidden=(), epochs=30, optimizer="sgd", batch_size=60, batches=True)
    trained = train(demo, dir=tmp_path / "runs", engine="numpy")
    assert trained.project == "my-flowers-2"
    assert trained.metrics["test_accuracy"] == 1
    run = StoredRun(trained.path)
    assert run.info().config["data"] == str(path)
    assert len(run.scalars(["batch/loss"])["batch/loss"].v) == 30


@pytest.mark.parametrize(
    ("demo", "why"),
    [
        (TableDemo(name="roses"), "no table 'roses'"),
        (TableDemo(path="nowhere.csv", target="x"), r"nowhere\.csv does not exist"),
        (TableDemo(path="nowhere.csv"), "Which column"),
        (TableDemo(target="x"), "without a file"),
        (TableDemo(hidden=(12, 0)), "hidden layer's size must be a whole number from 1"),
        (TableDemo(hidden=(60_000, 60_000)), "3,600,000,000 weights between them"),
        (TableDemo(epochs=0), "number of epochs must be"),
        (TableDemo(batch_size=-1), "batch size must be"),
        (TableDemo(seed=-1), "seed must be"),
        (TableDemo(lr=0.0), "learning rate must be a number above 0; it is 0.0"),
        (TableDemo(lr=float("nan")), "learning rate must be"),
        (TableDemo(optimizer="adamm"), r"no optimizer 'adamm'[\s\S]*Did you mean 'adam'"),
        (TableDemo(activation="cosine"), r"no activation 'cosine'[\s\S]*Known: relu, tanh, sigmoid"),
        (TableDemo(test=2.0), "test part must be a fraction"),
    ],
)
def test_what_cannot_be_is_said_before_a_run_is_made(
    demo: TableDemo, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=why):
        train(demo, dir=tmp_path / "runs", engine="numpy")
    assert not (tmp_path / "runs").exists()


def test_engine_and_pace_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'jax'"):
        train(TableDemo(), dir=tmp_path / "runs", engine="jax")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pace must be"):
        train(TableDemo(), dir=tmp_path / "runs", pace=-1)
    assert not (tmp_path / "runs").exists()


def test_without_pytorch_numpy_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert train(TableDemo(epochs=1), dir=tmp_path).engine == "numpy"
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.delitem(__import__("sys").modules, "epochal.demos.torch_network", raising=False)
    with pytest.raises(MissingExtraError, match="PyTorch is not installed"):
        train(TableDemo(epochs=1), dir=tmp_path, engine="torch")


def test_pace_is_the_least_time_of_an_epoch(tmp_path: Path) -> None:
    start = time.monotonic()
    train(TableDemo(epochs=3, hidden=()), dir=tmp_path, engine="numpy", pace=0.15)
    assert time.monotonic() - start >= 0.6


def test_a_training_that_is_broken_off_is_kept(tmp_path: Path) -> None:
    started: list[epochal.Run] = []

    def stop(progress: Progress) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TableDemo(), dir=tmp_path, engine="numpy", on_progress=stop, on_start=started.append)
    path = started[0].path
    assert path is not None
    run = StoredRun(path)
    assert run.info().status == "stopped"
    assert len(run.scalars(["loss"])["loss"].v) == 4


def test_a_seed_that_was_chosen_is_in_the_name(tmp_path: Path) -> None:
    names = [train(TableDemo(epochs=1, seed=seed), dir=tmp_path, engine="numpy").name for seed in (0, 1)]
    assert names == ["iris-12-12", "iris-12-12 seed 1"]
    assert epochal.open(tmp_path).run("iris/iris-12-12 seed 1").config["seed"] == 1


def test_a_training_that_runs_away_is_recorded_without_a_word(engine: Engine, tmp_path: Path) -> None:
    trained = train(TableDemo(epochs=3, lr=1e30, optimizer="sgd"), dir=tmp_path, engine=engine)
    assert np.isnan(trained.metrics["loss"])
    assert StoredRun(trained.path).summaries()["loss"].nan == 3
