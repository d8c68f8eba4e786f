from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epochal.views.curves import keep_rows, make_curve

FLOATS = hnp.arrays(
    np.float64,
    st.integers(0, 400),
    elements=st.one_of(
        st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1.0])
    ),
)


@given(values=FLOATS, points=st.integers(0, 60))
def test_nothing_that_matters_is_lost_and_nothing_is_invented(values: np.ndarray, points: int) -> None:
    kept = keep_rows(values, points=points)
    assert np.all(np.diff(kept.rows) > 0)  # each row once, in the order recorded
    assert len(kept.rows) == 0 or (kept.rows[0] >= 0 and kept.rows[-1] < len(values))
    seen, finite = values[kept.rows], values[np.isfinite(values)]
    if len(finite):
        assert np.min(seen[np.isfinite(seen)]) == finite.min()
        assert np.max(seen[np.isfinite(seen)]) == finite.max()
    if len(values):
        assert (kept.rows[0], kept.rows[-1]) == (0, len(values) - 1)
    assert kept.nan == int(np.isnan(values).sum())
    assert kept.inf == int(np.isinf(values).sum())
    odd = np.flatnonzero(~np.isfinite(values))
    if points == 0 or len(odd) <= points:
        assert set(odd) <= set(kept.rows)


@given(values=FLOATS, points=st.integers(4, 60))
def test_each_stretch_keeps_its_own_extremes(values: np.ndarray, points: int) -> None:
    kept = set(keep_rows(values, points=points).rows.tolist())
    if len(values) <= points:
        return
    width = -(-len(values) // (points // 4))
    for start in range(0, len(values), width):
        part = values[start : start + width]
        here = values[[r for r in sorted(kept) if start <= r < start + width]]
        finite, shown = part[np.isfinite(part)], here[np.isfinite(here)]
        assert {start, start + len(part) - 1} <= kept
        if len(finite):
            assert (shown.min(), shown.max()) == (finite.min(), finite.max())
        assert {bool(np.isnan(v)) for v in here} >= {bool(np.isnan(v)) for v in part if np.isnan(v)}


@given(values=FLOATS, points=st.integers(1, 60))
def test_the_answer_is_bounded_whatever_the_values(values: np.ndarray, points: int) -> None:
    stretches = max(1, points // 4)
    assert len(keep_rows(values, points=points).rows) <= max(points, 4 * stretches + max(points, 6 * stretches) + 4)


@given(values=FLOATS, points=st.integers(0, 60), start=st.integers(-20, 500), end=st.integers(-20, 500))
def test_a_stretch_of_steps_is_what_it_says(values: np.ndarray, points: int, start: int, end: int) -> None:
    steps = np.arange(len(values), dtype=np.int64) * 2
    curve = make_curve("x", steps, np.asarray(steps / 10, np.float64), values, points=points, start=start, end=end)
    inside = (steps >= start) & (steps <= end)
    assert curve.n == int(inside.sum())
    assert set(curve.steps) <= set(steps[inside])
    np.testing.assert_array_equal(curve.values, values[curve.steps // 2])
    np.testing.assert_array_equal(curve.t, curve.steps / 10)


def test_steps_that_go_back_are_cut_by_value_and_keep_their_order() -> None:
    steps = np.array([5, 1, 3, 2, 4, 1], dtype=np.int64)
    curve = make_curve("x", steps, np.zeros(6), np.arange(6.0), points=0, start=1, end=3)
    assert curve.steps.tolist() == [1, 3, 2, 1]
    assert curve.values.tolist() == [1, 2, 3, 5]


def test_a_single_spike_in_a_million_survives() -> None:
    values = np.zeros(1_000_000)
    values[765_432] = 1e9
    values[123_456] = np.nan
    kept = keep_rows(values, points=400)
    assert {765_432, 123_456} <= set(kept.rows.tolist())
    assert len(kept.rows) <= 402


def test_a_run_that_diverged_and_went_on_stays_bounded_but_shows_where_it_began() -> None:
    values = np.arange(100_000.0)
    values[40_000:] = np.nan
    values[70_000] = -np.inf
    kept = keep_rows(values, points=1000)
    assert (kept.nan, kept.inf) == (59_999, 1)
    assert {39_999, 40_000, 70_000, 99_999} <= set(kept.rows.tolist())
    assert len(kept.rows) < 2_000


@settings(deadline=None)
@given(points=st.integers(-3, 3))
def test_few_points_still_hold_the_extremes(points: int) -> None:
    values = np.sin(np.arange(5000.0))
    rows = keep_rows(values, points=points).rows
    assert {int(values.argmin()), int(values.argmax()), 0, 4999} <= set(rows.tolist())


@pytest.mark.slow
def test_a_million_points_take_two_milliseconds() -> None:
    values = np.random.default_rng(0).normal(size=1_000_000).cumsum()
    steps = np.arange(len(values))
    best = 1.0
    for _ in range(15):
        begin = time.perf_counter()
        make_curve("x", steps, values, values, points=2000, start=10, end=999_990)
        best = min(best, time.perf_counter() - begin)
    assert best <= 0.002
