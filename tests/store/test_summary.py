from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.facts import SeriesSummary
from epochal.store.summary import SPARK_POINTS, Tally, summaries_to_json, summary_from_json


def tally(chunks: list[list[float]]) -> Tally:
    made, step = Tally("a"), 0
    for chunk in chunks:
        steps = np.arange(step, step + len(chunk))
        made.add(10 * steps, np.array(chunk, np.float64))
        step += len(chunk)
    return made


def same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


@given(
    st.lists(st.lists(st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=90), max_size=5)
)
@settings(max_examples=150, deadline=None)
def test_a_summary_is_what_numpy_says_of_the_whole_however_it_came(chunks: list[list[float]]) -> None:
    found = tally(chunks).summary()
    v = np.array([x for chunk in chunks for x in chunk])
    finite = np.isfinite(v)
    assert found.n == len(v)
    assert (found.nan, found.inf) == (int(np.isnan(v).sum()), int(np.isinf(v).sum()))
    if len(v):
        assert same(found.last, float(v[-1]))
        assert (found.first_step, found.last_step) == (0, 10 * (len(v) - 1))
    if finite.any():
        low, high = np.where(finite, v, np.inf).argmin(), np.where(finite, v, -np.inf).argmax()
        assert (found.min, found.min_step) == (float(v[low]), 10 * int(low))
        assert (found.max, found.max_step) == (float(v[high]), 10 * int(high))
        assert found.mean == pytest.approx(v[finite].mean(), rel=1e-9, abs=1e-6)
    else:
        assert all(math.isnan(x) for x in (found.min, found.max, found.mean))
    stretch = 1
    while len(v) > SPARK_POINTS * stretch:
        stretch *= 2
    pieces = [v[i : i + stretch] for i in range(0, len(v), stretch)]
    assert len(found.spark) == len(pieces)
    for point, piece in zip(found.spark, pieces, strict=True):
        kept = piece[np.isfinite(piece)]
        assert math.isnan(point) if not len(kept) else point == pytest.approx(kept.mean(), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(width=64), max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_summary_survives_its_file(values: list[float]) -> None:
    made = tally([values])
    text = summaries_to_json([made, Tally("nothing")], rows_end=7)
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (document["rows_end"], document["format_version"]) == (7, 1)
    if not values:
        assert document["series"] == {}
        return
    back, whole = summary_from_json("a", document["series"]["a"]), made.summary()
    for name in SeriesSummary.__dataclass_fields__:
        if name == "spark":
            assert len(back.spark) == len(whole.spark)
            for a, b in zip(back.spark, whole.spark, strict=True):
                finite = abs(b) < 1.79e308  # a picture may lack a point that rounding makes infinite
                assert a == pytest.approx(b, rel=1e-3) if finite else math.isnan(a)
        else:
            a, b = getattr(back, name), getattr(whole, name)
            assert same(a, b) if isinstance(a, float) else a == b
    assert summaries_to_json([made], rows_end=7) == text


def test_enormous_values_do_not_break_the_mean() -> None:
    found = tally([[1.7e308, 1.7e308], [1.0]]).summary()
    assert (found.max, found.min, found.mean) == (1.7e308, 1.0, math.inf)
    text = summaries_to_json([tally([[1.7e308] * 200])], rows_end=0)
    assert json.loads(text)["series"]["a"]["mean"] == "Infinity"


def test_sums_beyond_the_largest_number_are_told_as_such_without_a_warning() -> None:
    huge = 1.7e308
    found = tally([[huge] * 100, [-huge] * 100]).summary()
    assert (found.min, found.max, found.n) == (-huge, huge, 200)
    assert math.isnan(found.mean) or math.isinf(found.mean)
