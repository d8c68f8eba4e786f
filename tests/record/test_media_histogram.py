"""Histograms: raw values exactly, given bins exactly where that can be, and with the same total where it cannot."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from epochal.errors import UsageError
from epochal.facts import STATISTICS
from epochal.record.media import Encoded, Histogram

RNG = np.random.default_rng(2)


def row(encoded: Encoded) -> dict[str, Any]:
    """The row of statistics, each thing once."""
    assert encoded.statistics is not None
    assert {*STATISTICS, "lo", "hi", "counts"} <= set(encoded.statistics)
    plain = {name: np.asarray(value).reshape(-1) for name, value in encoded.statistics.items()}
    return {name: value if name == "counts" else float(value[0]) for name, value in plain.items()}


def kept(encoded: Encoded) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    document = json.loads(encoded.data)
    return np.array(document["counts"]), np.array(document["edges"])


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i8", "u1", "?"])
def test_raw_values_are_counted_as_numpy_counts_them(kind: str) -> None:
    values = (RNG.normal(size=(30, 40)) * 50).astype(kind)
    encoded = Histogram(values).encode()
    found = row(encoded)
    wide = values.astype(np.float64).ravel()
    counts, edges = np.histogram(wide, 64)
    assert not encoded.kept, "the row says all"
    assert found["counts"].tolist() == counts.tolist()
    assert (found["lo"], found["hi"]) == (edges[0], edges[-1])
    assert found["size"] == 1200
    np.testing.assert_allclose([found["mean"], found["std"]], [wide.mean(), wide.std()], rtol=1e-6, atol=1e-12)
    assert (found["min"], found["max"]) == (wide.min(), wide.max())
    assert found["zeros"] == np.count_nonzero(wide == 0)
    assert np.isnan(found["update_ratio"])


def test_values_that_are_not_finite_are_counted_apart() -> None:
    found = row(Histogram([1.0, np.nan, np.inf, -np.inf, 3.0, np.nan]).encode())
    assert (found["nan"], found["inf"], found["size"]) == (2, 2, 6)
    assert found["counts"].sum() == 2
    for nothing in ([], [np.nan]):
        found = row(Histogram(nothing).encode())
        assert found["counts"].sum() == 0


def test_other_numbers_of_bins() -> None:
    values = RNG.random(1000)
    few = Histogram(values, bins=10).encode()
    counts, edges = np.histogram(values, 10)
    assert not few.kept
    found = row(few)
    assert found["counts"][:10].tolist() == counts.tolist()
    assert not found["counts"][10:].any()
    np.testing.assert_allclose(np.linspace(found["lo"], found["hi"], 65)[:11], edges, rtol=1e-12)
    many = Histogram(values, bins=200).encode()
    assert many.kept
    assert kept(many)[0].tolist() == np.histogram(values, 200)[0].tolist()
    assert row(many)["counts"].tolist() == np.histogram(values, 64)[0].tolist()


@given(st.integers(1, 64), st.integers(0, 2**32), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
@settings(max_examples=80, deadline=None)
def test_bins_of_one_width_are_kept_exactly_with_empty_ones_after(n: int, seed: int, low: float, width: float) -> None:
    counts = np.random.default_rng(seed).integers(0, 2**32, n)
    edges = np.linspace(low, low + width * n, n + 1)
    assume(bool((np.diff(edges) > 0).all()))
    encoded = Histogram(counts=counts, edges=edges).encode()
    found = row(encoded)
    assert not encoded.kept
    assert found["counts"][:n].tolist() == counts.tolist()
    assert not found["counts"][n:].any()
    given_edges = np.linspace(found["lo"], found["hi"], 65)[: n + 1]
    np.testing.assert_allclose(given_edges, edges, rtol=1e-9, atol=1e-9 * width)
    assert found["size"] == counts.sum()


@given(
    st.integers(1, 200),
    st.integers(0, 2**32),
    st.sampled_from([1e-310, 1e-3, 1.0, 1e6, 1e300]),
    st.sampled_from([1e-3, 1.0, 1e6, 1e12]),
)
@settings(max_examples=150, deadline=None)
def test_other_bins_are_kept_beside_and_spread_with_the_same_total(n: int, seed: int, wide: float, high: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.random(n) * high * (rng.random(n) > 0.2)
    edges = np.sort(np.cumsum(rng.exponential(size=n + 1) ** 4) * wide - wide)
    assume(bool((np.diff(edges) > 0).all()))
    encoded = Histogram(counts=counts, edges=edges).encode()
    found = row(encoded)
    assert encoded.kept == bool((counts != np.floor(counts)).any() or n > 1)
    back, places = kept(encoded)
    assert back.tolist() == counts.tolist()
    assert places.tolist() == edges.tolist()
    scale = encoded.meta.get("scale", 1.0)
    assert abs(found["counts"].sum(dtype=np.int64) - counts.sum() * scale) <= 0.51 + 1e-6 * counts.sum() * scale
    if counts.any():
        filled = np.flatnonzero(counts)
        # Each edge of the row has as much before it as the given bins have, shared out evenly within a bin.
        ends = np.linspace(found["lo"], found["hi"], 65)
        grown = np.concatenate([[0], np.cumsum(found["counts"], dtype=np.int64)])
        for at, total in zip(edges[filled[0] : filled[-1] + 2], np.cumsum([0, *counts[filled[0] :]]), strict=False):
            place = int(np.searchsorted(ends, at, side="right")) - 1
            slack = 1 + 1e-9 * total * scale
            assert grown[max(place, 0)] - slack <= total * scale <= grown[min(place + 1, 64)] + slack


def test_spreading_is_in_proportion() -> None:
    counts, edges = [10, 20, 70], [0.0, 1.0, 2.0, 64.0 / 8]
    found = row(Histogram(counts=counts, edges=edges).encode())
    assert (found["lo"], found["hi"]) == (0.0, 8.0)
    grown = np.cumsum(found["counts"], dtype=np.int64)
    for edge, total in ((1.0, 10), (2.0, 30), (5.0, 65), (8.0, 100)):
        assert abs(grown[int(edge * 8) - 1] - total) <= 1
    assert grown[-1] == 100


def test_shares_become_counts_and_say_so() -> None:
    encoded = Histogram(counts=[0.25, 0.5, 0.25], edges=[0, 1, 2, 4]).encode()
    assert encoded.meta["scale"] == 1_000_000
    assert row(encoded)["counts"].sum() == 1_000_000
    huge = Histogram(counts=[1e30, 1e30], edges=[0, 1, 3]).encode()
    assert row(huge)["counts"].max() <= 2**32 - 1
    assert huge.meta["scale"] < 1


def test_statistics_of_bins_are_those_of_their_middles() -> None:
    counts, edges = np.array([1, 4, 3]), np.array([-1.0, 0.0, 1.0, 2.0])
    found = row(Histogram(counts=counts, edges=edges).encode())
    middles = np.repeat([-0.5, 0.5, 1.5], counts)
    np.testing.assert_allclose(
        [found["mean"], found["std"], found["norm"]],
        [middles.mean(), middles.std(), np.linalg.norm(middles)],
    )
    assert (found["min"], found["max"], found["size"]) == (-1.0, 2.0, 8)
    empty = row(Histogram(counts=[0, 0], edges=[0, 1, 2]).encode())
    assert np.isnan(empty["mean"])
    assert empty["counts"].sum() == 0


def test_edges_as_wide_as_numbers_go() -> None:
    top = float(np.finfo(np.float64).max)
    encoded = Histogram(counts=[5, 0, 7], edges=[-top, -1.0, 1.0, top]).encode()
    found = row(encoded)
    assert np.isfinite([found["lo"], found["hi"]]).all()
    assert found["counts"].sum() == 12
    middle = row(Histogram(counts=[0, 9, 0], edges=[-top, -1.0, 1.0, top]).encode())
    assert (middle["lo"], middle["hi"]) == (-1.0, 1.0), "empty bins outside are left out of the row"


def test_tensors_and_later_changes() -> None:
    values = RNG.random(100)
    value = Histogram(values)
    expected = np.histogram(values, 64)[0].tolist()
    values[:] = 0
    assert row(value.encode())["counts"].tolist() == expected
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    tensor = torch.randn(500, dtype=torch.bfloat16)
    assert row(Histogram(tensor).encode())["counts"].sum() == 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs values, or counts and edges"),
        ({"values": [1], "counts": [1], "edges": [0, 1]}, "needs values, or"),
        ({"values": [1], "edges": [0, 1]}, "edges are given with values"),
        ({"counts": [1, 2]}, "counts come without edges"),
        ({"counts": [1, 2], "edges": [0, 1]}, r"counts have shape \(2,\), edges \(2,\)"),
        ({"counts": [], "edges": [0]}, "one edge more"),
        ({"counts": [1, -1], "edges": [0, 1, 2]}, "not negative"),
        ({"counts": [1, np.nan], "edges": [0, 1, 2]}, "finite"),
        ({"counts": [1, 1], "edges": [0, 0, 2]}, "grow"),
        ({"counts": [1, 1], "edges": [0, 1, np.inf]}, "finite and grow"),
        ({"values": [1], "bins": 0}, "bins is 0"),
        ({"values": [1], "bins": 2.5}, "bins is 2.5"),
        ({"values": ["a"]}, "a histogram needs numbers"),
    ],
)
def test_what_is_no_histogram_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Histogram(**arguments)
