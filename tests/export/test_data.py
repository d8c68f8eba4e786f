"""Tables, read back by pandas, polars and pyarrow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from epochal import export
from epochal.store import StoredRun
from tests.workspace.recording import Recorded


def write(made: Recorded, path: Path, **options: str) -> Path:
    export.write(StoredRun(made.writer.path), to=path, **options)  # type: ignore[arg-type]
    return path


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_scalars_are_exactly_what_was_logged(recorded: Recorded, tmp_path: Path, suffix: str) -> None:
    frame = read(write(recorded, tmp_path / f"s.{suffix}"))
    assert list(frame.columns) == ["name", "step", "epoch", "t", "v"]
    logged = {name: rows for name, rows in recorded.scalars.items() if name != "epoch"}
    assert len(frame) == sum(map(len, logged.values()))
    for name, rows in logged.items():
        mine = frame[frame["name"] == name]
        assert mine["step"].tolist() == [s for s, _ in rows]
        assert mine["epoch"].tolist() == [s / 10 for s, _ in rows]
        np.testing.assert_array_equal(mine["v"].to_numpy(np.float64), [v for _, v in rows])


def test_polars_reads_the_tables_too(recorded: Recorded, tmp_path: Path) -> None:
    frame = pl.read_parquet(write(recorded, tmp_path / "s.parquet"))
    loss = frame.filter(pl.col("name").cast(pl.String) == "loss")
    assert loss["v"].to_list() == [v for _, v in recorded.scalars["loss"]]
    text = pl.read_csv(write(recorded, tmp_path / "s.csv", layers="loss"))
    assert text["v"].to_list() == [v for _, v in recorded.scalars["loss"]]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_weights_are_bit_identical(recorded: Recorded, tmp_path: Path, suffix: str) -> None:
    path = write(recorded, tmp_path / f"w.{suffix}", what="weights")
    frame = read(path)
    assert list(frame.columns) == ["step", "epoch", "layer", "tensor", "row", "col", "value"]
    assert len(frame) == 5 * (48 + 12 + 36 + 3)
    for (step, name), rows in frame.groupby(["step", "tensor"], observed=True):
        truth = recorded.params[int(step)][str(name)]
        back = np.zeros((truth.shape[0], int(truth.size / truth.shape[0])), np.float32)
        back[rows["row"], rows["col"]] = rows["value"].to_numpy(np.float32)
        assert back.tobytes() == truth.tobytes()
        assert set(rows["layer"].astype(str)) == {str(name).split(".")[0]}
        assert set(rows["epoch"]) == {int(step) / 10}


def test_biases_gradients_and_steps(recorded: Recorded, tmp_path: Path) -> None:
    biases = read(write(recorded, tmp_path / "b.csv", what="biases", steps="last"))
    assert set(biases["tensor"]) == {"0.bias", "2.bias"}
    assert set(biases["step"]) == {40}
    gradients = read(write(recorded, tmp_path / "g.parquet", what="gradients", layers="2", steps="0,10"))
    assert set(gradients["tensor"]) == {"2.weight", "2.bias"}
    assert sorted(set(gradients["step"])) == [0, 10]
    first = gradients[(gradients["step"] == 0) & (gradients["tensor"] == "2.bias")]["value"].to_numpy(np.float32)
    np.testing.assert_array_equal(first, recorded.params[0]["2.bias"] * np.float32(0.1))


def test_histograms_are_numpys(recorded: Recorded, tmp_path: Path) -> None:
    frame = read(write(recorded, tmp_path / "h.parquet", what="histogram"))
    assert list(frame.columns) == ["step", "epoch", "tensor", "bin", "lo", "hi", "count"]
    mine = frame[(frame["step"] == 20) & (frame["tensor"] == "0.weight")]
    counts, edges = np.histogram(recorded.params[20]["0.weight"].astype(np.float64).ravel(), 64)
    np.testing.assert_array_equal(mine["count"], counts)
    np.testing.assert_allclose(mine["lo"], edges[:-1], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(mine["hi"], edges[1:], rtol=1e-15, atol=1e-15)


def test_parquet_has_few_large_row_groups(recorded: Recorded, tmp_path: Path) -> None:
    assert pq.ParquetFile(write(recorded, tmp_path / "w.parquet", what="weights")).num_row_groups == 1
