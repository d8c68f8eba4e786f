"""Blocks of voxels: how fast they turn in the Studio without a graphics card, and what drawing them costs in Python.

`python -m bench.voxels.run [folder of a built Studio]`
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import epochal
from bench.table import Row, show
from epochal.film import Film
from epochal.server import make_app, start_in_background

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
SIDES = (16, 32, 64)
LEAST = {16: 30.0, 64: 10.0}
SECONDS = 4
TURNED = """async ([seconds]) => {
  const canvas = document.querySelector('.stage canvas')
  const wait = ms => new Promise(done => setTimeout(done, ms))
  await wait(2500)
  canvas.focus()
  const before = canvas.measured.frames
  const start = performance.now()
  let last = start, worst = 0, shown = before
  while (performance.now() - start < seconds * 1000) {
    canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, cancelable: true}))
    await new Promise(done => requestAnimationFrame(done))
    if (canvas.measured.frames !== shown) {
      const now = performance.now()
      worst = Math.max(worst, now - last)
      last = now
      shown = canvas.measured.frames
    }
  }
  const fps = 1000 * (canvas.measured.frames - before) / (performance.now() - start)
  return {fps, worst, quality: canvas.measured.quality, side: canvas.width, card: canvas.measured.card}
}"""


def torus(side: int, step: float = 0.0) -> np.ndarray:
    """A ring whose values fall off from its middle."""
    z, y, x = np.indices((side, side, side)) / side - 0.5
    far = np.sqrt((np.sqrt(x**2 + y**2) - 0.3) ** 2 + z**2)
    return (np.clip(0.14 + step - far, 0, None) * 7).astype(np.float32)


def blocks(side: int) -> dict[str, np.ndarray]:
    """A body with an inside, and noise, of which nothing can be left out."""
    return {"ring": torus(side), "noise": np.random.default_rng(0).random((side, side, side), np.float32)}


def in_browser(root: Path, studio: Path | None) -> list[Row]:
    """Frames a second while a block is turned, in the dialog of the Media page."""
    if CHROMIUM is None:
        return []
    from playwright.sync_api import sync_playwright

    server = start_in_background(make_app(root, **({} if studio is None else {"studio_folder": studio})), port=0)
    rows = []
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
            )
            for side in SIDES:
                for name in ("ring", "noise"):
                    for how in ("cubes", "glass"):
                        found = turn(browser, server.address.url, f"{name}/{side}", how)
                        target = LEAST.get(side) if name == "ring" else None
                        detail = f"{found['side']} px, worst gap {found['worst']:.0f} ms, WebGL2 {found['card']}"
                        what = f"{name} of {side}³ as {how}"
                        rows.append(Row(what, found["fps"], "fps", target, detail, more_is_better=True))
            browser.close()
    finally:
        server.stop()
    return rows


def turn(browser: Any, url: str, series: str, how: str) -> dict[str, Any]:
    """What one block measured of itself."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{url.rstrip('/')}/#/media?voxels={how}")
    page.locator("[data-search]").last.fill(series)
    page.locator("main button.open").first.click()
    page.locator(".stage canvas").wait_for()
    found: dict[str, Any] = page.evaluate(TURNED, [SECONDS])
    page.close()
    return found


def in_python(folder: Path) -> list[Row]:
    """Seconds for a picture, and for a GIF that turns once."""
    rows = []
    for side in SIDES:
        film = Film("ring", [0], torus(side)[None], axes=("slice", "row", "column"))
        times = []
        for _ in range(3):
            start = time.perf_counter()
            film.save(folder / "still.png")
            times.append(time.perf_counter() - start)
        rows.append(Row(f"PNG of {side}³", statistics.median(times), "s"))
        start = time.perf_counter()
        film.save(folder / "turn.gif")
        seconds = time.perf_counter() - start
        rows.append(
            Row(f"GIF that turns, {side}³", seconds, "s", peer=f"{(folder / 'turn.gif').stat().st_size:,} bytes")
        )
    return rows


def main() -> None:
    """Measure and print."""
    studio = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with epochal.init("voxels", dir=root, system=False, console=False) as run:
            values = {f"{name}/{side}": epochal.Voxels(b) for side in SIDES for name, b in blocks(side).items()}
            run.log(values, step=0)
        show("Turning blocks in the Studio, headless Chromium, no graphics card", in_browser(root, studio))
        show("Blocks as pictures in Python", in_python(root))


if __name__ == "__main__":
    main()
