from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from epochal.store.library import Library
from epochal.views import detail
from epochal.views.detail import ChangeCache, read_detail, read_tensors
from epochal.views.table import RunsTable
from tests.server.recorded import begin, statistics


def test_changes_of_a_running_run_are_brought_up_to_date_a_few_at_a_time(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    names = [f"param/w{i}" for i in range(10)]
    try:
        for step in range(3):
            writer.add_statistics(statistics(names, step, [np.array([0.0, 1.0]) + step] * 10))
        writer.flush()
        run, known = Library(tmp_path).runs()[0], ChangeCache()
        for done in (4, 8, 10):
            changes = [t.change for t in read_tensors(run, changes=known, most=4)]
            assert sum(c is not None for c in changes) == done
        assert changes == [4.0] * 10  # the mean moved by 2, the first standard deviation is a half
        writer.add_statistics(statistics(names, 3, [np.array([0.0, 1.0]) + 5] * 10))
        writer.flush()
        assert [t.change for t in read_tensors(run, changes=known, most=4)].count(10.0) == 4
        assert [t.change for t in read_tensors(run)] == [10.0] * 10
    finally:
        writer.finish()


def test_an_epoch_logged_at_each_step_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    for step in range(5000):
        writer.append("epoch", step, time.time(), step / 1000)
    writer.append("epoch", 5000, time.time(), float("nan"))
    writer.finish()
    library = Library(tmp_path)
    table = RunsTable(library)
    run = library.runs()[0]
    facts = read_detail(run, table.one(run))
    assert len(facts.epochs) == detail._EPOCHS_AT_MOST
    assert (facts.epoch_steps[0], facts.epoch_steps[-1], facts.epochs[-1]) == (0, 4999, 4.999)
    assert all(epoch == step / 1000 for step, epoch in zip(facts.epoch_steps, facts.epochs, strict=True))


def test_a_damaged_graph_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    writer = begin(tmp_path)
    writer.add_snapshot("params", {"a.weight": np.ones((2, 3), np.float32)}, step=0)
    writer.put_file("network/graph.json", b"{")
    writer.finish()
    library = Library(tmp_path)
    run = library.runs()[0]
    facts = read_detail(run, RunsTable(library).one(run))
    assert [notice.code for notice in facts.notices] == ["damaged"]
    assert not facts.graph
    assert [layer.layer for layer in facts.layers] == ["a"]
