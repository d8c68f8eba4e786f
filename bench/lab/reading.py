"""A lab of a thousand finished trials: the list, the lab, its effects, its curves, and the page in a browser."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.lab.make import make
from bench.server.run import Served
from bench.table import Row, show
from epochal.store.labs import read_lab
from epochal.store.library import Library
from epochal.views.effects import measure_effects
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of

TRIALS = 1000
NAMES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")


def seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def answers(root: Path, lab: str) -> list[Row]:
    """What the server needs for each answer: first from cold, effects and curves again."""
    wire = Wire(Library(root))

    def ask(path: str) -> float:
        return seconds(lambda: wire.answer(*[*path.split("?"), ""][:2]))

    rows = [
        Row("list of labs, first", ask(path_of("labs")) * 1e3, "ms"),
        Row("a lab with 1,000 trials, first", ask(path_of("lab", lab)) * 1e3, "ms"),
        Row("its effects, first", ask(path_of("lab/effects", lab)) * 1e3, "ms", 2000),
        Row("its effects, again", ask(path_of("lab/effects", lab)) * 1e3, "ms"),
        Row("four curves of each trial, first", ask(path_of("lab/curves", lab, name=NAMES)) * 1e3, "ms"),
        Row("four curves of each trial, again", ask(path_of("lab/curves", lab, name=NAMES)) * 1e3, "ms"),
    ]
    info, states = read_lab(root, lab)
    alone = statistics.median(seconds(lambda: measure_effects(info, states)) for _ in range(3))
    return [*rows, Row("effects of 1,000 trials, calculation alone", alone * 1e3, "ms", 2000)]


def page(root: Path) -> list[Row]:
    """From the address to trials and effects on the screen, and to the last curve."""
    chromium = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if chromium is None:
        return []
    from playwright.sync_api import sync_playwright

    found: list[Row] = []
    server = Served(root)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for words in ("first", "again"):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begin = time.perf_counter()
            tab.goto(f"{server.url.rstrip('/')}/#/lab")
            tab.get_by_text("all 1,000 trials").first.wait_for()
            trials = time.perf_counter() - begin
            tab.get_by_text("95 % CI").first.wait_for()
            effects = time.perf_counter() - begin
            tab.get_by_text("dashed: training, solid: held back").first.wait_for()
            whole = time.perf_counter() - begin
            found += [
                Row(f"page: trials on the screen, {words}", trials, "s", 1.0),
                Row(f"page: effects on the screen, {words}", effects, "s", 2.0),
                Row(f"page: all 4,000 curves, {words}", whole, "s"),
            ]
            tab.close()
        browser.close()
    server.process.terminate()
    server.process.wait()
    return found


def main() -> None:
    """Make the lab, or take the one of a folder (`python -m bench.lab.reading FOLDER`); ask, look."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(sys.argv[1] if len(sys.argv) > 1 else folder)
        info = read_lab(root)[0] if len(sys.argv) > 1 else make(root, trials=TRIALS)
        rows = [*answers(root, f"{info.project}/{info.id}"), *page(root)]
        show("A lab of 1,000 finished trials, 30 epochs each", rows)


if __name__ == "__main__":
    main()
