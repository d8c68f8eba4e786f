"""Voxels as pictures, against rays that try every cube, and cubes at known places."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from epochal.film import Film
from epochal.film.draw import scene
from epochal.picture import VoxelsScene, pictures, theme
from epochal.picture.voxels import PITCH, VIEWS, YAW, draw_cubes, turn_of

AXES = ("slice", "row", "column")
SIDE = 120
Array = npt.NDArray[Any]


def nearest_by_rays(solid: Array, turn: Array, scale: float) -> Array:
    """The number of the voxel that each pixel's ray meets first, -1 for none: every cube is tried."""
    at = (np.arange(SIDE) + 0.5 - SIDE / 2) / scale
    x, y = np.meshgrid(at, at)
    d, h, w = solid.shape
    start = x[..., None] * turn[0] + y[..., None] * turn[1] + np.array([w, h, d]) / 2
    best = np.full((SIDE, SIDE), np.inf)
    found = np.full((SIDE, SIDE), -1)
    way = np.where(np.abs(turn[2]) < 1e-12, 1e-12, turn[2])
    for number in np.flatnonzero(solid):
        low = np.array(np.unravel_index(number, solid.shape))[::-1]
        a, b = (low - start) / way, (low + 1 - start) / way
        enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
        nearer = (enter < leave) & (enter < best)
        best[nearer], found[nearer] = enter[nearer], number
    return found


def cubes(solid: Array, turn: Array, scale: float, colours: Array | None = None) -> Array:
    if colours is None:
        colours = np.full((*solid.shape, 3), 200, np.uint8)
    return draw_cubes(colours, solid, SIDE, turn=turn, scale=scale, ground=(0, 0, 0), box=(0, 0, 0))


@pytest.mark.parametrize(("yaw", "pitch"), [(YAW, PITCH), (0.0, 0.0), (2.2, -1.1), (-1.4, 0.02), (0.3, math.pi / 2)])
def test_what_lies_in_front_is_seen(yaw: float, pitch: float) -> None:
    solid = np.random.default_rng(3).random((5, 4, 6)) < 0.3
    turn = turn_of(yaw, pitch)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    # Each voxel has a hue of its own: green and blue as shares of red, which light does not change.
    numbers = np.arange(solid.size).reshape(solid.shape)
    colours = np.stack([np.full(solid.shape, 250), 20 + 15 * (numbers % 16), 20 + 15 * (numbers // 16)], axis=-1)
    picture = cubes(solid, turn, 10.0, colours.astype(np.uint8)).astype(float)
    expected = nearest_by_rays(solid, turn, 10.0)
    hit = picture[..., 0] > 100
    assert (hit == (expected >= 0)).mean() > 0.97
    shares = picture[..., 1:] / np.maximum(picture[..., :1], 1) * 250
    wanted = colours.reshape(-1, 3)[expected][..., 1:]
    both = hit & (expected >= 0)
    right = np.abs(shares - wanted).max(axis=-1) < 4
    # Pixels where two cubes meet are a mean of both.
    assert right[both].mean() > 0.85
    assert both.sum() > 1000


def middle(picture: Array) -> tuple[float, float]:
    rows, columns = np.nonzero(picture.max(axis=-1) > 60)
    return float(columns.mean() + 0.5 - SIDE / 2), float(rows.mean() + 0.5 - SIDE / 2)


def test_a_quarter_turn_takes_a_cube_where_it_must_be() -> None:
    solid = np.zeros((5, 5, 5), bool)
    solid[0, 1, 4] = True  # in front, above, on the right
    for yaw, x in ((0.0, 2), (math.pi / 2, -2), (math.pi, -2), (-math.pi / 2, 2)):
        found = middle(cubes(solid, turn_of(yaw, 0.0), 12.0))
        assert found == pytest.approx((12 * x, -12), abs=0.6)
    assert middle(cubes(solid, turn_of(0.0, math.pi / 2), 12.0)) == pytest.approx((24, 24), abs=0.6)


def test_the_light_comes_from_above() -> None:
    solid = np.ones((1, 1, 1), bool)
    picture = cubes(solid, turn_of(YAW, PITCH), 60.0)
    column = picture[:, SIDE // 2 - 12, 0]
    seen = column[column > 60]
    assert seen[6] > seen[-6]


def drawn(values: Array, *, moving: bool = False, **how: Any) -> VoxelsScene:
    film = Film("block", list(range(len(values))), values, axes=AXES if values.ndim == 4 else (*AXES, "channel"))
    found = scene(film, theme=theme("light"), size=None, cmap=None, moving=moving, **how)
    assert isinstance(found, VoxelsScene)
    return found


def test_what_is_drawn_lies_above_the_threshold() -> None:
    values = np.array([-4.0, -1, 0, 1, 4, np.nan, np.inf, 2]).reshape(1, 2, 2, 2)
    found = drawn(values)
    assert found.scale.signed
    assert found.scale.hi == 4
    assert found.threshold == 1
    assert found._painted(0)[1].reshape(-1).tolist() == [True, False, False, False, True, True, True, True]
    assert drawn(values, threshold=3)._painted(0)[1].sum() == 4
    assert found.note == "2 values not finite"
    flags = drawn(np.array([True, False]).reshape(1, 1, 1, 2))
    assert flags._painted(0)[1].reshape(-1).tolist() == [True, False]
    assert not drawn(np.zeros((1, 2, 2, 2)))._painted(0)[1].any()
    assert drawn(np.full((1, 2, 2, 2), np.nan))._painted(0)[1].all()
    colours = np.zeros((1, 1, 1, 2, 3), np.uint8)
    colours[0, 0, 0, 1] = 255
    painted, solid = drawn(colours)._painted(0)
    assert solid.reshape(-1).tolist() == [False, True]
    assert painted[0, 0, 1].tolist() == [255, 255, 255]


def test_one_block_turns_and_several_play(tmp_path: Path) -> None:
    values = np.zeros((1, 6, 6, 6), np.float32)
    values[0, 0, 2, 5] = 1
    assert drawn(values).frames == 1
    turning = drawn(values, moving=True)
    assert turning.frames == VIEWS
    assert drawn(np.repeat(values, 3, axis=0), moving=True).frames == 3
    first, half = (np.asarray(p)[52:472, 20:440].astype(int) for p in pictures(turning, [0, VIEWS // 2]))
    assert np.abs(first - half).max() > 100
    with Image.open(Film("block", [4], values, axes=AXES).save(tmp_path / "turn.gif", size="240x200")) as gif:
        assert getattr(gif, "n_frames", 1) == VIEWS
    for name in ("still.png", "still.svg"):
        assert Film("block", [4], values, axes=AXES).save(tmp_path / name).stat().st_size > 500


def test_slices_are_those_through_the_middle() -> None:
    values = np.random.default_rng(0).random((1, 4, 6, 8)).astype(np.float32)
    found = drawn(values)
    picture = np.asarray(next(pictures(found, [0])))
    colours = found.scale.paint(values[0].astype(float), found.theme)
    x = 20 + found._side + 16
    cell = found._strip / 8
    for i, expected in enumerate((colours[2], colours[:, 3], colours[:, :, 4].swapaxes(0, 1))):
        top = 52 + i * (found._strip + 18)
        for r, c in ((0, 0), (expected.shape[0] - 1, expected.shape[1] - 1), (1, 2)):
            shown = picture[round(top + (r + 0.5) * cell), round(x + (c + 0.5) * cell)]
            assert shown.tolist() == expected[r, c].tolist()
