"""A scene is a picture that may move: what stays is drawn once, what changes is drawn for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from PIL import Image

from epochal.picture.canvas import Canvas, RasterCanvas
from epochal.picture.colours import Table
from epochal.picture.svg import SvgCanvas, document
from epochal.picture.theme import Theme


class Scene(Protocol):
    """Something that can be drawn at each of `frames` moments; `colours` are the data's, for a GIF's palette."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    @property
    def frames(self) -> int:
        """How many moments there are."""

    @property
    def theme(self) -> Theme:
        """Its surfaces and inks."""

    @property
    def colours(self) -> Table:
        """The table of data colours [n, 3]."""

    @property
    def title(self) -> str:
        """What it shows, in words."""

    def draw_ground(self, canvas: Canvas) -> None:
        """Draw what is the same in all frames."""

    def draw_frame(self, canvas: Canvas, index: int) -> None:
        """Draw what belongs to one frame, over the ground."""


def pictures(scene: Scene, indices: Sequence[int] | None = None) -> Iterator[Image.Image]:
    """Each frame as an RGB image, drawn when asked for."""
    ground = RasterCanvas.blank(scene.size, scene.theme.ground)
    scene.draw_ground(ground)
    for index in range(scene.frames) if indices is None else indices:
        canvas = RasterCanvas(ground.image.copy())
        scene.draw_frame(canvas, index)
        yield canvas.image


def stacked(scene: Scene, indices: Sequence[int]) -> Image.Image:
    """One image of one or several frames, one below the other."""
    width, height = scene.size
    whole = Image.new("RGB", (width, height * len(indices)), scene.theme.ground)
    for i, picture in enumerate(pictures(scene, indices)):
        whole.paste(picture, (0, i * height))
    return whole


def svg(scene: Scene, indices: Sequence[int]) -> str:
    """An SVG file of one or several frames, one below the other."""
    width, height = scene.size
    canvases = []
    for i, index in enumerate(indices):
        canvas = SvgCanvas(scene.size, scene.theme.ground)
        scene.draw_ground(canvas)
        scene.draw_frame(canvas, index)
        canvases.append((i * height, canvas))
    return document((width, height * len(indices)), canvases, title=scene.title)
