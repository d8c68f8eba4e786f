"""Blocks of voxels in a real browser: a cube is drawn where it is, and turning takes it where it must be."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import epochal
from tests.e2e.conftest import STUDIO

SIDE = 5
NO_CARD = """
const own = HTMLCanvasElement.prototype.getContext
HTMLCanvasElement.prototype.getContext = function (kind, ...how) {
  return kind === 'webgl2' ? null : own.call(this, kind, ...how)
}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voxels")
    first, second = np.zeros((2, SIDE, SIDE, SIDE), np.float32)
    first[0, 1, 4] = 1
    second[4, 3, 0] = 1
    shape = np.zeros((8, 1, 6, 7, 8), np.float32)
    shape[:, 0, 2:4, 1:6, 3] = np.linspace(0.5, 1, 8)[:, None, None]
    with epochal.init("space", dir=folder, strict=True, system=False, console=False) as run:
        run.log({"loss": 1.0, "cube": epochal.Voxels(first), "nothing": epochal.Voxels(first * 0)}, step=0)
        run.log({"loss": 0.5, "cube": epochal.Voxels(second), "nothing": epochal.Voxels(first * np.nan)}, step=10)
        run.log_predictions(shape, np.arange(8) % 2, np.tile([0.3, 0.7], (8, 1)), step=10)
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


def opened(page: Any, address: str, series: str = "cube", **params: object) -> Any:
    """The stage of the dialog of a series, once something is drawn on it."""
    words = "&".join(f"{name}={value}" for name, value in ({"step": 0} | params).items())
    page.goto(f"{address}#/media?{words}")
    page.get_by_label("Filter media").fill(series)
    page.get_by_text("1 of 3 series").wait_for()
    page.get_by_role("button", name="Enlarge voxels").click()
    stage = page.locator(".stage canvas")
    stage.wait_for()
    settled(page)
    return stage


def settled(page: Any) -> None:
    """Waits until the picture rests: nothing has been drawn for a while."""
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector('.stage canvas'), now = performance.now()
          const frames = canvas?.measured?.frames ?? 0
          if (frames !== canvas?.seen) Object.assign(canvas ?? {}, {seen: frames, since: now})
          return frames > 0 && now - canvas.since > 700
        }"""
    )


def pixels(stage: Any) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB")).astype(np.int64)


def middle(stage: Any) -> tuple[float, float] | None:
    """Where coloured pixels are, in voxels from the middle of the picture; None where there are none."""
    seen = pixels(stage)
    rows, columns = np.nonzero(np.ptp(seen, axis=-1) > 70)
    if len(rows) < 20:
        return None
    scale = seen.shape[1] / (math.sqrt(3 * SIDE**2) * 1.04)
    return ((columns.mean() + 0.5 - seen.shape[1] / 2) / scale, (rows.mean() + 0.5 - seen.shape[0] / 2) / scale)


def turned(page: Any, text: str) -> None:
    page.evaluate(
        "text => { location.hash = location.hash.replace(/([?&])turn=[^&]*&?/, '$1') + '&turn=' + text }", text
    )
    page.wait_for_timeout(100)
    settled(page)


@pytest.mark.parametrize("card", [True, False])
def test_a_cube_is_drawn_where_it_is_and_a_quarter_turn_moves_it(page: Any, address: str, *, card: bool) -> None:
    if not card:
        page.add_init_script(NO_CARD)
    stage = opened(page, address, turn="0,0,1")
    assert stage.evaluate("c => c.measured.card") is card
    assert page.get_by_text("draws without WebGL2").count() == (0 if card else 1)
    assert middle(stage) == pytest.approx((2, -1), abs=0.12)
    for yaw, x in ((90, -2), (180, -2), (-90, 2)):
        turned(page, f"{yaw},0,1")
        assert middle(stage) == pytest.approx((x, -1), abs=0.12)
    turned(page, "0,90,1")  # from above: what is in front lies at the bottom
    assert middle(stage) == pytest.approx((2, 2), abs=0.12)
    turned(page, "0,0,1.5")
    assert middle(stage) == pytest.approx((3, -1.5), abs=0.2)


def test_the_mouse_and_keys_turn_it_and_time_does_not(page: Any, address: str) -> None:
    stage = opened(page, address, turn="0,0,1")
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 2, y, steps=6)
    page.mouse.up()
    settled(page)
    assert "turn=90," in page.url
    assert middle(stage) == pytest.approx((-2, -1), abs=0.15)
    stage.evaluate("c => { c.mine = true }")
    page.get_by_role("button", name="Step after").click()
    page.wait_for_url("**step=10**")
    page.wait_for_timeout(300)
    settled(page)
    # The same canvas, turned as before; the cube of the other step: [4, 3, 0] is at x = sin(90°) · 2.
    assert stage.evaluate("c => c.mine") is True
    assert middle(stage) == pytest.approx((2, 1), abs=0.15)
    stage.focus()
    before = page.url
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert page.url != before
    assert "step=10" in page.url  # the arrows were the picture's, not the playhead's
    page.keyboard.press("0")
    page.wait_for_timeout(500)
    assert "turn=" not in page.url


def test_small_pictures_behind_wait_until_all_rests(page: Any, address: str) -> None:
    """Each would cost as much as the one that is turned."""
    page.add_init_script(
        """
        window.drawn = []
        const put = CanvasRenderingContext2D.prototype.putImageData
        CanvasRenderingContext2D.prototype.putImageData = function (...what) {
          if (this.canvas.closest('main') && !this.canvas.closest('dialog')) drawn.push(this.canvas.width)
          return put.apply(this, what)
        }
        """
    )
    opened(page, address)
    full = page.evaluate("drawn.splice(0).at(-1)")
    sizes = page.evaluate(
        """async () => {
          const stage = document.querySelector('.stage canvas')
          const first = stage.measured.frames
          while (stage.measured.frames < first + 12) {
            stage.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, cancelable: true}))
            await new Promise(done => requestAnimationFrame(done))
          }
          return drawn.splice(0)
        }"""
    )
    # A browser that was held up for a while may have taken that for rest.
    assert len(sizes) <= 3
    page.wait_for_function("() => drawn.length > 0")
    assert page.evaluate("drawn") == [full]


def test_a_click_cuts_there_and_the_threshold_hides(page: Any, address: str) -> None:
    stage = opened(page, address, turn="0,0,1")
    box = stage.bounding_box()
    scale = box["width"] / (math.sqrt(75) * 1.04)
    stage.click(position={"x": box["width"] / 2 + 2 * scale, "y": box["height"] / 2 - scale})
    page.get_by_text("depth 0, row 1, column 4: 1").wait_for()
    for words in ("depth 0", "row 1", "column 4"):
        assert page.locator(".slice label").filter(has_text=words).count() == 1
    shown = (
        page.locator(".slice canvas")
        .nth(0)
        .evaluate("c => [c.width, c.height, ...c.getContext('2d').getImageData(4, 1, 1, 1).data]")
    )
    assert shown[:2] == [SIDE, SIDE]
    other = page.locator(".slice canvas").nth(0).evaluate("c => [...c.getContext('2d').getImageData(0, 0, 1, 1).data]")
    assert shown[2:] != other
    # A slider moves the cut too, from the keyboard; away from the picture, the cut is what is read.
    page.mouse.move(2, 2)
    page.locator(".slice input").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("depth 0, row 2, column 4: 0").wait_for()
    page.locator("label.line input").first.focus()
    page.keyboard.press("End")
    settled(page)
    assert middle(stage) is not None  # 1 lies above 0.99
    page.get_by_role("radio", name="Glass").check(force=True)
    settled(page)
    assert middle(stage) == pytest.approx((2, -1), abs=0.12)


def test_zeros_and_numbers_that_are_none(page: Any, address: str) -> None:
    stage = opened(page, address, "nothing")
    page.get_by_text("All values are zero").wait_for()
    assert middle(stage) is None
    page.get_by_role("button", name="Step after").click()
    page.get_by_text("125 of 125 voxels · 125 not finite").wait_for()
    settled(page)
    assert middle(stage) == pytest.approx((0, 0), abs=0.3)


def test_a_lost_context_comes_back_and_a_closed_one_is_given_back(page: Any, address: str) -> None:
    stage = opened(page, address, turn="0,0,1")
    stage.evaluate("c => { c.loss = c.getContext('webgl2').getExtension('WEBGL_lose_context'); c.loss.loseContext() }")
    page.get_by_text("The graphics card was taken away").wait_for()
    assert middle(stage) is None
    stage.evaluate("c => c.loss.restoreContext()")
    page.get_by_text("The graphics card was taken away").wait_for(state="detached")
    page.wait_for_timeout(300)
    settled(page)
    assert middle(stage) == pytest.approx((2, -1), abs=0.12)
    page.evaluate("() => { window.kept = document.querySelector('.stage canvas') }")
    page.get_by_role("button", name="Close").last.click()
    page.locator(".stage canvas").wait_for(state="detached")
    assert page.evaluate("() => window.kept.getContext('webgl2').isContextLost()") is True


def test_examples_are_small_cubes_and_the_opened_one_turns(page: Any, address: str) -> None:
    page.goto(f"{address}#/examples?step=10&example=3&turn=0,0,1")
    page.locator("[role=option] canvas").first.wait_for()
    drawn = page.locator("[role=option] canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    inked = (np.array(drawn).reshape(-1, 4)[:, 3] > 200).sum()
    assert inked > 100
    stage = page.locator(".stage canvas")
    stage.wait_for()
    settled(page)
    seen = pixels(stage)
    rows, columns = np.nonzero(np.ptp(seen, axis=-1) > 70)
    # Rows 1 to 5 of 7 and column 3 of 8: taller than wide, a little left of the middle.
    assert (np.ptp(rows) + 1) / (np.ptp(columns) + 1) == pytest.approx(5, rel=0.1)
    assert columns.mean() < seen.shape[1] / 2


def test_the_lens_shows_what_it_finds_on_the_voxels(page: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from epochal.server import make_app, start_in_background

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(3 * 216, 2)
    )
    volumes = np.zeros((4, 1, 6, 6, 6), np.float32)
    volumes[:, :, 1:4, 1:4, 1:4] = 1
    with epochal.init("space", dir=tmp_path, strict=True, system=False, console=False) as run:
        x = torch.from_numpy(volumes)
        run.watch(network, inputs=x, examples=(x, torch.tensor([0, 1, 0, 1])))
        run.log({"loss": 1.0}, step=0, epoch=0)
    server = start_in_background(make_app(tmp_path, studio_folder=STUDIO), port=0)
    try:
        methods = "methods=saliency,feature_maps,maximize&set=maximize.steps=8"
        page.goto(f"{server.address.url}#/lens?{methods}&example=1")
        for words in ("Open Saliency", "Open Feature maps", "Open Maximised activation"):
            page.get_by_role("button", name=words).wait_for(timeout=90_000)
        over = page.get_by_label("On the voxels of the input").first
        assert over.is_checked()
        page.get_by_role("button", name="Open Saliency").click()
        page.get_by_text("27 of 216 voxels").wait_for()  # those of the input
        settled(page)
        assert middle(page.locator(".stage canvas")) is not None
        page.keyboard.press("Escape")
        over.uncheck()
        page.get_by_role("button", name="Open Saliency").click()
        page.get_by_text(" of 216 voxels").wait_for()
        assert page.get_by_text("27 of 216 voxels").count() == 0
        assert page.locator("label.line input").first.is_enabled()
    finally:
        server.stop()


def test_a_kernel_of_three_dimensions_opens_as_cubes(page: Any, tmp_path: Path) -> None:
    from epochal.server import make_app, start_in_background

    kernel = np.zeros((2, 1, 3, 3, 3), np.float32)
    kernel[1, 0, 0, 1, 2] = 1  # in front, in the middle, on the right
    with epochal.init("space", dir=tmp_path, strict=True, system=False, console=False) as run:
        for step in (0, 1):
            run.log({"loss": 1.0}, step=step)
            run.log_parameters({"conv": {"weight": kernel}}, step=step)
    server = start_in_background(make_app(tmp_path, studio_folder=STUDIO), port=0)
    try:
        page.goto(f"{server.address.url}#/weights?step=1&layer=conv&kernel=1,0&turn=0,0,1&draw=pictures")
        stage = page.locator(".stage canvas")
        stage.wait_for()
        settled(page)
        seen = pixels(stage)
        rows, columns = np.nonzero(np.ptp(seen, axis=-1) > 70)
        scale = seen.shape[1] / (math.sqrt(27) * 1.04)
        assert (columns.mean() - seen.shape[1] / 2) / scale == pytest.approx(1, abs=0.12)
        assert (rows.mean() - seen.shape[0] / 2) / scale == pytest.approx(0, abs=0.12)
        page.get_by_text("kernel of unit 1 on input 0").wait_for()
    finally:
        server.stop()
