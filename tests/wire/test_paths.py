from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.errors import NotFoundError, UsageError
from epochal.wire import queries
from epochal.wire.paths import PARAMETERS, parse_path, path_of

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "wire_paths.json").read_text(encoding="utf-8"))
"""Read by the Studio's tests too: both languages must spell an address the same."""


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: c["path"][:60])
def test_addresses_are_spelled_as_agreed(case: dict[str, Any]) -> None:
    assert path_of(case["what"], case["run"], version=case["version"], **case["parameters"]) == case["path"]


def test_the_golden_file_has_every_question() -> None:
    assert {case["what"] for case in GOLDEN} == set(PARAMETERS)


@given(project=st.text(min_size=1, max_size=20), run_id=st.text(min_size=1, max_size=20))
def test_an_address_leads_back_to_its_run(project: str, run_id: str) -> None:
    if "/" in project + run_id or any(0xD800 <= ord(c) < 0xE000 for c in project + run_id):
        return
    for what in ("run", "scalars", "graph"):
        assert parse_path(path_of(what, f"{project}/{run_id}")) == (what, project, run_id)


@pytest.mark.parametrize(
    "path", ["", "/", "/api/v1", "/api/v2/runs", "/api/v1/runs/a", "/api/v1/runs/a/b/c", "/api/v1/runs/a/b/run", "/x"]
)
def test_other_addresses_lead_nowhere(path: str) -> None:
    with pytest.raises(NotFoundError):
        parse_path(path)


@pytest.mark.parametrize("run", ["", "a", "a/", "/b", "a/b/c"])
def test_a_run_is_named_by_project_and_id(run: str) -> None:
    with pytest.raises(UsageError, match="project/run_id"):
        path_of("graph", run)


def test_unknown_questions_and_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match="no question"):
        path_of("weather")
    with pytest.raises(UsageError, match="no parameter 'colour'"):
        path_of("frames", "a/b", series="param/x", colour="red")


@pytest.mark.parametrize(
    ("what", "model"),
    [
        ("scalars", queries.ScalarsQuery),
        ("frames", queries.FramesQuery),
        ("histograms", queries.HistogramsQuery),
        ("statistics", queries.StatisticsQuery),
        ("export", queries.ExportQuery),
    ],
)
def test_parameters_and_defaults_are_those_of_the_query_models(what: str, model: type[queries.PlainQuery]) -> None:
    fields = {name: field for name, field in model.model_fields.items() if name != "v"}
    assert set(PARAMETERS[what]) == set(fields)
    for name, default in PARAMETERS[what].items():
        if not fields[name].is_required():
            assert (list(default) if default == () else default) == fields[name].default
