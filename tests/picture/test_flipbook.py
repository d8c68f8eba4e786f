"""A film as a page: every frame is in it as it is drawn, and nothing of the words gets out of its place."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from epochal.errors import PictureError
from epochal.picture import Panel, PanelsScene, pictures, theme, write_flipbook


def scene(frames: int, title: str = "film") -> PanelsScene:
    pixels = np.random.default_rng(0).integers(0, 255, (frames, 6, 8, 3), np.uint8)
    captions = [f"step {i} </script><b>" for i in range(frames)]
    return PanelsScene(panels=[Panel(pixels=pixels, title="one")], theme=theme("dark"), title=title, captions=captions)


def test_all_frames_are_in_it(tmp_path: Path) -> None:
    drawn, told = scene(4, "<i>film</i>"), []
    write_flipbook(
        drawn, tmp_path / "film.html", captions=drawn.captions, fps=3, progress=lambda done, of: told.append((done, of))
    )
    page = (tmp_path / "film.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 2
    assert "<i>film" not in page
    held = json.loads(re.findall(r'id="film">(.*?)</script>', page, re.DOTALL)[0])
    assert held["fps"] == 3
    assert held["captions"] == list(drawn.captions)
    for packed, expected in zip(held["frames"], pictures(drawn), strict=True):
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(base64.b64decode(packed)))), np.asarray(expected)
        )
    assert told == [(i, 4) for i in range(1, 5)]


def test_a_page_without_frames_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="0 frames"):
        write_flipbook(scene(0), tmp_path / "film.html", captions=[])
    with pytest.raises(PictureError, match="2 frames and 1 captions"):
        write_flipbook(scene(2), tmp_path / "film.html", captions=["one"])
    assert not list(tmp_path.iterdir())
