from __future__ import annotations

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

import epochal.workspace as reading
from epochal.errors import NotFoundError, UsageError
from epochal.workspace import RunReader
from tests.workspace.recording import Recorded


def reader(made: Recorded) -> RunReader:
    return reading.open(made.root).run("latest")


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def test_scalars_come_back_exactly_and_in_order(recorded: Recorded) -> None:
    table = reader(recorded).scalars()
    assert table.column_names == ["name", "step", "t", "v"]
    rows = table.to_pylist()
    assert len(rows) == sum(map(len, recorded.scalars.values()))
    for name, logged in recorded.scalars.items():
        mine = [row for row in rows if row["name"] == name]
        assert [row["step"] for row in mine] == [step for step, _ in logged]
        assert all(same(row["v"], value) for row, (_, value) in zip(mine, logged, strict=True))
        assert [row["t"] for row in mine] == [1000.0 + step for step, _ in logged]
    assert table["v"].null_count == 0


def test_pandas_and_polars_take_the_table(recorded: Recorded) -> None:
    table = reader(recorded).scalars(["loss", "val_loss"])
    frame = table.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame[frame["name"] == "loss"]["v"].tolist() == [v for _, v in recorded.scalars["loss"]]
    assert math.isinf(frame[frame["name"] == "val_loss"]["v"].tolist()[2])
    lazy = pl.from_arrow(table)
    assert isinstance(lazy, pl.DataFrame)
    assert lazy.filter(pl.col("name") == "loss")["v"].to_list() == [v for _, v in recorded.scalars["loss"]]


def test_one_name_or_none_at_all(recorded: Recorded) -> None:
    run = reader(recorded)
    assert set(run.scalars("loss")["name"].to_pylist()) == {"loss"}
    assert run.scalars([]).num_rows == 0
    with pytest.raises(NotFoundError):
        run.scalars("lost")


def test_facts_of_a_run(recorded: Recorded) -> None:
    run = reader(recorded)
    assert run.info.status == "finished"
    assert run.config == {"lr": 0.1, "epochs": 5}
    assert run.name == "iris-12"
    assert run.path == recorded.writer.path
    assert run.summary["accuracy"].better == "max"
    assert run.summary["val_loss"].nan == 1
    graph = run.graph()
    assert graph is not None
    assert [layer.layer_id for layer in graph.layers] == ["0", "2"]
    assert run.notices == ()
    assert "iris-12" in repr(run)
    assert "val_loss" in run._repr_html_()


def test_every_series_it_names_is_a_film(recorded: Recorded) -> None:
    run = reader(recorded)
    names = run.series()
    assert {"loss", "epoch", "param/0.weight", "grad/2.bias", "hist/param/0.weight"} <= set(names)
    for name in names:
        assert len(run.film(name)) == 5


def test_a_parameters_film_is_bit_identical_to_what_was_recorded(recorded: Recorded) -> None:
    run = reader(recorded)
    film = run.film("0.weight")
    assert film.name == "param/0.weight"
    assert film.axes == ("unit", "input")
    assert film.steps.tolist() == [0, 10, 20, 30, 40]
    assert film.epochs is not None
    assert film.epochs.tolist() == [0, 1, 2, 3, 4]
    for step, frame in film:
        assert frame.tobytes() == recorded.params[step]["0.weight"].tobytes()
        kept = run.parameters(step)
        assert list(kept) == list(recorded.params[step])
        assert all(kept[n].tobytes() == t.tobytes() for n, t in recorded.params[step].items())
    np.testing.assert_array_equal(run.film("grad/0.weight")[30], recorded.params[30]["0.weight"] * np.float32(0.1))


def test_a_scalars_film_keeps_the_last_value_of_a_step(running: Recorded) -> None:
    running.log(20, loss=7.0)
    film = reader(running).film("loss")
    assert film.kind == "scalar"
    assert film.steps.tolist() == [0, 10, 20]
    assert film[20] == 7.0


def test_a_histograms_film_is_numpys_histogram(recorded: Recorded) -> None:
    film = reader(recorded).film("hist/param/2.weight")
    assert film.kind == "histogram"
    assert film.edges is not None
    for i, (step, counts) in enumerate(film):
        values = recorded.params[step]["2.weight"].astype(np.float64).ravel()
        expected, edges = np.histogram(values, 64)
        np.testing.assert_array_equal(counts, expected)
        assert tuple(film.edges[i]) == (edges[0], edges[-1])


def test_a_statistic_is_a_film_too(recorded: Recorded) -> None:
    film = reader(recorded).film("norm/param/0.bias")
    expected = [np.linalg.norm(recorded.params[s]["0.bias"].astype(np.float64)) for s in film.steps.tolist()]
    np.testing.assert_allclose(film.frames, expected)


def test_steps_of_what_was_kept(recorded: Recorded) -> None:
    run = reader(recorded)
    assert run.steps() == run.steps("grads") == run.steps("epochs") == run.steps("0.bias") == [0, 10, 20, 30, 40]
    assert run.epoch(25) == 2
    assert run.epoch(-1) is None


def test_what_is_not_there_is_named_with_what_is(recorded: Recorded) -> None:
    run = reader(recorded)
    with pytest.raises(NotFoundError, match="no film '0.wieght'".replace(".", r"\.")) as caught:
        run.film("0.wieght")
    assert "0.weight" in caught.value.hint
    with pytest.raises(NotFoundError, match="no snapshot at step 12") as caught:
        run.parameters(12)
    assert "nearest is step 10" in caught.value.hint
    with pytest.raises(UsageError):
        run.parameters("first")  # type: ignore[arg-type]
    assert list(run.parameters()) == list(recorded.params[40])


def test_a_run_is_read_while_it_is_written(running: Recorded) -> None:
    run = reader(running)
    assert run.info.status == "running"
    assert run.film("loss").steps.tolist() == [0, 10, 20]
    running.log(30, epoch=3.0, loss=0.25)
    running.snapshot(30, 3.0, seed=3)
    # Without a flush: numbers come by the journal, snapshots are files of their own.
    assert run.film("loss")[30] == 0.25
    assert run.film("0.weight").steps.tolist() == [0, 10, 20, 30]
    assert run.scalars("loss").num_rows == 4


def test_a_run_without_anything_says_how_to_record(running: Recorded) -> None:
    from epochal.store import RunWriter

    empty = RunWriter.create(running.root, project="empty")
    run = reading.open(running.root).run(empty.run_id)
    assert run.series() == []
    assert run.scalars().num_rows == 0
    with pytest.raises(NotFoundError) as caught:
        run.film("loss")
    assert "run.log" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        run.parameters()
    assert "run.watch" in caught.value.hint
    empty.finish()
