from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.picture.numbers import compact, nice_ticks, number, tick_labels, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.80123, "0.8012"),
        (-0.80123, "−0.8012"),
        (9720, "9,720"),
        (1.2345e-7, "1.235e−7"),
        (math.nan, "NaN"),
        (-math.inf, "−∞"),
        (0.0, "0"),
        (12345.678, "12,346"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_compact_has_no_zeros_at_the_end() -> None:
    assert [compact(v) for v in (0.06, -1.2, 100.0, 2.5e-9, 0.774)] == ["0.06", "−1.2", "100", "2.5e−9", "0.774"]


def test_whole_keeps_the_fraction_of_an_epoch() -> None:
    assert [whole(v) for v in (9720, 81.5, 3.0)] == ["9,720", "81.5", "3"]


def test_ticks_are_round_and_labels_have_equal_decimals() -> None:
    ticks = nice_ticks(0, 1.1, 5)
    assert ticks == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert tick_labels(ticks) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert tick_labels([-1, 0, 1]) == ["−1", "0", "1"]
    assert tick_labels([0, 2e-6, 4e-6]) == ["0", "2e−6", "4e−6"]


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(2, 10))
def test_ticks_lie_inside_increase_and_are_few(lo: float, span: float, count: int) -> None:
    hi = lo + span
    if hi <= lo or span < abs(lo) * 1e-9:
        return
    ticks = nice_ticks(lo, hi, count)
    slack = span * 1e-6
    assert all(lo - slack <= t <= hi + slack for t in ticks)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= count / 0.7 + 1
