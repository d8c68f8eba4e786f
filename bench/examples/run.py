"""Ten thousand pictures over two hundred epochs: what logging costs, what it takes, and how soon it is seen."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import epochal
from bench.table import Row, show
from epochal.store import StoredRun
from epochal.store.library import Library
from epochal.views.predictions import AnswersMemory, read_example, read_outline
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of

EXAMPLES, EPOCHS, CLASSES = 10_000, 200, 10
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
TIMED = """async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))
  const rest = () => new Promise(done => setTimeout(done, 250))
  const times = {filter: 0, sort: 0}
  for (const name of ['Wrong', 'Flipped', 'Forgotten', 'Never learned', 'Right', 'All']) {
    const label = [...document.querySelectorAll('main label')].find(l => l.textContent.trim().startsWith(name))
    const start = performance.now()
    label.click()
    await frame()
    times.filter = Math.max(times.filter, performance.now() - start)
    await rest()
  }
  const select = [...document.querySelectorAll('main select')].find(s => [...s.options].some(o => o.value === 'loss'))
  for (const order of ['least', 'most', 'loss', 'flips', 'number']) {
    const start = performance.now()
    select.value = order
    select.dispatchEvent(new Event('change', {bubbles: true}))
    await frame()
    times.sort = Math.max(times.sort, performance.now() - start)
    await rest()
  }
  return times
}"""
PLAYED = """async () => {
  const gaps = []
  let last = performance.now()
  const end = last + 4000
  document.querySelector('button[aria-label=Play]').click()
  await new Promise(done => {
    const next = () => {
      const now = performance.now()
      gaps.push(now - last)
      last = now
      if (now < end) requestAnimationFrame(next)
      else done()
    }
    requestAnimationFrame(next)
  })
  gaps.sort((a, b) => a - b)
  return [gaps[gaps.length >> 1], gaps[Math.floor(gaps.length * 0.99)]]
}"""


def seconds(work: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def record(root: Path) -> tuple[Path, list[float]]:
    """Log all epochs; the run's folder, and seconds of each call after the first, which keeps the pictures."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (EXAMPLES, 28, 28), np.uint8)
    labels = random.integers(0, CLASSES, EXAMPLES)
    base = random.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    calls = []
    with epochal.init("bench", dir=root, system=False, console=False, code=False) as run:
        for epoch in range(EPOCHS):
            scores = base + epoch / 60 * np.eye(CLASSES, dtype=np.float32)[labels]
            scores += random.normal(scale=0.5, size=scores.shape).astype(np.float32)
            chances = np.exp(scores)
            chances /= chances.sum(axis=1, keepdims=True)
            run.log({"loss": float(-np.log(chances[np.arange(EXAMPLES), labels]).mean())}, step=epoch, epoch=epoch)
            start = time.perf_counter()
            run.log_predictions(pictures, labels, chances, [str(k) for k in range(CLASSES)])
            calls.append(time.perf_counter() - start)
        path = run.path
    assert path is not None
    return path, calls[1:]


def on_the_page(root: Path) -> list[Row]:
    """The page in a real browser; nothing where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if CHROMIUM is None:
        return []
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root), port=0)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            page.goto(f"{server.address.url}#/examples?step=80")
            page.wait_for_selector("[role=option] canvas")
            opened = time.perf_counter() - start
            page.wait_for_timeout(1500)
            times = page.evaluate(TIMED)
            median, slow = page.evaluate(PLAYED)
            browser.close()
    finally:
        server.stop()
    return [
        Row("page opened, first pictures drawn", opened, "s"),
        Row("any filter, from click to picture, slowest", times["filter"], "ms", 100),
        Row("any order, from choice to picture, slowest", times["sort"], "ms", 100),
        Row("playing: frame, median", median, "ms", 33),
        Row("playing: frame, 99 %", slow, "ms", 100),
    ]


def main() -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path, calls = record(root)
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        stored, memory = StoredRun(path), AnswersMemory()
        cold = seconds(lambda: read_outline(stored, "predictions", memory))
        warm = statistics.median(seconds(lambda: read_outline(stored, "predictions", memory)) for _ in range(9))
        film = seconds(lambda: read_example(stored, "predictions", 5, memory=memory))
        wire = Wire(Library(root))
        address, _, query = path_of("predictions", f"bench/{path.name}", series="predictions").partition("?")
        body = len(wire.answer(address, query).body)
        least = EXAMPLES * EPOCHS * CLASSES * 4 + EXAMPLES * 28 * 28
        rows = [
            Row("log_predictions, caller's thread, median", statistics.median(calls) * 1e3, "ms", 10),
            Row("on the disk, beside what the numbers take", size / least, "x", 1.05),
            Row("answers of all epochs, read for the first time", cold * 1e3, "ms", 500),
            Row("the same again", warm * 1e3, "ms", 20),
            Row("one example at all epochs", film * 1e3, "ms", 100),
            Row("answers of all epochs, sent", body / 1e6, "MB", 3),
            *on_the_page(root),
        ]
    show(f"{EXAMPLES:,} examples, {CLASSES} classes, {EPOCHS} epochs", rows)


if __name__ == "__main__":
    main()
