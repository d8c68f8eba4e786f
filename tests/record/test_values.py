"""What counts as a number, and what is said of everything else."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from epochal.record.values import as_number, numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (2.5, 2.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(3.5), 3.5),
        (np.array([4]), 4.0),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (2**60 + 1, float(2**60 + 1)),
    ],
)
def test_numbers_of_any_kind_become_float64(value: object, expected: float) -> None:
    found = as_number(value)
    assert type(found) is float
    assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        "0.5",
        b"1",
        None,
        [1.0],
        (1.0,),
        {1},
        np.zeros(2),
        np.array([]),
        np.array(["a"]),
        np.array(1j),
        1j,
        object(),
        10**400,
    ],
)
def test_everything_else_is_refused(value: object) -> None:
    assert as_number(value) is None


def test_nan_and_infinities_are_numbers() -> None:
    found, refused = numbers({"a": math.nan, "b": math.inf, "c": np.float32("-inf")})
    assert not refused
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, -math.inf)


def test_nested_names_are_joined_and_keys_become_text() -> None:
    found, refused = numbers({"train": {"loss": 1, "top": {5: 0.9}}, "lr": 0.1})
    assert found == {"train/loss": 1.0, "train/top/5": 0.9, "lr": 0.1}
    assert not refused


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("hello", "a str ('hello')"),
        (None, "leave the key out"),
        (np.zeros((3, 4)), "a ndarray of shape (3, 4)"),
        ([1, 2], "a list of 2"),
        (10**400, "too large"),
        (object(), "a object"),
    ],
)
def test_a_refusal_says_what_it_is_and_what_to_do(value: Any, part: str) -> None:
    found, refused = numbers({"deep": {"bad": value}, "good": 1})
    assert found == {"good": 1.0}
    assert refused[0].name == "deep/bad"
    assert part in refused[0].message
    assert "'deep/bad'" in refused[0].message
