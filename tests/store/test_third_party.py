"""A run is open formats only: other programs read it without this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from epochal.store.compact import compact
from tests.store.helpers import begin, run_child, statistics_columns

STEPS = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = begin(tmp_path_factory.mktemp("root"), run_id="r")
    for step in range(STEPS):
        writer.log(
            {"loss": 1 / (step + 1), "träin/acc": float("nan") if step == 7 else step / STEPS}, step, 1.7e9 + step
        )
        if step % 100 == 99:
            assert writer.flush()
    for step in (0, 100):
        writer.add_statistics(statistics_columns(["param/0.weight", "grad/0.weight"], step))
        tensors = {"0.weight": np.arange(12, dtype=np.float32).reshape(3, 4) + step, "n": np.array(step)}
        writer.add_snapshot("params", tensors, step=step, epoch=step / 100)
    writer.finish()
    return writer.path


def without_epochal(code: str, *arguments: object) -> str:
    """Run code where this package cannot be imported."""
    block = "import sys; sys.modules['epochal'] = None\n"
    return run_child(block + code, *arguments).strip()


def test_pandas(run: Path) -> None:
    code = """
import glob, sys, pyarrow as pa, pandas as pd
files = sorted(glob.glob(sys.argv[1] + "/w/*/scalars/*.arrows"))
frame = pd.concat([pa.ipc.open_stream(open(f, "rb")).read_pandas() for f in files])
loss = frame[frame["name"] == "loss"]
assert loss["v"].tolist() == [1 / (s + 1) for s in loss["step"]]
assert frame["v"].isna().sum() == 1 and set(frame["name"]) == {"loss", "träin/acc"}
print(len(frame))
"""
    assert without_epochal(code, run) == str(2 * STEPS)


def test_polars(run: Path) -> None:
    code = """
import glob, sys, polars as pl
frame = pl.concat([pl.read_ipc_stream(f) for f in sorted(glob.glob(sys.argv[1] + "/w/*/scalars/*.arrows"))])
loss = frame.filter(pl.col("name").cast(pl.String) == "loss")
assert loss["v"].to_list() == [1 / (s + 1) for s in loss["step"].to_list()]
stats = pl.read_ipc_stream(glob.glob(sys.argv[1] + "/w/*/stats/*.arrows")[0])
assert stats["counts"].to_list()[0][:3] == [0, 1, 2], stats
print(frame.height)
"""
    assert without_epochal(code, run) == str(2 * STEPS)


def test_duckdb(run: Path) -> None:
    code = """
import glob, sys, duckdb, pyarrow as pa
scalars = pa.concat_tables([pa.ipc.open_stream(open(f, "rb")).read_all().unify_dictionaries()
    for f in sorted(glob.glob(sys.argv[1] + "/w/*/scalars/*.arrows"))])
select = "select name, count(*), min(step), max(step), min(v) from scalars group by name order by name"
rows = duckdb.sql(select).fetchall()
assert rows[0] == ("loss", 300, 0, 299, 1 / 300), rows
stats = pa.ipc.open_stream(open(glob.glob(sys.argv[1] + "/w/*/stats/*.arrows")[0], "rb")).read_all()
counted = duckdb.sql("select list_sum(counts) from stats where name = 'param/0.weight' and step = 0").fetchall()
assert counted == [(2016,)]
print(sum(r[1] for r in rows))
"""
    assert without_epochal(code, run) == str(2 * STEPS)


def test_safetensors(run: Path) -> None:
    code = """
import glob, sys
from safetensors import safe_open
from safetensors.numpy import load_file
first, second = sorted(glob.glob(sys.argv[1] + "/w/*/params/*.safetensors"))
tensors = load_file(second)
assert tensors["0.weight"].tolist() == [[100 + 4 * i + j for j in range(4)] for i in range(3)]
assert tensors["n"].shape == () and tensors["n"] == 100
with safe_open(second, "np") as file:
    assert file.metadata() == {"format": "pt", "step": "100", "epoch": "1.0"}, file.metadata()
    assert file.get_slice("0.weight")[1:2, :].tolist() == [[104, 105, 106, 107]]
print(second[-27:])
"""
    assert without_epochal(code, run) == "step-0000000100.safetensors"


@pytest.mark.torch
def test_torch_loads_a_snapshot_as_a_state_dict(run: Path) -> None:
    pytest.importorskip("torch")
    code = """
import glob, sys
from safetensors.torch import load_file
tensors = load_file(sorted(glob.glob(sys.argv[1] + "/w/*/params/*.safetensors"))[0])
print(tensors["0.weight"].shape, tensors["0.weight"].dtype)
"""
    assert without_epochal(code, run) == "torch.Size([3, 4]) torch.float32"


def test_duckdb_reads_a_compacted_run_by_itself(tmp_path: Path) -> None:
    writer = begin(tmp_path, run_id="r")
    for step in range(STEPS):
        writer.log({"loss": 1 / (step + 1)}, step)
    writer.finish()
    compact(writer.path)
    code = """
import sys, duckdb
files = f"'{sys.argv[1]}/compact/*.parquet'"
print(duckdb.sql(f"select count(*), min(v) = 1/300 from {files} where name = 'loss'").fetchall())
"""
    assert without_epochal(code, writer.path) == "[(300, True)]"
