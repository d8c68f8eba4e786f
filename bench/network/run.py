"""A ResNet-50 on the Network page: how soon its graph is there, how it is coloured and played, what asking it takes."""

from __future__ import annotations

import gzip
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.examples.run import CHROMIUM, PLAYED, seconds
from bench.table import Row, show
from epochal.facts import STATISTICS, Graph
from epochal.lens import class_images
from epochal.network.dense import DenseNetwork
from epochal.network.elsewhere import chain_graph
from epochal.store import RunWriter, graph_from_json, graph_to_json
from epochal.store.library import Library
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of

STEPS = 200
OPENED = """async () => {
  const start = performance.now()
  location.hash = location.hash.replace('#/runs', '#/network')
  while (!document.querySelector('[data-node] .face')) await new Promise(done => requestAnimationFrame(done))
  await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))
  return performance.now() - start
}"""
COLOURED = """async () => {
  const select = [...document.querySelectorAll('main select')].find(s => [...s.options].some(o => o.value === 'grad'))
  const start = performance.now()
  select.value = 'grad'
  select.dispatchEvent(new Event('change', {bubbles: true}))
  const all = () => [...document.querySelectorAll('[data-node].layer .face')].some(face => face.style.fill)
    || [...document.querySelectorAll('[data-node] rect[height="4"]')].length > 0
  while (!all()) await new Promise(done => requestAnimationFrame(done))
  const first = performance.now() - start
  let before = -1, at = first
  for (let quiet = 0; quiet < 30; quiet++) {  // until nothing more is coloured for half a second
    const now = document.querySelectorAll('[data-node] rect[height="4"]').length
      + [...document.querySelectorAll('[data-node] .face')].filter(face => face.style.fill).length
    if (now !== before) { before = now; at = performance.now() - start; quiet = 0 }
    await new Promise(done => requestAnimationFrame(done))
  }
  return [first, at]
}"""


def resnet_50() -> Graph:
    """Its graph, as watching it records it."""
    import torch
    from tests.frameworks import known_networks as known

    from epochal.frameworks.torch_graph import build_graph

    return build_graph(known.ResNet(known.Bottleneck, (3, 4, 6, 3)), torch.zeros(1, 3, 64, 64))


def record(root: Path, graph: Graph) -> str:
    """A run with the statistics of all parameters, gradients and outputs of the graph at many steps."""
    writer = RunWriter.create(root, project="bench", name="resnet-50")
    writer.put_file("network/graph.json", graph_to_json(graph))
    parameters = [p for layer in graph.layers for p in layer.parameters if p.role in ("weight", "bias")]
    names = dict.fromkeys(f"{kind}/{p.name}" for p in parameters for kind in ("param", "grad"))
    series = [*names, *dict.fromkeys(f"act/{la.module}" for la in graph.layers if la.role == "module")]
    random, count = np.random.default_rng(0), len(series)
    sizes = random.lognormal(size=count)
    for step in range(STEPS):
        sizes = sizes * random.lognormal(sigma=0.02, size=count)
        columns: dict[str, Any] = {name: sizes for name in STATISTICS if name not in ("zeros", "nan", "inf", "size")}
        columns |= {name: np.zeros(count, np.int64) for name in ("zeros", "nan", "inf")}
        columns |= {"size": np.full(count, 64), "lo": -sizes, "hi": sizes}
        columns |= {"counts": np.ones((count, 64), np.uint32), "dead": np.full(count, 0.1), "seen": np.full(count, 64)}
        writer.add_statistics({"series": series, "step": step, "t": time.time(), **columns})
        writer.log({"loss": 1 / (step + 1)}, step)
    writer.finish()
    return f"bench/{writer.run_id}"


def on_the_page(root: Path, run: str, studio: str | None) -> list[Row]:
    """The page in a real browser; nothing where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if CHROMIUM is None:
        return []
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root, studio_folder=studio), port=0)
    asked: list[str] = []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.on("request", lambda request: asked.append(request.url))
            start = time.perf_counter()
            page.goto(f"{server.address.url}#/network?run={run}")
            page.wait_for_selector("[data-node] .face")
            cold = time.perf_counter() - start
            warm = []
            for _ in range(5):  # from another page, as a user comes
                page.goto(f"{server.address.url}#/runs?run={run}")
                page.wait_for_timeout(500)
                warm.append(page.evaluate(OPENED))
            before = len(asked)
            first, coloured = page.evaluate(COLOURED)
            questions = sum("/statistics" in url or "/histograms" in url for url in asked[before:])
            page.wait_for_timeout(300)
            median, slow = page.evaluate(PLAYED)
            browser.close()
    finally:
        server.stop()
    return [
        Row("browser started on the page, graph drawn", cold * 1e3, "ms"),
        Row("from another page to the graph, median", statistics.median(warm), "ms", 300),
        Row("coloured by gradient norm: first colours", first, "ms"),
        Row("the same: all colours", coloured, "ms"),
        Row("questions asked for that", questions, ""),
        Row("playing with colours: frame, median", median, "ms", 33),
        Row("playing with colours: frame, 99 %", slow, "ms", 100),
    ]


def first_script(folder: Path) -> float:
    """Kilobytes of JavaScript, packed, that the first page loads before it can draw."""
    needed, waiting = (
        set[str](),
        re.findall(r'(?:src|href)="\./(assets/[^"]+\.js)"', (folder / "index.html").read_text()),
    )
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        text = (folder / name).read_text()
        waiting += [f"assets/{found}" for found in re.findall(r'(?:from|import)"\./([^"]+\.js)"', text)]
    return sum(len(gzip.compress((folder / name).read_bytes(), 9)) for name in needed) / 1e3


def median(work: Callable[[], Any], times: int = 9) -> float:
    """Milliseconds of the middle one of several calls."""
    return statistics.median(seconds(work) for _ in range(times)) * 1e3


def main() -> None:
    """Print what was measured; a folder given is that of a Studio to measure instead of the one built."""
    studio = sys.argv[1] if len(sys.argv) > 1 else None
    graph = resnet_50()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = record(root, graph)
        stored, text = Library(root).run(run), graph_to_json(graph)
        wire = Wire(Library(root))

        def ask(what: str, **parameters: Any) -> bytes:
            address, _, query = path_of(what, run, **parameters).partition("?")
            return wire.answer(address, query).body

        series = [name for name in stored.statistics_series() if name.startswith("grad/")]
        at_once = seconds(lambda: ask("statistics", kind="grad", column="norm")) * 1e3
        one_by_one = seconds(lambda: [ask("histograms", series=name) for name in series]) * 1e3
        random = np.random.default_rng(0)
        shapes = {"0.weight": (100, 784), "0.bias": (100,), "1.weight": (10, 100), "1.bias": (10,)}
        small = {f"layers.{name}": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        chain = DenseNetwork(chain_graph(small, input_shape=(28, 28), activation="sigmoid"), small)
        rows = [
            Row("graph read from its file", median(lambda: graph_from_json(text)), "ms"),
            Row("graph answered", median(lambda: ask("graph")), "ms"),
            Row("a statistic of all gradients, in one piece", at_once, "ms"),
            Row(f"the same, {len(series)} tensors one by one", one_by_one, "ms"),
            Row("class images of [784, 100, 10]", median(lambda: class_images(chain)), "ms"),
            Row("units of its first layer", median(lambda: chain.units("layers.0")), "ms"),
            Row("one answer of it", median(lambda: chain(np.zeros((1, 28, 28), np.float32))), "ms"),
            *on_the_page(root, run, studio),
        ]
    built = Path(studio) if studio else Path(__file__).parents[2] / "src" / "epochal" / "studio"
    if (built / "index.html").is_file():
        rows.append(Row("JavaScript of the first page, packed", first_script(built), "kB", 150))
    show(f"ResNet-50: {len(graph.layers)} layers, {STEPS} looks", rows)


if __name__ == "__main__":
    main()
