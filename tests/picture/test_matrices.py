from __future__ import annotations

import numpy as np
import pytest

from epochal.picture import DIVERGING, ColourScale, MatricesScene, Matrix, pictures, theme, tiles
from epochal.picture.matrices import pooled, pooled_column

LIGHT = theme("light")


def scene(*shapes: tuple[int, int], wanted: tuple[int, int] | None = None, bias: bool = True) -> MatricesScene:
    rng = np.random.default_rng(0)
    matrices = [
        Matrix(
            title=f"layer {i}",
            subtitle=f"{c} → {r}",
            values=rng.normal(size=(2, r, c)),
            bias=rng.normal(size=(2, r)) if bias else None,
        )
        for i, (r, c) in enumerate(shapes)
    ]
    scale = ColourScale.symmetric(3.0, cmap=DIVERGING, theme=LIGHT)
    return MatricesScene(matrices, scale, LIGHT, "title", ["step 0", "step 1"], wanted=wanted)


@pytest.mark.parametrize(
    ("shapes", "wanted"),
    [
        ([(12, 4), (12, 12), (3, 12)], None),
        ([(12, 4), (12, 12), (3, 12)], (800, 600)),
        ([(128, 784), (10, 128)], None),
        ([(128, 784), (10, 128)], (640, 360)),
        ([(2048, 4096)], (300, 200)),
        ([(1, 1)], (120, 120)),
        ([(64, 64)] * 40, (1280, 720)),
    ],
)
def test_cards_lie_inside_the_picture_and_apart(shapes: list[tuple[int, int]], wanted: tuple[int, int] | None) -> None:
    drawn = scene(*shapes, wanted=wanted)
    size, places = drawn._layout
    assert wanted is None or size == wanted
    assert len(places) == len(shapes)
    for i, a in enumerate(places):
        for b in places[i + 1 :]:
            assert a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
    if wanted is None or wanted[0] >= 600:
        assert all(p.x >= 0 and p.x + p.width <= size[0] and p.y + p.height <= size[1] for p in places)
    assert next(iter(pictures(drawn))).size == size


def test_tiles_lay_kernels_out_by_output_and_input() -> None:
    kernels = np.arange(2 * 3 * 2 * 4 * 5).reshape(2, 3, 2, 4, 5).astype(float)
    values, holes = tiles(kernels)
    assert values.shape == (2, 3 * 5 - 1, 2 * 6 - 1)
    for t in range(2):
        for out in range(3):
            for inp in range(2):
                block = values[t, out * 5 : out * 5 + 4, inp * 6 : inp * 6 + 5]
                np.testing.assert_array_equal(block, kernels[t, out, inp])
                assert not holes[out * 5 : out * 5 + 4, inp * 6 : inp * 6 + 5].any()
    assert np.isnan(values[:, holes]).all()
    assert holes.sum() == holes.size - 3 * 2 * 4 * 5


def test_tiles_of_one_and_three_dimensional_kernels() -> None:
    assert tiles(np.ones((1, 4, 3, 7)))[0].shape == (1, 4 * 2 - 1, 3 * 8 - 1)
    assert tiles(np.ones((1, 4, 3, 2, 5, 5)))[0].shape == (1, 4 * 6 - 1, 3 * 2 * 6 - 1)


def test_pooling_keeps_the_strongest_value_of_each_block_with_its_sign() -> None:
    values = np.array([[1.0, -5, 0, 2], [3, 4, -1, 0], [0, 0, 9, 9]])
    np.testing.assert_array_equal(pooled(values, 2), [[-5, 2], [0, 9]])
    assert np.isnan(pooled(np.array([[np.nan, 1.0]]), 2)).all()
    np.testing.assert_array_equal(pooled_column(np.array([1.0, -2, 3]), 2), [[-2], [3]])


def test_a_picture_that_pools_says_so() -> None:
    from epochal.picture.svg import SvgCanvas

    drawn = scene((2048, 4096), wanted=(800, 400))
    canvas = SvgCanvas(drawn.size, LIGHT.ground)
    drawn.draw_ground(canvas)
    assert "strongest of" in canvas.document()
