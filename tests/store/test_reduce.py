"""Series made of several ranks', against plain Python; and how ranks stand side by side in one run."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.store import ScalarSeries, StoredRun
from epochal.store.reduce import reduce_ranks
from tests.store.helpers import begin

ROWS = st.lists(st.tuples(st.integers(0, 12), st.floats(-1e6, 1e6) | st.just(math.nan)), max_size=12)


def series(rows: list[tuple[int, float]], rank: int) -> ScalarSeries:
    rows = sorted(rows, key=lambda row: row[0])
    steps = np.array([step for step, _ in rows], np.int64)
    t = np.array([100.0 * rank + place for place in range(len(rows))], np.float64)
    return ScalarSeries("loss", steps, t, np.array([v for _, v in rows], np.float64))


@settings(max_examples=200, deadline=None)
@given(ranks=st.lists(ROWS, min_size=2, max_size=4), alike=st.booleans())
def test_a_reduced_series_is_what_plain_python_finds(ranks: list[list[tuple[int, float]]], alike: bool) -> None:
    if alike:  # all ranks at the same steps, as nearly always
        ranks = [[(step, v + place) for step, v in ranks[0]] for place in range(len(ranks))]
    every = [series(rows, place) for place, rows in enumerate(ranks)]
    last = [{int(s): (float(t), float(v)) for s, t, v in zip(one.steps, one.t, one.v, strict=True)} for one in every]
    steps = sorted({step for one in last for step in one})
    shared = [step for step in steps if sum(step in one for one in last) > 1]
    for how in ("mean", "min", "max"):
        found = reduce_ranks("ranks/x/loss", how, every)
        assert found.steps.tolist() == shared
        for place, step in enumerate(shared):
            values = [one[step][1] for one in last if step in one]
            assert found.t[place] == max(one[step][0] for one in last if step in one)
            if any(map(math.isnan, values)):
                assert math.isnan(found.v[place]), "a NaN of any rank is seen"
            else:
                expected = fmean(values) if how == "mean" else min(values) if how == "min" else max(values)
                assert found.v[place] == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_ranks_that_share_no_step_make_no_reduced_series(tmp_path: Path) -> None:
    writers = [begin(tmp_path, run_id="r", rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(10):
        writers[step % 2].log({"loss": 1.0}, step)
    run = StoredRun(writers[0].path)
    assert list(run.scalars()) == ["loss", "rank1/loss"]
    writers[1].log({"loss": 3.0}, 4)
    assert run.scalars()["ranks/mean/loss"].v.tolist() == [2.0]
    assert run.summaries()["ranks/mean/loss"].n == 1
    for writer in writers:
        writer.finish()
    assert StoredRun(run.path).scalars().keys() == run.scalars().keys()


def test_names_that_ranks_would_have_are_told_apart(tmp_path: Path) -> None:
    """Rank 0 logs series that are called as another rank's, or a mean, would be."""
    writers = [begin(tmp_path, run_id="r", rank=rank, world_size=2) for rank in (0, 1)]
    writers[0].log({"loss": 1.0, "rank1/loss": 7.0, "ranks/mean/loss": 8.0}, 0)
    writers[1].log({"loss": 3.0}, 0)
    for writer in writers:
        writer.finish()
    found = {name: s.v.tolist() for name, s in StoredRun(writers[0].path).scalars().items()}
    assert found == {
        "loss": [1.0],
        "rank1/loss": [7.0],
        "rank1/loss~": [3.0],
        "ranks/mean/loss": [8.0],
        "ranks/min/loss": [1.0],
        "ranks/max/loss": [3.0],
    }


def test_epochs_and_the_machine_are_not_reduced_and_better_holds_for_all_ranks(tmp_path: Path) -> None:
    writers = [begin(tmp_path, run_id="r", rank=rank, world_size=2) for rank in (0, 1)]
    for writer in writers:
        writer.log({"acc": 0.5, "epoch": 1.0, "system/cpu": 3.0}, 0)
    writers[0].define("acc", better="max")
    for writer in writers:
        writer.finish()
    summaries = StoredRun(writers[0].path).summaries()
    assert [name for name in summaries if name.startswith("ranks/")] == [
        "ranks/max/acc",
        "ranks/mean/acc",
        "ranks/min/acc",
    ]
    assert {name: s.better for name, s in summaries.items() if name.endswith("acc")} == dict.fromkeys(
        ["acc", "rank1/acc", "ranks/max/acc", "ranks/mean/acc", "ranks/min/acc"], "max"
    )


def test_the_status_of_a_run_of_several_ranks(tmp_path: Path) -> None:
    writers = [begin(tmp_path, run_id="r", rank=rank, world_size=3) for rank in (0, 1, 2)]
    run = StoredRun(writers[0].path)
    assert run.info().ranks == 3
    writers[0].finish()
    assert run.info().status == "running", "two still live"
    writers[1].finish("stopped", error="KeyboardInterrupt")
    writers[2].finish()
    assert run.info().status == "finished", "as rank 0 ended"
    again = begin(tmp_path, run_id="r", rank=1, world_size=3, resume="must")
    assert run.info().status == "running"
    again.finish("failed", error="boom")
    assert (run.info().status, run.info().error) == ("failed", "rank 1: boom")
