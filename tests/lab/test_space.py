from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.errors import UsageError
from epochal.lab.space import parse_space

SPACE = {
    "rate": {"log_uniform": [1e-4, 1e-1]},
    "momentum": {"uniform": [0.5, 0.99], "when": {"optimiser": ["sgd", "rmsprop"]}},
    "optimiser": ["adam", "sgd", "rmsprop"],
    "dense": {"int": [16, 256], "log": True},
    "layers": {"int": [2, 8], "step": 3},
    "filters": {"value": [8, 16]},
    "share": {"uniform": [0.0, 0.5], "step": 0.25},
}


def test_a_grid_is_the_product_the_last_one_fastest() -> None:
    points = list(parse_space({"a": [1, 2], "b": ["x", "y"], "c": 5}).grid())
    assert points == [{"a": a, "b": b, "c": 5} for a in (1, 2) for b in ("x", "y")]


def test_a_condition_takes_a_parameter_out() -> None:
    space = parse_space(
        {"momentum": {"choice": [0.5, 0.9], "when": {"optimiser": "sgd"}}, "optimiser": ["adam", "sgd"]}
    )
    assert list(space.grid()) == [
        {"optimiser": "adam"},
        {"optimiser": "sgd", "momentum": 0.5},
        {"optimiser": "sgd", "momentum": 0.9},
    ]


@given(st.integers(0, 2**32 - 1))
def test_points_lie_in_the_space(seed: int) -> None:
    for point in parse_space(SPACE).sample(3, seed=seed):
        assert 1e-4 <= point["rate"] <= 1e-1
        assert ("momentum" in point) == (point["optimiser"] != "adam")
        assert type(point["dense"]) is int
        assert 16 <= point["dense"] <= 256
        assert point["layers"] in (2, 5, 8)
        assert point["filters"] == [8, 16]
        assert point["share"] in (0.0, 0.25, 0.5)


def test_more_points_begin_with_the_same_ones() -> None:
    space = parse_space(SPACE)
    assert space.sample(20, seed=3)[:5] == space.sample(5, seed=3)
    assert space.sample(5, seed=3) != space.sample(5, seed=4)


def test_a_small_space_is_drawn_without_repetition() -> None:
    points = parse_space({"a": [1, 2, 3], "b": [True, False]}).sample(100, seed=0)
    assert len(points) == 6
    assert len({repr(point) for point in points}) == 6


def test_draws_are_as_likely_as_they_should_be() -> None:
    """Against the exact shares of each distribution, within four standard errors."""
    rng = np.random.default_rng(0)
    space = parse_space({"log": {"log_uniform": [1.0, 1000.0]}, "int": {"int": [1, 4]}, "logint": {"log_int": [1, 8]}})
    draws = [space.draw(rng) for _ in range(6000)]

    def share(name: str, below: float) -> float:
        return float(sum(draw[name] < below for draw in draws)) / len(draws)

    def near(found: float, exact: float) -> bool:
        return abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / len(draws))

    assert near(share("log", 10.0), 1 / 3)
    assert near(share("int", 2), 1 / 4)
    assert near(share("logint", 2), math.log(1.5 / 0.5) / math.log(8.5 / 0.5))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"uniform": [1, 0]}, "rate: uniform goes from 1 to 0"),
        ({"log_uniform": [0, 1]}, "rate: log_uniform begins at 0"),
        ({"unifrom": [0, 1]}, "'unifrom' is not known here\n  hint: did you mean 'uniform'"),
        ({"uniform": [0, 1], "choice": [1]}, "two rules at once"),
        ({"when": {"a": 1}}, "no rule"),
        ({"choice": []}, "a choice needs a list"),
        ({"int": [0.5, 3]}, "ends that are not whole"),
        ({"uniform": [0, 1], "step": -1}, "step is -1"),
        ({"uniform": [0]}, "not two numbers"),
        ({"uniform": [0, 1], "when": {"rat": 1}}, "depends on 'rat', which the space does not have"),
        ({"uniform": [0, 1], "when": {"rate": 1}}, "a circle"),
    ],
)
def test_what_is_wrong_is_said(rule: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_space({"rate": rule})
    assert words in str(caught.value)


def test_no_grid_is_made_of_a_range() -> None:
    with pytest.raises(UsageError, match="rate is a range"):
        next(parse_space({"rate": {"uniform": [0, 1]}}).grid())
