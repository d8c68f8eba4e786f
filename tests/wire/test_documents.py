from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.facts import RunInfo, SeriesSummary
from epochal.store.library import Library
from epochal.store.table import LibraryRow
from epochal.views.runs import RunFacts, StoredSummaries
from epochal.wire import documents, schema
from epochal.wire.documents import graph_document, row_document, to_json
from tests.server.recorded import graph

INFO = RunInfo(run_id="r", project="p", name="n", path="/p/r", created=1.0, status="finished", ended=2.0)
NAMES = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(
        ["loss", "val_loss", "epoch", 'a"val_loss', ',"spark":[1],', "my loss", "\\", '"', "{", "train/loss"]
    ),
)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def summary(name: str, numbers: list[float], spark: list[float]) -> SeriesSummary:
    last, low, high, mean = numbers
    return SeriesSummary(
        name=name, n=5, last=last, last_step=4, first_step=0, min=low, min_step=1, max=high, max_step=2, mean=mean,
        nan=1, better="max", spark=tuple(spark),
    )  # fmt: skip


@settings(max_examples=300)
@given(
    found=st.dictionaries(
        NAMES, st.tuples(st.lists(NUMBERS, min_size=4, max_size=4), st.lists(st.floats(-1, 1), max_size=4)), max_size=5
    ),
    spaced=st.booleans(),
)
def test_stored_summaries_are_passed_on_as_they_would_be_read(found: dict[str, Any], spaced: bool) -> None:
    from epochal.store.summary import summary_to_json

    summaries = {name: summary(name, *parts) for name, parts in found.items()}
    written = {name: {**summary_to_json(s), "better": s.better} for name, s in summaries.items()}
    text = json.dumps(json.loads(_strict(written)), separators=None if spaced else (",", ":"), ensure_ascii=False)
    row = LibraryRow(None, INFO, "1", text.encode("utf-8", "replace"))  # type: ignore[arg-type]
    facts = RunFacts(info=INFO, summaries=StoredSummaries(row), version="1")
    document = json.loads(to_json(row_document(facts)))
    schema.RunRow.model_validate(document)
    read = json.loads(to_json(row_document(RunFacts(info=INFO, summaries=summaries, version="1"))))
    assert document["metrics"] == read["metrics"]
    for one in (document, read):
        assert (one["spark"] or {}).get("name") == (read["spark"] or {}).get("name")


def _strict(value: Any) -> bytes:
    from epochal.store.files import to_json as strict

    return strict(value)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["loss", "val_loss"], "val_loss"),
        (["accuracy", "train/loss"], "train/loss"),
        (["zeta", "my_loss", "accuracy"], "my_loss"),
        (["zeta", "accuracy"], "accuracy"),
        (["epoch"], None),
        ([], None),
    ],
)
def test_the_spark_is_of_the_series_that_says_most(names: list[str], chosen: str | None) -> None:
    summaries = {name: summary(name, [1.0] * 4, [1.0, 2.0]) for name in names}
    spark = row_document(RunFacts(info=INFO, summaries=summaries, version="1"))["spark"]
    assert (spark["name"] if spark else None) == chosen


def test_graphs_are_what_their_model_says_and_count_their_parameters() -> None:
    document = graph_document(graph())
    schema.GraphDocument.model_validate(document)
    assert (document["parameter_count"], document["layers"][1]["parameter_count"]) == (60, 60)


def test_what_json_does_not_have_is_null_or_text() -> None:
    odd = {"nan": math.nan, "inf": [math.inf, {"deep": -math.inf}], "big": 2**80, 3: "x", "half": "a\ud800"}
    assert json.loads(to_json(odd)) == {
        "nan": None, "inf": [None, {"deep": None}], "big": 2**80, "3": "x", "half": "a?",
    }  # fmt: skip
    assert json.loads(to_json({"a": math.nan})) == {"a": None}


def test_rows_of_a_real_library_are_passed_on(tmp_path: Path) -> None:
    from tests.server.recorded import begin

    writer = begin(tmp_path)
    writer.log({"loss": 1.0}, 0)
    writer.finish()
    (row,) = Library(tmp_path).rows()
    assert documents._passed_on(row.stored) is not None
