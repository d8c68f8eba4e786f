"""Surfaces: contours lie at their height, and pictures of matrices, bars and surfaces have what they are to show."""

from __future__ import annotations

import numpy as np

from epochal.picture import ColourScale, GridScene, LabelledMatrix, NamedBars, Surface, pictures, svg, table, theme
from epochal.picture.surface import contours


def test_contours_of_a_cone_are_circles() -> None:
    x, y = np.linspace(-2, 2, 41), np.linspace(-1, 1, 31)
    cone = np.hypot(x[None], y[:, None])
    pieces = contours(cone, x, y, 0.8)
    assert len(pieces) > 40
    ends = np.concatenate(pieces)
    np.testing.assert_allclose(np.hypot(ends[:, 0], ends[:, 1]), 0.8, atol=0.01)
    assert contours(cone, x, y, 9.0) == []
    assert contours(np.full((3, 3), np.nan), x[:3], y[:3], 0.5) == []


def test_the_path_grows_and_cells_have_the_colours_of_their_values() -> None:
    scale = ColourScale(lo=0.0, hi=1.0, colours=table("viridis", "light"), signed=False)
    axis = np.linspace(0, 1, 5)
    surface = Surface(
        title="loss", values=np.zeros((2, 5, 5)), x=axis, y=axis, scale=scale,
        path=np.array([[0.1, 0.1], [0.5, 0.9], [0.9, 0.2]]), heads=np.array([0, 2]),
    )  # fmt: skip
    scene = GridScene(charts=[surface], theme=theme("light"), title="t", captions=["a", "b"], card=(300, 260))
    first, last = (np.asarray(picture) for picture in pictures(scene))
    head = np.array(theme("light").head)
    drawn = [int((np.abs(frame.astype(int) - head).sum(axis=2) < 30).sum()) for frame in (first, last)]
    assert drawn[1] > 2 * drawn[0] > 0

    matrix = LabelledMatrix(
        title="m", values=np.array([[[0.0, 1.0], [0.5, np.nan]]]), rows=["a", "b"], columns=["c", "d"], scale=scale
    )
    drawn_matrix = GridScene(charts=[matrix], theme=theme("light"), title="t", captions=[""], card=matrix.natural)
    pixels = np.asarray(next(iter(pictures(drawn_matrix)))).reshape(-1, 3)
    for colour in (scale.colours[0], scale.colours[255], np.array(theme("light").missing)):
        assert (pixels == colour).all(axis=1).any()
    words = svg(drawn_matrix, [0])
    assert ">a<" in words
    assert ">d<" in words

    bars = NamedBars(
        title="bars", names=["one", "two"], values=np.array([[0.25, 1.0]]), top=1.0, marks=np.array([[0.5, 0.5]]),
        reference=np.array([0.1]), reference_name="chance",
    )  # fmt: skip
    scene = GridScene(charts=[bars], theme=theme("light"), title="t", captions=[""], card=bars.natural)
    frame = np.asarray(next(iter(pictures(scene))))
    blue = (frame == theme("light").lines[0]).all(axis=2)
    long = sorted(set(blue.sum(axis=1).tolist()) - {0})
    assert long[-1] > 3.5 * long[0]
