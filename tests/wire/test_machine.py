"""The machine's numbers are never the line that stands for a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from epochal.store import Library
from epochal.views.table import RunsTable
from epochal.wire.documents import row_document
from tests.store.helpers import begin


@pytest.mark.parametrize(
    ("logged", "chosen"),
    [
        ({"zeal": 1.0, "system/cpu": 50.0}, "zeal"),
        ({"train_loss": 1.0, "system/loss": 50.0}, "train_loss"),
        ({"system/cpu": 50.0, "system/loss": 1.0}, None),
    ],
)
def test_the_line_that_stands_for_a_run(tmp_path: Path, logged: dict[str, float], chosen: str | None) -> None:
    writer = begin(tmp_path)
    for step in range(3):
        writer.log(logged, step)
    writer.finish()
    ((facts,), _) = RunsTable(Library(tmp_path)).refresh()
    document = row_document(facts)
    assert (document["spark"] or {}).get("name") == chosen
    assert document["last_step"] == (None if chosen is None else 2)
