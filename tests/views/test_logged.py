"""Logged histograms stand beside the network's tensors; other ranks' tensors do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import epochal
from epochal.record import init
from epochal.store import StoredRun
from epochal.views.detail import read_tensors
from epochal.views.histograms import make_histograms


def test_logged_histograms_are_listed_under_their_whole_names(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=300)
    with init("p", dir=tmp_path, strict=True, system=False, console=False) as run:
        run.watch({"w": np.ones((2, 3))}, snapshots=None)
        for step in range(3):
            run.log(
                {"noise/level": epochal.Histogram(values * (step + 1)), "param": epochal.Histogram([1.0])}, step=step
            )
            run.snapshot()
    assert run.path is not None
    stored = StoredRun(run.path)
    found = {t.series: t for t in read_tensors(stored)}
    assert {(t.series, t.kind, t.name) for t in found.values()} == {
        ("param/w", "param", "w"),
        ("noise/level", "hist", "noise/level"),
        ("param", "hist", "param"),
    }
    logged = found["noise/level"]
    assert (logged.rows, logged.frames, logged.shape) == (3, 0, None)
    assert logged.change == pytest.approx(abs(3 * values.mean() - values.mean()) / values.std())
    stack = make_histograms(stored, "noise/level")
    assert stack.steps.tolist() == [0, 1, 2]
    assert stack.counts[2].tolist() == np.histogram(values * 3, 64)[0].tolist()


def test_other_ranks_tensors_are_left_to_rank_0(tmp_path: Path) -> None:
    from tests.store.helpers import begin, statistics_columns

    for rank in (0, 1):
        writer = begin(tmp_path, run_id="r", resume="allow", rank=rank)
        writer.add_statistics(statistics_columns(["param/w", "grad/w", "act/l", "spread"], 0))
        writer.finish()
    names = [t.series for t in read_tensors(StoredRun(tmp_path / "p" / "r"))]
    assert {"param/w", "grad/w", "act/l", "spread"} <= set(names)
    assert not [n for n in names if n.startswith("rank") and "/param/" in n]
