from __future__ import annotations

from typing import Any

import pytest

from epochal.facts import RunInfo, SeriesSummary
from epochal.views.query import parse_query
from epochal.views.runs import RunFacts, filter_runs, flat_config, matches, total_epochs


def summary(name: str, last: float, low: float, high: float) -> SeriesSummary:
    return SeriesSummary(
        name=name,
        n=10,
        last=last,
        last_step=9,
        first_step=0,
        min=low,
        min_step=1,
        max=high,
        max_step=2,
        mean=0.5,
        better="max" if name == "accuracy" else None,
    )


def run(**changes: Any) -> RunFacts:
    facts: dict[str, Any] = {
        "run_id": "20261121-033412-k7f2qa",
        "project": "iris",
        "name": "Brave Falcon",
        "path": "/x",
        "created": 1_795_000_000.0,
        "ended": 1_795_000_060.0,
        "status": "finished",
        "config": {"lr": 0.05, "optimizer": {"name": "Adam"}, "bias": True, "hidden": [12, 12]},
        "tags": ("best", "second-try"),
    }
    return RunFacts(
        info=RunInfo(**{**facts, **changes}),
        summaries={
            "val_loss": summary("val_loss", 0.25, 0.2, 1.1),
            "accuracy": summary("accuracy", 0.9, 0.1, 0.97),
            "name": summary("name", 5.0, 5.0, 5.0),
        },
        version="1",
    )


@pytest.mark.parametrize(
    "query",
    [
        "",
        "falcon",
        "IRIS k7f2",
        "iris/2026",
        "best",
        "lr>0.01 and val_loss<0.3",
        "lr=5e-2",
        "status=finished",
        "status!=crashed",
        "tag:best",
        "tag=second-try",
        "tag!=third",
        "not tag:third",
        "optimizer/name=adam",
        "optimizer.name=adam",
        "config.optimizer.name:ada",
        "bias=true",
        "hidden=12",
        "min.val_loss<=0.2",
        "best.accuracy>=0.97",
        "last.accuracy<0.91 max.accuracy>0.96",
        "last.name=5",
        "seconds=60",
        "created>2026-01-01 created<2027-01-01",
        "wrong or falcon",
        "missing!=3",
        "group!=a",
    ],
)
def test_these_mean_the_run(query: str) -> None:
    assert matches(parse_query(query), run())


@pytest.mark.parametrize(
    "query",
    [
        "eagle",
        "lr>0.05",
        "lr<0.05",
        "val_loss<0.2",
        "status=crashed",
        "tag:bes",
        "tag:third",
        "missing=3",
        "missing>3",
        "missing:3",
        "name=5",
        "name>5",
        "optimizer/name>3",
        "bias=1",
        "hidden!=12",
        "hidden>3",
        "group=a",
        "group:",
        "falcon eagle",
    ],
)
def test_these_do_not(query: str) -> None:
    if query == "group:":
        query = "group:''"
    assert not matches(parse_query(query), run())


def test_nan_is_unequal_to_everything() -> None:
    lost = run(config={"lr": float("nan")})
    assert [matches(parse_query(f"lr{op}1"), lost) for op in ("=", "<", ">", "<=", ">=", "!=")] == [False] * 5 + [True]


def test_runs_keep_their_order() -> None:
    runs = [run(name="a"), run(name="b", status="failed"), run(name="c")]
    assert [r.info.name for r in filter_runs("status=finished", runs)] == ["a", "c"]


def test_configs_are_flattened_and_empty_groups_stay() -> None:
    assert flat_config({"a": {"b": {"c": 1}, "d": 2}, "e": {}, "f": [1]}) == {"a/b/c": 1, "a/d": 2, "e": {}, "f": [1]}


@pytest.mark.parametrize(
    ("config", "epochs"),
    [({"epochs": 150}, 150.0), ({"epochs": 1.5}, 1.5), ({}, None), ({"epochs": True}, None), ({"epochs": "9"}, None)],
)
def test_the_number_of_epochs_is_taken_only_from_a_number(config: dict[str, Any], epochs: float | None) -> None:
    assert total_epochs(config) == epochs
