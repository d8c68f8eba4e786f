"""The Studio as a person uses it: real runs, a real server, a real browser."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from tests.e2e.conftest import STUDIO

PAGES = ("runs", "metrics", "distributions", "weights", "network")
AXE = STUDIO.parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def open_page(page: Any, address: str, name: str, **state: str) -> None:
    query = "&".join(f"{key}={value}" for key, value in state.items())
    page.goto(f"{address}#/{name}{'?' + query if query else ''}")
    page.get_by_role("heading", level=1).first.wait_for()


def playhead(page: Any) -> Any:
    return page.get_by_role("slider", name="Playhead")


def step_of(page: Any) -> int:
    return int(playhead(page).get_attribute("aria-valuenow"))


def run_id(root: Path, project: str) -> str:
    info = (
        epochal.open(root).run(next(r.info.run_id for r in epochal.open(root).runs() if r.info.project == project)).info
    )
    return f"{info.project}/{info.run_id}"


def picture(page: Any) -> bytes:
    """What the page shows of the run, as pixels."""
    return bytes(page.locator("main").screenshot(animations="disabled"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible(page: Any, address: str, root: Path, name: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    page.emulate_media(color_scheme=scheme)
    open_page(page, address, name, run=run_id(root, "iris"))
    page.wait_for_timeout(600)
    assert page.get_by_role("heading", level=1).count() == 1
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(r => r.violations)")
    serious = [
        f"{v['id']}: {[n['html'][:120] for n in v['nodes'][:3]]}"
        for v in found
        if v["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_the_theme_follows_the_system_and_can_be_overridden(page: Any, address: str) -> None:
    page.emulate_media(color_scheme="dark")
    open_page(page, address, "runs")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Switch to light theme").click()
    light = page.evaluate(background)
    assert dark != light
    page.reload()
    page.get_by_role("heading", level=1).first.wait_for()
    assert page.evaluate(background) == light


def test_the_playhead_moves_everything_on_every_page(page: Any, address: str, root: Path) -> None:
    for name in ("metrics", "distributions", "weights"):
        open_page(page, address, name, run=run_id(root, "iris"))
        playhead(page).press("End")
        page.wait_for_timeout(700)
        last, shown = step_of(page), picture(page)
        playhead(page).press("Home")
        page.wait_for_timeout(300)
        assert step_of(page) == 0 < last
        assert picture(page) != shown, f"{name} does not follow the playhead"
        playhead(page).press("ArrowRight")
        assert step_of(page) > 0


def test_play_moves_the_playhead_and_pause_stops_it(page: Any, address: str, root: Path) -> None:
    open_page(page, address, "weights", run=run_id(root, "iris"), step="0")
    playhead(page).wait_for()
    page.keyboard.press("Space")
    page.wait_for_timeout(900)
    page.keyboard.press("Space")
    stopped = step_of(page)
    assert stopped > 0
    page.wait_for_timeout(400)
    assert step_of(page) == stopped


def test_a_deep_link_is_restored_after_a_reload(page: Any, address: str, root: Path) -> None:
    open_page(page, address, "weights", run=run_id(root, "iris"))
    page.get_by_role("button", name="Since start").or_(page.get_by_text("Since start", exact=True)).first.click()
    playhead(page).press("Home")
    for _ in range(7):
        playhead(page).press("ArrowRight")
    step = step_of(page)
    page.wait_for_timeout(600)
    link = page.url
    assert "step=" in link
    page.goto("about:blank")
    page.goto(link)
    playhead(page).wait_for()
    page.wait_for_timeout(500)
    assert page.url == link
    assert step_of(page) == step > 0
    assert page.get_by_role("heading", level=1).inner_text() == "Weights"


def test_the_number_under_the_mouse_is_the_parameter(page: Any, address: str, root: Path) -> None:
    reader = epochal.open(root).run(run_id(root, "iris"))
    open_page(page, address, "weights", run=run_id(root, "iris"))
    playhead(page).press("End")
    page.wait_for_timeout(800)
    film = reader.film("layers.0.weight")
    weights = film.frames[-1]
    box = page.locator("main canvas").first.bounding_box()
    assert box is not None
    rows, columns = weights.shape
    cell = box["height"] / rows  # cells are square; the bias stands in the same picture, behind the last column
    for row, column in ((0, 0), (rows - 1, columns - 1), (3, 2)):
        page.mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell)
        page.wait_for_timeout(200)
        text = page.locator("body").inner_text().replace("−", "-")
        value = float(weights[row, column])
        shown = [float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]
        assert any(abs(x - value) <= 6e-4 * max(1.0, abs(value)) for x in shown), f"{value} of ({row}, {column})"


def test_a_live_run_appears_and_grows_within_a_second(page: Any, address: str, root: Path) -> None:
    open_page(page, address, "metrics")
    run = epochal.init(project="live", name="growing", dir=root)
    try:
        run.log({"loss": 3.0}, step=0)
        page.get_by_text("growing").first.wait_for(timeout=4000)
        page.get_by_text("growing").first.click()
        delays = []
        for step in range(10, 60, 10):
            run.log({"loss": 3.0 / step}, step=step)
            start = time.perf_counter()
            page.wait_for_function(
                "step => Number(document.querySelector('[aria-label=Playhead]')?.ariaValueMax) >= step",
                arg=step,
                timeout=5000,
            )
            delays.append(time.perf_counter() - start)
            page.wait_for_timeout(150)
        assert float(np.median(delays)) < 1.0, delays
    finally:
        run.finish()
    page.get_by_text("finished").first.wait_for(timeout=4000)


@pytest.mark.parametrize(
    ("what", "suffix", "magic"),
    [("weights", "gif", b"GIF8"), ("weights", "png", b"\x89PNG"), ("scalars", "svg", b"<"), ("scalars", "csv", b"")],
)
def test_exports_download(page: Any, address: str, root: Path, what: str, suffix: str, magic: bytes) -> None:
    open_page(page, address, "weights", run=run_id(root, "iris"))
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_label("What", exact=True).select_option(what)
    page.get_by_label("As", exact=True).select_option(suffix)
    with page.expect_download(timeout=30_000) as download:
        page.get_by_role("dialog").locator("button[type=submit]").click()
    data = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename.endswith(f".{suffix}")
    assert data.startswith(magic)
    if suffix == "csv":
        assert b"val_loss" in data
    assert not zipfile.is_zipfile(download.value.path())


def test_runs_can_be_renamed_deleted_and_brought_back(page: Any, address: str, root: Path) -> None:
    with epochal.init(project="table", name="to be deleted", dir=root) as run:
        run.log({"loss": 1.0}, step=0)
    open_page(page, address, "runs")
    row = page.get_by_role("row").filter(has_text="to be deleted")
    row.wait_for()
    row.get_by_role("button").last.click()
    page.get_by_role("menuitem", name=re.compile("Delete")).click()
    page.get_by_role("button", name="Undo").wait_for()
    assert page.get_by_role("row").filter(has_text="to be deleted").count() == 0
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("row").filter(has_text="to be deleted").wait_for()


def test_a_run_deleted_while_viewed_leaves_the_studio_standing(
    page: Any, address: str, root: Path, problems: list[str]
) -> None:
    with epochal.init(project="gone", name="soon gone", dir=root) as run:
        run.log({"loss": 1.0}, step=0)
    reader = epochal.open(root).run(f"gone/{run.id}")
    open_page(page, address, "metrics", run=f"gone/{run.id}")
    page.get_by_text("soon gone").first.wait_for()
    import shutil

    shutil.rmtree(reader.info.path)
    page.get_by_text("soon gone").first.wait_for(state="detached", timeout=6000)
    page.get_by_role("link", name="Runs").or_(page.get_by_role("button", name="Runs")).first.click()
    page.get_by_role("heading", level=1).first.wait_for()
    # A question may be on its way when its run goes; the browser itself writes the 404 to the console.
    problems[:] = [text for text in problems if "404" not in text]


def test_an_empty_folder_says_what_to_do(browser: Any, tmp_path: Path) -> None:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(tmp_path, studio_folder=STUDIO), port=0)
    try:
        page = browser.new_page()
        page.goto(server.address.url)
        page.get_by_text("epochal demo iris").first.wait_for()
        assert "run.watch(model)" in page.locator("main").inner_text()
        page.close()
    finally:
        server.stop()


def test_the_exported_file_is_a_working_studio_without_a_server(browser: Any, root: Path, tmp_path: Path) -> None:
    from epochal import export

    target = tmp_path / "report.html"
    export.write(epochal.open(root).run(run_id(root, "iris")), to=target)
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{target.as_uri()}#/weights")
    playhead(page).wait_for()
    playhead(page).press("End")
    page.wait_for_timeout(800)
    last, shown = step_of(page), picture(page)
    playhead(page).press("Home")
    page.wait_for_timeout(300)
    assert step_of(page) == 0 < last
    assert picture(page) != shown
    for name in ("Metrics", "Distributions", "Network"):
        page.get_by_role("navigation").get_by_text(name, exact=True).first.click()
        page.get_by_role("heading", level=1, name=name).wait_for()
        page.wait_for_timeout(300)
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
