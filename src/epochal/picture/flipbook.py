"""A moving picture as one page: its frames, a slider, and a button that plays them. It needs nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from epochal.errors import PictureError
from epochal.picture.movie import Progress, replacing
from epochal.picture.scene import Scene, pictures

__all__ = ["write_flipbook"]

_MOST_BYTES = 256 << 20
_STYLE = """
body{margin:0;padding:24px;background:GROUND;color:INK;font:14px/20px system-ui,sans-serif}
img{display:block;max-width:100%;height:auto}
form{display:flex;gap:12px;align-items:center;max-width:WIDTHpx;margin-top:12px}
input{flex:1;min-width:80px}
button{min-width:72px;padding:4px 12px;font:inherit}
output{min-width:9em;text-align:right;font-variant-numeric:tabular-nums}
"""
_SCRIPT = """
const film = JSON.parse(document.getElementById('film').textContent)
const [picture, slider, button, said] = ['img', 'input', 'button', 'output'].map((one) => document.querySelector(one))
let timer = 0
function show(i) {
  slider.value = i
  picture.src = 'data:image/png;base64,' + film.frames[i]
  picture.alt = said.value = film.captions[i]
}
function stop() { clearInterval(timer); timer = 0; button.textContent = 'Play' }
button.addEventListener('click', () => {
  if (timer) return stop()
  if (+slider.value >= film.frames.length - 1) show(0)
  button.textContent = 'Pause'
  const next = () => (+slider.value < film.frames.length - 1 ? show(+slider.value + 1) : stop())
  timer = setInterval(next, 1000 / film.fps)
})
slider.addEventListener('input', () => { stop(); show(+slider.value) })
show(film.frames.length - 1)
"""


def write_flipbook(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    captions: Sequence[str],
    fps: float = 6.0,
    progress: Progress | None = None,
) -> Path:
    """Write a scene as a page that plays in any browser; `captions` has one line for each frame, `fps` frames a second.

    The file appears complete or not at all. Raises PictureError where there are no frames, or too many for one page.
    """
    if not scene.frames or len(captions) != scene.frames:
        raise PictureError(f"There are {scene.frames} frames and {len(captions)} captions.")
    frames: list[str] = []
    for done, picture in enumerate(pictures(scene), 1):
        packed = io.BytesIO()
        picture.save(packed, "PNG")
        frames.append(base64.b64encode(packed.getvalue()).decode())
        if sum(map(len, frames)) > _MOST_BYTES:
            raise PictureError("There are too many frames for one page.", hint="Choose fewer steps, or write an .mp4.")
        if progress is not None:
            progress(done, scene.frames)
    colours = {"GROUND": _hex(scene.theme.ground), "INK": _hex(scene.theme.ink), "WIDTH": str(scene.size[0])}
    style = _STYLE
    for word, value in colours.items():
        style = style.replace(word, value)
    # Nothing in the data may end the element that holds it.
    data = json.dumps({"fps": fps, "captions": list(captions), "frames": frames}).replace("<", "\\u003c")
    target, last = Path(path), scene.frames - 1
    with replacing(target) as temporary:
        temporary.write_text(
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(scene.title)}</title>\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
            f"<style>{style}</style></head>\n<body>\n"
            f'<img alt=""><form onsubmit="return false"><button type="button">Play</button>'
            f'<input type="range" min="0" max="{last}" value="{last}" aria-label="Frame"><output></output></form>\n'
            f'<script type="application/json" id="film">{data}</script>\n<script>{_SCRIPT}</script>\n</body></html>\n',
            encoding="utf-8",
        )
    return target


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
