"""The Lens page in a real browser: maps of recorded examples and uploaded pictures, along the training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochal
from tests.e2e.conftest import STUDIO
from tests.e2e.test_inside import accessible, pixels
from tests.e2e.test_studio import open_page

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch

SIDE = 16
LAST = 24


def halves(count: int, seed: int) -> tuple[Any, Any]:
    """Pictures [N, 3, 16, 16] whose bright half, left or right, is their class."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = random.integers(0, 90, (count, 3, SIDE, SIDE)) / 255
    for i, side in enumerate(y):
        x[i, :, :, SIDE // 2 * side : SIDE // 2 * (side + 1)] += 0.6
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network that learns left from right."""
    folder = tmp_path_factory.mktemp("lens")
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 64, 2),
    )  # fmt: skip
    x, y = halves(64, 0)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    with epochal.init(project="halves", name="halves", dir=folder, strict=True) as run:
        run.watch(net, inputs=(torch.from_numpy(x[:2]),), snapshots=None)
        for step in range(LAST + 1):
            loss = nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
            run.log({"loss": loss.item()}, step=step)
            if step % 8 == 0:
                run.snapshot(step=step)
                said = net(torch.from_numpy(x)).softmax(1).detach().numpy()
                run.log_predictions(x, y, said, class_names=["left", "right"], step=step)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return folder


@pytest.fixture(scope="module")
def lens(runs: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(runs, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


def card(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def map_of(page: Any, name: str) -> Any:
    found = card(page, name).locator("canvas.frame")
    found.wait_for(timeout=60_000)
    return found


def at_rest(page: Any) -> None:
    """All that was asked has come."""
    page.locator(".look[aria-busy=true]").first.wait_for(state="detached", timeout=60_000)
    page.locator(".status i").wait_for(state="hidden", timeout=60_000)


def test_what_is_going_on_can_be_stopped_and_begun_again(page: Any, lens: str) -> None:
    open_page(page, lens, "lens")
    page.get_by_role("button", name="Stop", exact=True).click()  # the process that looks is only starting
    page.get_by_text("Stopped").wait_for()
    page.get_by_role("button", name="Look again").click()
    map_of(page, "Grad-CAM")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_maps_follow_class_and_playhead(page: Any, lens: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 900})
    open_page(page, lens, "lens", example="3")
    map_of(page, "Saliency")
    at_rest(page)
    answers = page.get_by_role("list", name="What it says")
    assert answers.get_by_role("listitem").first.inner_text().startswith("right")
    trained = pixels(map_of(page, "Grad-CAM"))
    assert "score of right" in card(page, "Grad-CAM").inner_text()
    accessible(page)
    page.get_by_label("Explain the class").select_option("0")
    card(page, "Grad-CAM").get_by_text("score of left").wait_for(timeout=20_000)
    assert pixels(map_of(page, "Grad-CAM")) != trained
    page.get_by_label("Explain the class").select_option("")
    card(page, "Grad-CAM").get_by_text("score of right").wait_for(timeout=20_000)
    assert pixels(map_of(page, "Grad-CAM")) == trained, "what was asked before is kept"
    page.locator("h1").click()
    page.keyboard.press("Home")
    page.get_by_text("at step 0", exact=True).wait_for(timeout=20_000)
    at_rest(page)
    assert pixels(map_of(page, "Saliency")) != trained
    page.keyboard.press("End")
    page.get_by_text(f"at step {LAST}", exact=True).wait_for(timeout=20_000)
    at_rest(page)
    page.mouse.move(0, 0)
    assert pixels(map_of(page, "Grad-CAM")) == trained


def test_methods_layers_and_channels_are_chosen_by_keyboard(page: Any, lens: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    open_page(page, lens, "lens", methods="feature_maps")
    at_rest(page)
    tiles = card(page, "Feature maps").get_by_role("list").get_by_role("button")
    tiles.first.wait_for(timeout=60_000)
    assert tiles.count() == 8
    before = pixels(map_of(page, "Feature maps"))
    tiles.nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert tiles.nth(1).get_attribute("aria-pressed") == "true"
    assert pixels(map_of(page, "Feature maps")) != before
    page.get_by_label("Layer").select_option("0")
    card(page, "Feature maps").get_by_text("layer 0").wait_for(timeout=20_000)
    assert tiles.count() == 6
    chip = page.get_by_role("group", name="Ways of looking").get_by_role("button", name="Filters")
    chip.focus()
    page.keyboard.press("Space")
    card(page, "Filters").get_by_role("listitem").first.wait_for(timeout=20_000)
    assert card(page, "Filters").get_by_role("listitem").count() == 6
    page.wait_for_timeout(400)
    assert "methods=feature_maps,filters" in page.url
    assert "at=0" in page.url


def test_settings_of_a_method_are_kept_in_the_address(page: Any, lens: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 1200})
    open_page(page, lens, "lens", methods="occlusion")
    at_rest(page)
    usual = pixels(map_of(page, "Occlusion"))
    card(page, "Occlusion").get_by_text("Settings").click()
    field = card(page, "Occlusion").get_by_label("side of the window")
    field.fill("8")
    field.press("Tab")
    page.wait_for_timeout(500)
    at_rest(page)
    page.wait_for_function("() => location.hash.includes('occlusion.window')")
    page.reload()
    at_rest(page)
    assert pixels(map_of(page, "Occlusion")) != usual


def test_a_picture_of_ones_own_is_looked_at_and_a_broken_one_refused(page: Any, lens: str) -> None:
    shown = np.full((40, 60, 3), 20, np.uint8)
    shown[:, 30:] = 230
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    open_page(page, lens, "lens", methods="grad_cam")
    map_of(page, "Grad-CAM")
    page.get_by_text("Your own").click()
    field = page.locator("input[type=file]")
    field.set_input_files({"name": "right.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.get_by_text("The picture that you chose").wait_for(timeout=20_000)
    at_rest(page)
    answers = page.get_by_role("list", name="What it says")
    assert answers.get_by_role("listitem").first.inner_text().startswith("right")
    map_of(page, "Grad-CAM")
    field.set_input_files({"name": "bad.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + b"\0" * 40})
    page.get_by_role("alert").get_by_text("picture").wait_for(timeout=20_000)
    page.get_by_text("Examples", exact=True).last.click()
    map_of(page, "Grad-CAM")


def test_a_map_is_checked_with_random_weights_at_one_click(page: Any, lens: str) -> None:
    open_page(page, lens, "lens", methods="grad_cam,saliency", example="3")
    at_rest(page)
    one = card(page, "Saliency")
    before = pixels(map_of(page, "Saliency"))
    one.get_by_role("button", name="Sanity check").click()
    one.get_by_text("rank correlation").wait_for(timeout=30_000)
    assert pixels(one.locator(".checked canvas")) != before
    assert card(page, "Grad-CAM").get_by_text("rank correlation").count() == 0
    accessible(page)


def test_a_channel_and_a_unit_are_explained_in_place_of_a_class(page: Any, lens: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 1200})
    open_page(page, lens, "lens", methods="saliency", example="3")
    at_rest(page)
    of_class = pixels(map_of(page, "Saliency"))
    page.get_by_text("A channel").click()
    at_rest(page)
    channel = page.get_by_label("Channel", exact=True)
    channel.fill("5")
    channel.press("Tab")
    card(page, "Saliency").get_by_text("score of channel 5").wait_for(timeout=20_000)
    of_channel = pixels(map_of(page, "Saliency"))
    assert of_channel != of_class
    row = page.get_by_label("Row of the unit")
    row.fill("1")
    row.press("Tab")
    page.wait_for_function("() => location.hash.includes('unitat=1')")
    page.wait_for_timeout(400)
    at_rest(page)
    assert pixels(map_of(page, "Saliency")) != of_channel
    page.get_by_role("list", name="What it says").get_by_role("button").first.click()
    card(page, "Saliency").get_by_text("score of right").wait_for(timeout=20_000)


def test_the_strongest_examples_of_a_unit_lead_to_the_example(page: Any, lens: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 1200})
    open_page(page, lens, "lens", methods="top_examples", at="3")
    at_rest(page)
    one = card(page, "Top examples")
    tiles = one.get_by_role("listitem")
    tiles.first.wait_for(timeout=30_000)
    assert tiles.count() == 9
    assert tiles.first.locator("canvas").count() == 2
    first = one.get_by_role("list").get_attribute("aria-label")
    one.get_by_role("button", name="A weaker unit").click()
    page.wait_for_function(
        "(old) => document.querySelector('.look ol')?.getAttribute('aria-label') !== old", arg=first, timeout=20_000
    )
    accessible(page)
    tiles.nth(2).get_by_role("button").click()
    page.wait_for_function("() => location.hash.includes('example=')")


def test_a_film_is_there_before_it_is_played(page: Any, lens: str) -> None:
    open_page(page, lens, "lens", methods="saliency,grad_cam", example="3")
    map_of(page, "Saliency")
    at_rest(page)
    page.evaluate(
        """() => { window.said = []
        new MutationObserver(() => window.said.push(document.querySelector('.page-bar .status')?.innerText ?? ''))
            .observe(document.body, { subtree: true, childList: true, characterData: true }) }"""
    )
    page.get_by_role("button", name="Film", exact=True).click()
    page.wait_for_function("() => window.said.some((one) => one.includes('of 4 snapshots'))")  # it may be short
    page.get_by_label("Snapshots that are there").wait_for(state="detached", timeout=60_000)
    at_rest(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/lens" in request.url else None)
    trained = pixels(map_of(page, "Saliency"))
    page.locator("h1").click()
    page.keyboard.press("Home")
    page.get_by_text("at step 0", exact=True).wait_for(timeout=20_000)
    page.wait_for_timeout(500)
    assert pixels(map_of(page, "Saliency")) != trained
    assert "score of right" in card(page, "Saliency").inner_text(), "the class is that of the last step"
    assert asked == []


def test_a_film_is_saved_from_the_page_and_can_be_stopped(page: Any, lens: str, tmp_path: Path) -> None:
    open_page(page, lens, "lens", methods="saliency,rise,top_examples", set="rise.masks=8000", example="3")
    at_rest(page)
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog", name="Save what the lens sees")
    dialog.get_by_text("Top examples: no film of it").wait_for()
    dialog.get_by_text("The class stays right at all steps").wait_for()
    accessible(page)
    dialog.get_by_role("button", name="Make the file").click()
    dialog.get_by_role("progressbar").wait_for()
    dialog.get_by_role("button", name="Stop").click()
    dialog.get_by_role("progressbar").wait_for(state="detached")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="RISE", exact=True).click()
    at_rest(page)
    for kind in ("gif", "html", "png"):
        page.get_by_role("button", name="Save", exact=True).click()
        dialog.get_by_label("Format").select_option(kind)
        with page.expect_download(timeout=60_000) as coming:
            dialog.get_by_role("button", name="Make the file").click()
        coming.value.save_as(tmp_path / f"film.{kind}")
        assert coming.value.suggested_filename == f"halves-saliency.{kind}"
        dialog.wait_for(state="detached")
    with Image.open(tmp_path / "film.gif") as gif, Image.open(tmp_path / "film.png") as png:
        assert getattr(gif, "n_frames", 1) == 4
        assert png.size == gif.size
    player = page.context.new_page()
    problems: list[str] = []
    player.on("pageerror", lambda error: problems.append(str(error)))
    player.goto((tmp_path / "film.html").as_uri())
    player.get_by_text("step 24").wait_for()
    trained = player.locator("img").get_attribute("src")
    player.get_by_label("Frame").fill("0")
    player.get_by_text("step 0").wait_for()
    assert player.locator("img").get_attribute("src") != trained
    player.get_by_role("button", name="Play").click()
    player.get_by_text("step 24").wait_for()
    player.get_by_role("button", name="Play").wait_for()
    assert player.locator("img").get_attribute("src") == trained
    assert problems == []
    player.close()


def test_a_layer_is_chosen_in_the_graph(page: Any, lens: str) -> None:
    open_page(page, lens, "lens", methods="feature_maps")
    at_rest(page)
    page.get_by_role("button", name="In the graph").click()
    panel = page.get_by_role("region", name="Properties of")
    panel.wait_for(timeout=20_000)
    page.evaluate("location.hash = location.hash.replace(/picked=[^&]*/, 'picked=0')")
    page.get_by_role("region", name="Properties of 0").get_by_role("button", name="Lens").click()
    card(page, "Feature maps").get_by_text("layer 0").wait_for(timeout=20_000)


def test_the_unit_page_shows_what_a_channel_answers_to_most(page: Any, lens: str) -> None:
    open_page(page, lens, "unit", units="3", unit="2")
    best = page.get_by_role("list", name="Strongest examples of unit 2 of 3").get_by_role("listitem")
    best.first.wait_for(timeout=60_000)
    assert best.count() == 9
    best.first.get_by_role("button").click()
    page.get_by_role("region", name="Input").wait_for(timeout=20_000)


def test_a_report_says_that_the_network_cannot_be_asked(browser: Any, runs: Path, tmp_path: Path) -> None:
    from epochal.export import write

    write(epochal.open(runs).run("latest").stored, to=tmp_path / "report.html", studio_folder=STUDIO)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri() + "#/lens")
    page.get_by_text("An exported page cannot look into the network").wait_for()
    assert problems == []
    context.close()
