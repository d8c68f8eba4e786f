"""What earlier versions wrote opens as it did then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from epochal.store import StoredRun, WriterFolder
from epochal.store.repair import repair
from tests.store.helpers import begin, statistics_columns

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "statistics-without-dead.arrows"
"""Three looks at step 0, 1 and 2; the weight doubles at each; written before the share of dead units was kept."""


def with_earlier_statistics(root: Path) -> Path:
    """A run whose first segment of statistics is of an earlier version, the second of today's."""
    writer = begin(root)
    writer.add_statistics(statistics_columns(["param/0.weight", "new"], 3, dead=0.25))
    writer.finish()
    stats = WriterFolder(writer.folder).stats
    (stats / "00000000.arrows").rename(stats / "00000001.arrows")
    shutil.copy(GOLDEN, stats / "00000000.arrows")
    return writer.path


def check(run: StoredRun) -> None:
    table = run.statistics("param/0.weight")
    assert table.steps.tolist() == [0, 1, 2, 3]
    assert table.columns["norm"][:3].tolist() == pytest.approx([2 * np.sqrt(55), 4 * np.sqrt(55), 8 * np.sqrt(55)])
    assert table.columns["update_ratio"][1:3].tolist() == [1.0, 1.0]
    assert table.columns["seen"][:3].tolist() == [6, 6, 6]
    assert table.counts[:3].sum(axis=1).tolist() == [6, 6, 6]
    assert np.isnan(table.columns["dead"][:3].astype(float)).all()
    assert table.columns["dead"][3] == 0.25
    assert run.statistics("new").columns["dead"].tolist() == [0.25]
    assert np.isnan(run.statistics("act/0").columns["dead"].astype(float)).all()
    assert run.notices() == ()


def test_statistics_without_dead_units_are_read_beside_those_with(tmp_path: Path) -> None:
    check(StoredRun(with_earlier_statistics(tmp_path)))


def test_repair_leaves_segments_of_earlier_versions_alone(tmp_path: Path) -> None:
    path = with_earlier_statistics(tmp_path)
    repair(path)
    check(StoredRun(path))


def test_rows_of_an_earlier_version_are_known_without_their_schema(tmp_path: Path) -> None:
    path = with_earlier_statistics(tmp_path)
    segment = next(path.glob("w/*/stats/00000000.arrows"))
    data = bytearray(segment.read_bytes())
    data[0] ^= 1  # the schema begins the file
    segment.write_bytes(data)
    run = StoredRun(path)
    assert run.statistics("param/0.weight").steps.tolist() == [0, 1, 2, 3]
    assert [n.code for n in run.notices()] == ["damaged"]
