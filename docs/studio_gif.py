"""Make docs/studio.gif, the first picture of the README: the Studio playing a demo run. `python docs/studio_gif.py`."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from epochal.server import make_app, start_in_background

HERE = Path(__file__).parent
WINDOW = (1280, 720)
PICTURE = (960, 540)
EPOCHS = 150


def frames(url: str) -> list[Image.Image]:
    """The Weights page at epochs spaced as the eye likes it: dense while much changes, sparse later."""
    epochs = [*range(30), *range(30, 60, 2), *range(60, EPOCHS + 1, 5)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]}, color_scheme="light")
        page.goto(f"{url}#/weights")
        playhead = page.get_by_role("slider", name="Playhead")
        playhead.wait_for()
        page.wait_for_timeout(1500)
        page.keyboard.press("Home")
        taken, at = [], 0
        for epoch in epochs:
            for _ in range(epoch - at):
                page.keyboard.press("ArrowRight")
            at = epoch
            page.wait_for_timeout(80)
            taken.append(
                Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(PICTURE, Image.Resampling.LANCZOS)
            )
        browser.close()
    return taken


def palette_of(pictures: list[Image.Image]) -> Image.Image:
    """256 colours: the surfaces and letters exactly, the rest so that every colour of the data has one near it."""
    sample = Image.new("RGB", (PICTURE[0], PICTURE[1] * len(pictures)))
    for row, picture in enumerate(pictures):
        sample.paste(picture, (0, row * PICTURE[1]))
    counted = sample.getcolors(sample.width * sample.height) or []
    frequent = [colour for _, colour in sorted(counted, reverse=True)[:64]]
    spread = sample.quantize(192, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in frequent for channel in colour] + spread[: 3 * 192])
    return palette


def main() -> None:
    """Train, serve, play, save."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "iris", "--epochs", str(EPOCHS), "--dir", folder, "--no-view"]
        subprocess.run([sys.executable, "-m", "epochal", *words], check=True, stdout=subprocess.DEVNULL)
        server = start_in_background(make_app(folder), port=0)
        pictures = frames(server.address.url)
        server.stop()
    palette = palette_of([pictures[0], pictures[len(pictures) // 2], pictures[-1]])
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    target = HERE / "studio.gif"
    durations = [900, *[90] * (len(small) - 2), 2500]
    small[0].save(target, save_all=True, append_images=small[1:], duration=durations, loop=0, optimize=True)
    sys.stdout.write(f"{target.name}: {len(small)} frames, {target.stat().st_size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
