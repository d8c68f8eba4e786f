"""Statistics and histograms against numpy's own, to the last count."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epochal.record.statistics import BINS, BLOCK, Table, describe, outer_edges

Floats = npt.NDArray[Any]

any_float32 = st.floats(width=32, allow_subnormal=True)
any_float64 = st.floats(width=64, allow_subnormal=True)
near_one = st.integers(-40, 40).map(lambda k: 1.0 + k * 2.0**-52)
tenths = st.integers(-30, 30).map(lambda k: k / 10)


def tensors(values: st.SearchStrategy[float], dtype: str) -> st.SearchStrategy[list[Floats]]:
    one = hnp.arrays(dtype, st.integers(0, 60), elements=values)
    same = st.tuples(values, st.integers(1, 9)).map(lambda p: np.full(p[1], p[0], dtype))
    return st.lists(st.one_of(one, same), min_size=1, max_size=8)


def described(arrays: list[Floats], before: list[Floats] | None = None) -> Table:
    sizes = np.array([len(a) for a in arrays], np.intp)
    return describe(np.concatenate(arrays), sizes, None if before is None else np.concatenate(before))


def check(arrays: list[Floats]) -> None:
    table = described(arrays)
    for i, array in enumerate(arrays):
        values = array.astype(np.float64)
        finite = values[np.isfinite(values)]
        assert table.size[i] == len(array)
        assert table.nan[i] == np.isnan(values).sum()
        assert table.inf[i] == np.isinf(values).sum()
        assert table.zeros[i] == (values == 0).sum()
        if not len(finite):
            assert np.isnan([table.mean[i], table.std[i], table.min[i], table.max[i], table.norm[i]]).all()
            assert not table.counts[i].any()
            continue
        lo, hi = float(table.lo[i]), float(table.hi[i])
        assert np.array_equal(table.counts[i], np.histogram(finite, BINS, (lo, hi))[0]), (finite, lo, hi)
        assert (table.min[i], table.max[i]) == (finite.min(), finite.max())
        largest = float(np.abs(finite).max())
        if largest < 1e150 and (largest == 0 or largest > 1e-300):
            scale = largest or 1.0
            np.testing.assert_allclose(table.mean[i] / scale, (finite / scale).mean(), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(table.std[i] / scale, (finite / scale).std(), rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(table.norm[i] / scale, np.linalg.norm(finite / scale), rtol=1e-9, atol=1e-300)
        if float(finite.max()) - float(finite.min()) < np.finfo(np.float64).max:
            assert table.counts[i].sum() == len(finite)


@settings(max_examples=300, deadline=None)
@given(tensors(any_float32, "<f4"))
@example([np.array([1e-45, -1e-45, 0.0, np.nan], "<f4"), np.array([np.inf], "<f4"), np.empty(0, "<f4")])
@example([np.array([3.4e38, -3.4e38, 1.0], "<f4")])
def test_histograms_of_any_float32_are_numpys(arrays: list[Floats]) -> None:
    check(arrays)


@settings(max_examples=300, deadline=None)
@given(tensors(any_float64, "<f8"))
@example([np.array([1.7e308, -1.7e308, 0.0])])
@example([np.full(3, 1e300), np.full(3, 5e-324), np.array([0.0, 5e-324])])
def test_histograms_of_any_float64_are_numpys(arrays: list[Floats]) -> None:
    check(arrays)


@settings(max_examples=200, deadline=None)
@given(tensors(st.one_of(tenths, st.floats(-1, 1)), "<f8"), tensors(tenths, "<f4"))
def test_values_on_the_edges_of_bins_fall_where_numpy_puts_them(wide: list[Floats], narrow: list[Floats]) -> None:
    check(wide)
    check(narrow)


@settings(max_examples=100, deadline=None)
@given(tensors(near_one, "<f8"))
def test_ranges_too_narrow_for_64_bins_are_widened(arrays: list[Floats]) -> None:
    check(arrays)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_long_tensors_are_described_like_short_ones(dtype: str, size: int) -> None:
    rng = np.random.default_rng(size)
    check(
        [rng.normal(size=size).astype(dtype), np.round(rng.normal(size=size), 2).astype(dtype), np.zeros(size, dtype)]
    )


def test_a_mean_far_from_zero_does_not_spoil_the_deviation() -> None:
    values = 1e6 + np.random.default_rng(0).normal(size=100_000).astype("<f4")
    table = described([values, values[:1000]])
    np.testing.assert_allclose(table.std, [values.astype(float).std(), values[:1000].astype(float).std()], rtol=1e-9)


def test_change_is_the_norm_of_the_difference() -> None:
    rng = np.random.default_rng(1)
    now = [rng.normal(size=n).astype("<f4") for n in (5, 70_000, 0, 300)]
    before = [rng.normal(size=len(a)).astype("<f4") for a in now]
    table = described(now, before)
    expected = [np.linalg.norm(a.astype(float) - b) for a, b in zip(now, before, strict=True)]
    np.testing.assert_allclose(table.change[[0, 1, 3]], [expected[i] for i in (0, 1, 3)], rtol=1e-6)
    assert np.isnan(table.change[2])
    assert np.isnan(described(now).change).all()


def test_change_to_or_from_values_that_are_not_finite_is_unknown() -> None:
    table = described([np.array([1.0, np.nan])], [np.array([0.0, 1.0])])
    assert np.isnan(table.change[0])


def test_tensors_keep_their_order_with_empty_ones_between() -> None:
    arrays = [np.empty(0), np.array([1.0, 2.0]), np.empty(0), np.arange(40_000.0), np.array([5.0]), np.empty(0)]
    table = described(arrays)
    assert table.size.tolist() == [0, 2, 0, 40_000, 1, 0]
    assert table.max[[1, 3, 4]].tolist() == [2.0, 39_999.0, 5.0]
    check(arrays)


def test_outer_edges_are_the_extremes_wherever_64_bins_fit() -> None:
    assert outer_edges(-1.5, 2.5) == (-1.5, 2.5)
    assert outer_edges(3.0, 3.0) == (2.5, 3.5)
    lo, hi = outer_edges(1e300, 1e300)
    assert lo < 1e300 < hi
    lo, hi = outer_edges(-1.7e308, 1.7e308)
    assert np.isfinite(hi - lo)
