"""Histograms of small networks take two bytes a bin, and others four, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from epochal.facts import HISTOGRAM_BINS
from epochal.store import StoredRun
from epochal.store.repair import repair
from tests.store.helpers import begin, statistics_columns

BOUND = 0xFFFF
Counts = np.ndarray[tuple[int, ...], np.dtype[np.uint32]]


def counts_up_to(most: int) -> Counts:
    counts = np.arange(HISTOGRAM_BINS, dtype=np.uint32)[None, :].copy()
    counts[0, 7] = most
    return counts


def record(root: Path, mosts: list[int]) -> Path:
    writer = begin(root, run_id="r")
    for step, most in enumerate(mosts):
        writer.add_statistics(statistics_columns(["param/w"], step, counts=counts_up_to(most)))
        writer.flush()
    writer.finish()
    return writer.path


def kinds(run: Path) -> list[str]:
    found = []
    for segment in sorted(run.rglob("stats/*.arrows")):
        found.append(str(pa.ipc.open_stream(segment.read_bytes()).read_all().schema.field("counts").type.value_type))
    return found


@pytest.mark.parametrize(
    ("mosts", "wanted"),
    [
        ([0, 5, BOUND], ["uint16"]),
        ([BOUND + 1, 3], ["uint32"]),
        ([3, BOUND, BOUND + 1, 2**32 - 1, 3], ["uint16", "uint32"]),
    ],
)
def test_counts_are_kept_exactly_in_as_many_bytes_as_they_need(
    tmp_path: Path, mosts: list[int], wanted: list[str]
) -> None:
    run = record(tmp_path, mosts)
    table = StoredRun(run).statistics("param/w")
    assert table is not None
    assert table.counts.dtype == np.uint32
    np.testing.assert_array_equal(table.counts, np.concatenate([counts_up_to(most) for most in mosts]))
    assert kinds(run) == wanted


@pytest.mark.parametrize("most", [9, BOUND + 1])
def test_batches_tell_their_kind_where_the_schema_is_damaged(tmp_path: Path, most: int) -> None:
    run = record(tmp_path, [9, most, most])
    for segment in run.rglob("stats/*.arrows"):
        data = bytearray(segment.read_bytes())
        data[8:60] = bytes(52)
        segment.write_bytes(data)
    table = StoredRun(run).statistics("param/w")
    assert table is not None
    np.testing.assert_array_equal(table.counts[-2:], np.concatenate([counts_up_to(most)] * 2))
    repair(run)
    again = StoredRun(run).statistics("param/w")
    assert again is not None
    np.testing.assert_array_equal(again.counts, table.counts)
