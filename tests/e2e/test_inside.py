"""Inside a network in a real browser: weights as pictures, class images, units, and asking it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from tests.e2e.conftest import STUDIO
from tests.e2e.test_studio import AXE, open_page

CLASSES = 10


def bright_rows(count: int, seed: int) -> tuple[Any, Any]:
    """Pictures of which the bright band of three rows tells the class: 0 is at the top."""
    random = np.random.default_rng(seed)
    y = (np.arange(count) % CLASSES).astype(np.uint8)
    x = random.integers(0, 40, (count, 28, 28)).astype(np.uint8)
    for i, label in enumerate(y):
        top = 2 * int(label) + 3
        x[i, top : top + 3] = 250
    return x, y


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the MNIST demo on pictures that are learnt at once."""
    folder = tmp_path_factory.mktemp("inside")
    (x_train, y_train), (x_test, y_test) = bright_rows(600, 0), bright_rows(100, 1)
    np.savez(folder / "rows.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    words = ["mnist", "--data", str(folder / "rows.npz"), "--hidden", "12", "--epochs", "25", "--no-view", "--json"]
    command = [sys.executable, "-m", "epochal", "demo", *words, "--dir", str(folder / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] > 0.95
    return folder / "runs"


@pytest.fixture(scope="module")
def inside(trained: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(trained, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


def pixels(locator: Any) -> bytes:
    return bytes(locator.screenshot(animations="disabled"))


def accessible(page: Any) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(r => r.violations)")
    serious = [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in {"serious", "critical"}]
    assert serious == []


def draw_row(page: Any, row: float) -> None:
    """A line across the field to draw in, `row` of 28 from the top."""
    box = page.get_by_role("application").bounding_box()
    y = box["y"] + box["height"] * (row + 0.5) / 28
    page.mouse.move(box["x"] + 6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 6, y, steps=12)
    page.mouse.up()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_class_images_follow_the_playhead_and_the_network_answers(page: Any, inside: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 900})
    open_page(page, inside, "weights", view="classes")
    card = page.get_by_role("region", name="What each class looks like to the network")
    card.get_by_role("img").first.wait_for()
    page.wait_for_timeout(300)
    trained = pixels(card)
    accessible(page)
    page.get_by_label("Centre").uncheck()
    answer = page.locator(".answer")
    for row, label in ((4, 0), (22, 9), (12, 4)):
        page.get_by_role("button", name="Clear").click()
        draw_row(page, row)
        page.get_by_text(f"It says {label},").wait_for()
    shown = answer.get_by_role("listitem")
    assert shown.count() == CLASSES
    assert shown.nth(4).get_attribute("class") is not None
    page.locator("h1").click()
    page.keyboard.press("Home")
    page.get_by_text("what it says at step 0").wait_for()
    untrained = pixels(card)
    assert untrained != trained
    # The shares of the hidden units, by keyboard.
    page.get_by_label("Shares of hidden units").select_option("4")
    page.get_by_role("region", name="What each hidden unit adds to class 4").wait_for()


def test_the_network_is_asked_by_keyboard(page: Any, inside: str) -> None:
    open_page(page, inside, "weights", view="classes")
    pad = page.get_by_role("application")
    pad.focus()
    page.keyboard.press("ArrowUp")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowRight")
    page.locator(".says").wait_for()
    playhead = page.get_by_role("slider", name="Playhead")
    assert playhead.get_attribute("aria-valuenow") == playhead.get_attribute("aria-valuemax"), (
        "arrows stay in the field"
    )


def test_pictures_are_sorted_compared_and_lead_to_their_units(page: Any, inside: str, trained: Path) -> None:
    run = epochal.open(trained).run("latest")
    open_page(page, inside, "weights", view="pictures")
    card = page.get_by_role("region", name="layers.0")
    card.get_by_role("img").first.wait_for()
    page.wait_for_timeout(300)
    by_index = pixels(card)
    page.get_by_label("Sort units by").select_option("influence")
    page.wait_for_timeout(300)
    assert pixels(card) != by_index
    page.get_by_role("button", name="A | B").click()
    card.get_by_text("A · untrained (step 0)").wait_for()
    card.get_by_text("B − A").wait_for()
    assert card.get_by_role("img").count() == 3
    page.get_by_role("button", name="A | B").click()
    card.get_by_role("img").first.wait_for()
    page.wait_for_timeout(300)
    box = card.locator("canvas").first.bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.mouse.click(box["x"] + 12, box["y"] + 12)
    page.get_by_role("heading", level=1, name="Units").wait_for()
    # The first picture is that of the unit with the largest influence at the end.
    units = run.network().units("layers.0")
    strongest = max(units, key=lambda unit: unit.influence)
    assert page.get_by_label("Unit", exact=True).input_value() == str(strongest.index)
    region = page.get_by_role("region", name="Incoming weights")
    region.get_by_role("img").first.wait_for()
    assert f"{strongest.influence:.4g}" in region.inner_text()
    assert f"{abs(strongest.bias or 0):.4g}" in region.inner_text()
    outgoing = page.get_by_role("list", name="Outgoing weights to layers.2")
    for i, told in enumerate(outgoing.get_by_role("listitem").all()):
        assert f"{abs(float(strongest.outgoing['layers.2'][i])):.3g}" in told.inner_text()
    page.get_by_role("region", name="Examples that move it most").get_by_role("listitem").first.wait_for()
    told = page.get_by_role("region", name="Correlation with classes").get_by_role("listitem").all_inner_texts()
    predictions = run.predictions()
    labels = np.asarray(predictions.labels)
    pixels_in = np.asarray(predictions.inputs, np.float64).reshape(len(labels), -1) / 255
    hidden = pixels_in @ strongest.incoming
    out = 1 / (1 + np.exp(-(hidden + (strongest.bias or 0))))
    for label in range(CLASSES):
        expected = np.corrcoef(out, labels == label)[0, 1]
        assert float(told[label].split()[-1].replace("−", "-")) == pytest.approx(expected, abs=0.02)
    accessible(page)
    before = pixels(page.get_by_role("region", name="Incoming weights"))
    page.locator("h1").click()
    page.keyboard.press("Home")
    page.wait_for_timeout(300)
    assert pixels(page.get_by_role("region", name="Incoming weights")) != before
    page.get_by_role("button", name="Next unit").click() if strongest.index < 11 else None


def test_a_report_holds_class_images_and_units_but_nobody_to_ask(browser: Any, trained: Path, tmp_path: Path) -> None:
    from epochal.export import write

    run = epochal.open(trained).run("latest")
    write(run.stored, to=tmp_path / "report.html", studio_folder=STUDIO)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri() + "#/weights?view=classes")
    card = page.get_by_role("region", name="What each class looks like to the network")
    card.get_by_role("img").first.wait_for()
    assert page.get_by_role("application").count() == 0
    page.goto((tmp_path / "report.html").as_uri() + "#/unit?unit=3")
    page.get_by_role("region", name="Incoming weights").get_by_role("img").first.wait_for()
    assert problems == []
    context.close()
