"""What `epochal show` says of watching."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from epochal.cli.watched import watched_text
from epochal.record import init
from tests.cli.command import epochal, json_of


def test_how_often_and_at_what_cost() -> None:
    told: dict[str, float | None] = {
        "looks": 1200,
        "period": 12,
        "share": 0.0193,
        "budget": 0.02,
        "snapshots": 40,
        "thinned": 3,
        "skipped": 2,
    }
    assert watched_text(told) == (
        "1,200 looks, one every 12 steps · 1.930 % of the time (budget 2 %) · 40 snapshots, 3 of them thinned · "
        "2 looks left out"
    )
    told |= {"period": 1, "budget": None, "thinned": 0, "skipped": 0}
    assert watched_text(told) == "1,200 looks, one each step · 1.930 % of the time (no budget) · 40 snapshots"


def test_why_it_cost_more_than_the_budget() -> None:
    told: dict[str, float | None] = {
        "looks": 150,
        "asked": 150,
        "period": 1,
        "share": 0.25,
        "budget": 0.02,
        "caller_seconds": 0.05,
        "writer_seconds": 0.2,
    }
    assert "0.2500 s, over the budget because each epoch and period asked for is looked at" in watched_text(told)
    told["asked"] = 10
    assert "over the budget because first looks come in advance" in watched_text(told)
    told["share"] = 0.02
    assert "over the budget" not in watched_text(told)


def test_nothing_is_said_where_nothing_was_watched_or_it_was_said_otherwise() -> None:
    assert watched_text({}) == ""
    assert watched_text({"looks": "many", "period": 1, "share": 0.1}) == ""


def test_show_tells_it(tmp_path: Path) -> None:
    with init("p", dir=tmp_path, strict=True) as run:
        run.watch({"w": np.zeros(50)}, disk=5_000)
        for epoch in range(40):
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
    text = epochal("show", "latest", "--dir", tmp_path).stdout
    assert "watch  40 looks, one each step · " in text
    assert "snapshots were thinned to stay under 4.883 KiB" in text
    told = json_of("show", "latest", "--dir", tmp_path)["recorder"]
    assert (told["looks"], told["asked"], told["disk_limit"], told["parameters"]) == (40, 40, 5_000, 50)
    assert told["disk_bytes"] <= 5_000
    assert "notice" not in epochal("ls", "--dir", tmp_path).stdout
