from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from epochal.lab import Lab
from epochal.store import read_lab
from tests.lab.runner_checks import HERE

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'epochal[optuna]'")
from epochal.lab.propose import Proposing, Pruning
from epochal.lab.space import parse_space

SPACE: dict[str, Any] = {
    "x": {"uniform": [-5.0, 5.0]},
    "kind": ["a", "b"],
    "sizes": {"choice": [[8], [8, 16]], "when": {"kind": "a"}},
    "n": {"int": [1, 9]},
}


def worth(point: dict[str, Any]) -> float:
    return float((point["x"] - 1.5) ** 2) + (0.0 if point["kind"] == "a" else 3.0)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_proposals_lie_in_the_space(sampler: str) -> None:
    made = Proposing(parse_space(SPACE), sampler=sampler, directions=["min"], seed=0)
    for number in range(12):
        point = made.propose(number)
        assert -5 <= point["x"] <= 5
        assert ("sizes" in point) == (point["kind"] == "a")
        assert point.get("sizes") in (None, [8], [8, 16])
        assert type(point["n"]) is int
        made.tell(number, [worth(point)] if number % 4 else None)


def test_tpe_finds_more_than_chance() -> None:
    """The mean of the last proposals against that of points at random, on a function whose best is known."""
    space = parse_space(SPACE)
    made = Proposing(space, sampler="tpe", directions=["min"], seed=1)
    found = []
    for number in range(50):
        point = made.propose(number)
        found.append(worth(point))
        made.tell(number, [found[-1]])
    random.seed(0)
    chance = [worth(point) for point in space.sample(200, seed=5)]
    assert sum(found[-20:]) / 20 < 0.5 * sum(chance) / len(chance)


def test_what_came_of_points_before_counts() -> None:
    space = parse_space(SPACE)
    known = space.sample(60, seed=2)
    made = Proposing(space, sampler="tpe", directions=["min"], seed=1)
    for point in known:
        made.remember(point, [worth(point)])
    made.remember({"x": 0.0, "kind": "c"}, [-100.0])  # not of this space: passed by
    first = [worth(made.propose(number)) for number in range(10)]
    assert sum(first) / 10 < 0.5 * sum(map(worth, known)) / len(known)


def test_a_pruner_ends_what_is_behind() -> None:
    pruning = Pruning(pruner="median", direction="max")
    for number in range(6):
        assert not pruning.report(number, [(step, 0.5 + step / 100) for step in range(10)])
        pruning.done(number, 0.6)
    assert pruning.report(6, [(0, 0.1), (1, 0.1)])
    assert not pruning.report(7, [(0, 0.9), (1, 0.9)])


def test_a_lab_asks_as_it_goes_and_remembers_when_it_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)

    def made(count: int) -> Lab:
        return Lab(
            "asks",
            train="tests.lab.trainings:curve",
            space={"rate": {"uniform": [0.1, 0.9]}},
            parameters={"epochs": 1},
            objective="final",
            mode="min",
            sampler="tpe",
            repeats=2,
            budget={"trials": count},
        )

    result = made(3).run(dir=tmp_path, jobs=2)
    assert [(t.trial.configuration, t.trial.repeat, t.status) for t in result.trials] == [
        (configuration, repeat, "finished") for configuration in range(3) for repeat in range(2)
    ]
    rates = [t.trial.parameters["rate"] for t in result.trials]
    assert rates[0] == rates[1] != rates[2]
    more = made(4).run(dir=tmp_path, resume=True)
    assert more.info.id == result.info.id
    assert [t.trial.number for t in more.trials] == list(range(8))
    assert more.trials[:6] == result.trials
    info, states = read_lab(tmp_path)
    assert (len(info.trials), states) == (8, list(more.trials))


def test_a_lab_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    good = [{"rate": 0.1, "epochs": 3}] * 5
    bad = {"rate": 0.99, "epochs": 400, "sleep": 0.05}
    result = Lab("prunes", train="tests.lab.trainings:curve", trials=[*good, bad], pruner="median").run(dir=tmp_path)
    assert [t.status for t in result.trials] == ["finished"] * 5 + ["stopped"]
    assert result.trials[5].error == "pruned: val/accuracy was behind that of other trials"
    assert not result.trials[5].resumable
