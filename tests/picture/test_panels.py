"""Panels: each pixel where it belongs, as large as there is room for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.picture import Panel, PanelsScene, pictures, save, theme

LIGHT = theme("light")


def panels(count: int, side: int, seed: int = 0) -> list[Panel]:
    random = np.random.default_rng(seed)
    return [Panel(pixels=random.integers(0, 255, (side, side, 3), np.uint8), title=str(i)) for i in range(count)]


def found(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], tile: Panel, factor: int) -> int:
    """How often the enlarged tile lies in the picture."""
    big = tile.pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], big.shape[:2])
    places = np.argwhere((windows[..., 0, 0] == big[0, 0, 0]) & (windows[..., -1, -1] == big[-1, -1, 0]))
    return sum(bool((picture[y : y + len(big), x : x + len(big)] == big).all()) for y, x in places)


@pytest.mark.parametrize("count", [1, 3, 10, 33])
def test_each_panel_is_there_once_with_all_its_pixels(count: int) -> None:
    some = panels(count, 8)
    scene = PanelsScene(panels=some, theme=LIGHT, title="maps", note="a note")
    picture = np.asarray(next(iter(pictures(scene))))
    factor = scene._grid[1] // 8
    assert factor >= 8
    assert [found(picture, tile, factor) for tile in some] == [1] * count


def test_many_large_panels_are_made_smaller_and_keep_their_mean_colour() -> None:
    some = [Panel(pixels=np.full((300, 300, 3), (10 * i, 90, 7), np.uint8)) for i in range(20)]
    picture = np.asarray(next(iter(pictures(PanelsScene(panels=some, theme=LIGHT, title="x")))))
    assert picture.shape[1] <= 1200
    assert picture.shape[0] <= 860
    for i in range(20):
        assert (picture == (10 * i, 90, 7)).all(axis=-1).sum() > 10_000


def test_panels_move_and_those_that_do_not_stay(tmp_path: Path) -> None:
    moving = np.stack([np.full((6, 6, 3), v, np.uint8) for v in (10, 120, 240)])
    still = np.full((6, 6, 3), 77, np.uint8)
    scene = PanelsScene(
        panels=[Panel(pixels=moving, title="a"), Panel(pixels=still, title="b")],
        theme=LIGHT, title="film", captions=["step 1", "step 2", "step 3"], wanted=(320, 240),
    )  # fmt: skip
    frames = [np.asarray(f) for f in pictures(scene)]
    for frame, value in zip(frames, (10, 120, 240), strict=True):
        assert (frame == value).all(axis=-1).sum() > 1000
        assert (frame == 77).all(axis=-1).sum() > 1000
    save(scene, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.size, getattr(film, "n_frames", 1)) == ((320, 240), 3)
    save(scene, tmp_path / "film.svg")
    assert "<svg" in (tmp_path / "film.svg").read_text()
