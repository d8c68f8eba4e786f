"""What charts show is what was recorded, and every page fits a small window."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

import epochal
from tests.e2e.test_studio import PAGES, open_page, playhead, run_id


def saved_csv(page: Any, title: str) -> list[dict[str, str]]:
    """Rows of the CSV that the menu of a chart saves."""
    card = page.get_by_role("region", name=title, exact=True)
    card.get_by_role("button", name=f"Save or copy: {title}").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Save CSV").click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?[\d.]+(?:e-?\d+)?", text.replace("−", "-").replace(",", ""))]


@pytest.mark.parametrize("state", [{}, {"smooth": "0.9"}, {"smooth": "0.5", "zoom": "10~200"}])
def test_smoothing_and_zoom_lose_no_point(page: Any, address: str, root: Path, state: dict[str, str]) -> None:
    run = run_id(root, "iris")
    open_page(page, address, "metrics", run=run, show=run, x="step", **state)
    page.get_by_role("img", name="loss: 1 line over training", exact=True).wait_for()
    page.wait_for_timeout(800)
    rows = saved_csv(page, "loss")
    table = epochal.open(root).run(run).scalars("loss").to_pydict()
    assert [int(float(r["step"])) for r in rows] == table["step"]
    assert [float(r["loss"]) for r in rows] == table["v"]


def test_the_value_beside_the_mouse_is_the_recorded_one(page: Any, address: str, root: Path) -> None:
    run = run_id(root, "iris")
    open_page(page, address, "metrics", run=run, show=run, x="step")
    table = epochal.open(root).run(run).scalars("loss").to_pydict()
    recorded = dict(zip(table["step"], table["v"], strict=True))
    page.wait_for_timeout(800)
    box = page.get_by_role("img", name=re.compile("^loss: ")).locator(".u-over").bounding_box()
    assert box is not None
    for part in (0.05, 0.4, 0.9):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        readout = page.locator(".readout")
        readout.wait_for()
        page.wait_for_timeout(100)
        step = numbers(readout.locator("p").first.inner_text())[0]
        nearest = sorted(recorded, key=lambda s: abs(s - step))[:2]
        shown = numbers(readout.locator("b").first.inner_text())[0]
        assert any(shown == pytest.approx(recorded[s], rel=1e-3) for s in nearest), (step, shown)


def test_saved_histograms_are_the_recorded_ones(page: Any, address: str, root: Path) -> None:
    run = run_id(root, "iris")
    film = epochal.open(root).run(run).film("hist/param/layers.0.weight")
    size = int(film.frames[0].sum())
    open_page(page, address, "distributions", run=run, series="param/layers.0.weight")
    histogram = page.locator(".histogram")
    histogram.wait_for()
    assert f"at step {int(film.steps[-1]):,}: histogram of {size} values" in histogram.get_attribute("aria-label")
    playhead(page).press("Home")
    page.wait_for_timeout(200)
    assert f"at step 0: histogram of {size} values" in histogram.get_attribute("aria-label")
    rows = saved_csv(page, "param/layers.0.weight")
    counts: dict[int, list[float]] = {}
    for row in rows:
        counts.setdefault(int(float(row["step"])), []).append(float(row["count"]))
    assert list(counts) == [int(s) for s in film.steps]
    for step, frame in zip(film.steps, film.frames, strict=True):
        assert counts[int(step)] == frame.tolist()


def test_a_layer_of_the_network_opens_and_closes_by_keyboard(page: Any, address: str, root: Path) -> None:
    open_page(page, address, "network", run=run_id(root, "iris"), net="table")
    first = page.locator("button[data-layer]").first
    first.wait_for()
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    panel = page.get_by_role("region", name=re.compile("layers.0"))
    panel.wait_for()
    assert "12 × 4" in panel.inner_text()
    page.keyboard.press("ArrowDown")
    page.get_by_role("region", name=re.compile("layers.1")).wait_for()
    page.keyboard.press("Escape")
    panel.wait_for(state="detached")
    assert page.locator("button[data-layer]").nth(2).evaluate("e => e === document.activeElement")


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_a_tablet(page: Any, address: str, root: Path, name: str) -> None:
    page.set_viewport_size({"width": 768, "height": 1024})
    open_page(page, address, name, run=run_id(root, "digits"))
    page.wait_for_timeout(500)
    for element in ("document.documentElement", "document.querySelector('main')"):
        assert page.evaluate(f"{element}.scrollWidth <= {element}.clientWidth"), element
    cut = page.evaluate(
        "[...document.querySelectorAll('header button, main .page-bar *, footer button')]"
        ".filter(e => e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 100))"
    )
    assert cut == []


def test_a_run_of_one_step_is_not_called_empty(page: Any, address: str, root: Path) -> None:
    with epochal.init(project="single", name="one step", dir=root) as run:
        run.log({"loss": 1.25}, step=500)
    open_page(page, address, "metrics", run=f"single/{run.id}")
    page.get_by_text("Only step 500 so far").wait_for()
    assert "1.25" in page.locator("main").inner_text()


def test_a_long_name_stays_in_sight_beside_its_tags(page: Any, address: str, root: Path) -> None:
    name = "a very long name of a run that says all of its settings lr=0.001 batch=128"
    with epochal.init(project="long", name=name, dir=root, tags=["baseline", "a-tag-that-is-long-too", "third"]) as run:
        run.log({"loss": 1.0}, step=0)
    open_page(page, address, "runs")
    shown = page.get_by_role("button", name=re.compile("^a very long name")).locator("span").first
    shown.wait_for()
    box = shown.bounding_box()
    assert box is not None
    assert box["width"] > 100


def test_renaming_by_keyboard_goes_on_from_the_name(page: Any, address: str, root: Path) -> None:
    with epochal.init(project="keys", name="before", dir=root) as run:
        run.log({"loss": 1.0}, step=0)
    open_page(page, address, "runs")
    page.get_by_role("button", name="before", exact=True).press("F2")
    page.get_by_role("textbox", name=re.compile("name", re.I)).fill("after")
    page.keyboard.press("Enter")
    renamed = page.get_by_role("button", name="after", exact=True)
    renamed.wait_for()
    assert renamed.evaluate("e => e === document.activeElement")


def test_the_list_of_runs_closes_on_a_small_screen(page: Any, address: str, root: Path) -> None:
    page.set_viewport_size({"width": 768, "height": 1024})
    open_page(page, address, "metrics", run=run_id(root, "iris"))
    switch = page.get_by_role("banner").locator(".side-switch")
    for by_key in (True, False):
        switch.click()
        assert switch.get_attribute("aria-expanded") == "true"
        if by_key:
            page.keyboard.press("Escape")
        else:
            page.mouse.click(600, 700)
        assert switch.get_attribute("aria-expanded") == "false"
