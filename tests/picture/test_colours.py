from __future__ import annotations

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.picture import theme
from epochal.picture.colours import (
    DIVERGING,
    NAMES,
    from_oklab,
    limit_of,
    paint_signed,
    signed_index,
    table,
    to_oklab,
    unsigned_index,
)


def test_oklab_has_the_published_values() -> None:
    published = {
        (255, 255, 255): (1, 0, 0),
        (255, 0, 0): (0.628, 0.2249, 0.1258),
        (0, 0, 255): (0.452, -0.0325, -0.3115),
    }
    for rgb, lab in published.items():
        np.testing.assert_allclose(to_oklab(rgb), lab, atol=1e-3)


def test_oklab_there_and_back_is_the_same_colour() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (500, 3))
    np.testing.assert_array_equal(from_oklab(to_oklab(colours)), colours)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (DIVERGING, "blue")])
def test_lightness_grows_from_one_end_to_the_other(name: str) -> None:
    lightness = to_oklab(table(name))[:, 0]
    assert (np.diff(lightness) > -0.004).all()
    assert lightness[-1] - lightness[0] > 0.5


@pytest.mark.parametrize(("theme_name", "sign"), [("light", -1), ("dark", 1)])
def test_counts_leave_the_surface_steadily(theme_name: str, sign: int) -> None:
    colours = table("blue", theme_name)
    assert tuple(colours[0]) == theme(theme_name).panel
    assert (np.diff(to_oklab(colours)[:, 0]) * sign > -0.004).all()


# Values of the published tables at places that are no anchors here.
@pytest.mark.parametrize(
    ("name", "index", "rgb"),
    [
        ("viridis", 128, (33, 145, 140)),
        ("viridis", 42, (67, 61, 132)),
        ("viridis", 213, (144, 215, 67)),
        ("magma", 128, (183, 55, 121)),
        ("cividis", 128, (125, 124, 120)),
    ],
)
def test_maps_come_close_to_the_published_ones(name: str, index: int, rgb: tuple[int, int, int]) -> None:
    assert np.abs(table(name)[index].astype(int) - rgb).max() <= 6


@pytest.mark.parametrize("theme_name", ["light", "dark"])
def test_zero_is_neutral_and_both_sides_leave_it_alike(theme_name: str) -> None:
    lab = to_oklab(table(DIVERGING, theme_name))
    assert np.hypot(*lab[128, 1:]) < 0.01
    direction = -1 if theme_name == "light" else 1
    for arm in (lab[128:, 0], lab[128:0:-1, 0]):
        assert (np.diff(arm) * direction > -0.004).all()
    assert lab[1, 2] < -0.02 < 0.02 < lab[255, 1]


def test_signed_index_is_symmetric_and_exact_at_zero_and_ends() -> None:
    values = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf, -np.inf])
    index = signed_index(values, 1.0).astype(int)
    assert index.tolist() == [1, 1, 64, 128, 192, 255, 255, 128, 255, 1]
    grid = np.linspace(0, 1, 101)
    np.testing.assert_array_equal(signed_index(grid, 1.0).astype(int) - 128, 128 - signed_index(-grid, 1.0).astype(int))


def test_unsigned_index_spans_the_table_and_survives_an_empty_span() -> None:
    assert unsigned_index(np.array([0.0, 5.0, 10.0, 11.0, -1.0]), 0, 10).tolist() == [0, 128, 255, 255, 0]
    assert unsigned_index(np.array([3.0, 3.0]), 3, 3).tolist() == [0, 0]


def test_values_that_are_not_finite_have_a_colour_of_their_own() -> None:
    light = theme("light")
    painted = paint_signed(np.array([np.nan, 0.0, np.inf]), 1.0, colours=table(DIVERGING), theme=light)
    assert tuple(painted[0]) == tuple(painted[2]) == light.missing
    assert tuple(painted[1]) == tuple(table(DIVERGING)[128])


def test_limit_leaves_out_what_is_not_finite() -> None:
    assert limit_of(np.array([np.nan, -3.0, 2.0, np.inf])) == 3.0
    assert limit_of(np.array([np.nan])) == 0.0


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UsageError, match="no colour map 'jet'") as caught:
        table("jet")
    assert "viridis" in caught.value.hint
    with pytest.raises(UsageError, match="no theme"):
        theme("sepia")
