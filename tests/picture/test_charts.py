from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.picture import (
    INTENSITY,
    ColourScale,
    Curve,
    CurveChart,
    GridScene,
    SpreadChart,
    UnitChart,
    pictures,
    svg,
    table,
    theme,
)
from epochal.picture.axes import thinned, value_range
from epochal.picture.canvas import unbroken
from epochal.picture.spread import shares

LIGHT = theme("light")


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf]), min_size=0, max_size=400))
def test_thinning_loses_no_peak(values: list[float]) -> None:
    y = np.array(values, np.float64)
    x = np.arange(len(y))
    kept_x, kept_y = thinned(x, y, 8)
    finite, kept = y[np.isfinite(y)], kept_y[np.isfinite(kept_y)]
    if finite.size:
        assert (finite.min(), finite.max()) == (kept.min(), kept.max())
    assert (np.diff(kept_x) > 0).all()
    assert len(kept_x) <= max(48, 5 * 8)
    if not np.isfinite(y).all():
        assert not np.isfinite(kept_y).all()


def test_a_line_breaks_where_a_value_is_not_finite() -> None:
    points = np.array([[0, 1], [1, 2], [2, np.nan], [3, 4], [4, np.inf], [5, 6], [6, 7]], float)
    assert [p[:, 0].tolist() for p in unbroken(points)] == [[0, 1], [3], [5, 6]]
    assert unbroken(np.empty((0, 2))) == []


def test_ranges_widen_and_survive_constants_and_nothing() -> None:
    assert value_range(np.array([np.nan])) == (0.0, 1.0)
    lo, hi = value_range(np.array([2.0, 2.0]))
    assert lo < 2 < hi
    assert value_range(np.array([0.0, 10.0]))[0] == 0.0
    assert value_range(np.array([-5.0, 10.0]))[0] < -5


def chart(y: npt.NDArray[np.float64], *, moving: bool = True) -> GridScene:
    x = np.arange(len(y))
    curve = CurveChart(title="loss", curves=[Curve(name="loss", x=x, y=y)], cuts=x if moving else None)
    captions = [f"step {i}" for i in x] if moving else [""]
    return GridScene(charts=[curve], theme=LIGHT, title="run", captions=captions, wanted=(500, 300))


def test_the_head_moves_right_and_the_curve_behind_it_is_in_colour() -> None:
    heads = []
    for picture in pictures(chart(np.linspace(1, 0, 20)), [2, 10, 19]):
        pixels = np.asarray(picture)
        heads.append(int(np.nonzero((pixels == LIGHT.head).all(-1))[1].mean()))
        blue = np.nonzero((pixels == LIGHT.lines[0]).all(-1))[1]
        assert blue.max() <= heads[-1] + 12
    assert heads == sorted(heads)
    assert heads[-1] > heads[0] + 100


def test_gaps_are_counted_in_words() -> None:
    y = np.array([1.0, np.nan, 2.0, np.inf])
    assert "2 not finite (gaps)" in svg(chart(y, moving=False), [0])
    assert "not finite" not in svg(chart(np.ones(3), moving=False), [0])


def test_earlier_lines_are_grey_and_the_last_one_in_colour() -> None:
    values = np.stack([np.full(5, v) for v in (0.0, 1.0, 2.0)])
    scene = GridScene(
        charts=[UnitChart(title="b", values=values, y_range=(-0.5, 2.5))],
        theme=LIGHT,
        title="biases",
        captions=["a", "b", "c"],
        wanted=(400, 300),
    )
    grey, blue = ("#{:02x}{:02x}{:02x}".format(*c) for c in (LIGHT.past, LIGHT.lines[0]))

    def lines(frame: int, colour: str) -> list[float]:
        """Heights at which lines of this colour begin."""
        paths = re.findall(rf'<path d="([^"]+)" fill="none" stroke="{colour}"', svg(scene, [frame]))
        return [float(start.split("L")[0].split()[1]) for path in paths for start in path.split("M")[1:]]

    assert lines(0, grey) == []
    assert lines(2, grey) == [*lines(0, blue), *lines(1, blue)]
    assert lines(2, blue)[0] < lines(1, blue)[0] < lines(0, blue)[0]


def test_shares_are_the_density_of_numpys_histogram() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    counts, bins = np.histogram(values, 64)
    middles = (bins[:-1] + bins[1:]) / 2
    height = bins[1] - bins[0]
    found = shares(counts[None], np.array([[bins[0], bins[-1]]]), middles, height)[:, 0]
    np.testing.assert_allclose(found, counts / 1000, rtol=1e-9)
    # Rows coarser than bins lose nothing either.
    rows = np.linspace(bins[0], bins[-1], 6)
    coarse = shares(counts[None], np.array([[bins[0], bins[-1]]]), (rows[:-1] + rows[1:]) / 2, rows[1] - rows[0])
    np.testing.assert_allclose(coarse.sum(), 1)
    outside = shares(counts[None], np.array([[bins[0], bins[-1]]]), np.array([bins[0] - 1, bins[-1] + 1]), height)
    np.testing.assert_array_equal(outside, 0)


@pytest.mark.parametrize("empty", [False, True])
def test_a_spread_draws_its_heat_and_says_how_many_values(empty: bool) -> None:
    counts = np.zeros((3, 64), np.uint32)
    edges = np.full((3, 2), np.nan)
    if not empty:
        counts[:, 10], edges = 7, np.array([[-1.0, 1.0]] * 3)
    scale = ColourScale(lo=0, hi=1, colours=table(INTENSITY), signed=False)
    spread = SpreadChart("w", np.array([0, 5, 9]), counts, edges, np.arange(3), scale)
    scene = GridScene(charts=[spread], theme=LIGHT, title="t", captions=["a"] * 3, scale=scale)
    text = svg(scene, [1])
    assert ("no finite value" in text) == empty
    assert ("7 values, −1 to 1" in text) != empty
