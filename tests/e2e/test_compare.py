"""The Compare page in a real browser: layers beside another step, probes, spectra, attention, the way over the loss."""

from __future__ import annotations

import io
from collections.abc import Iterator
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

from torch import nn  # noqa: E402

from tests.attending import Attending, Letters, Windows  # noqa: E402

IDS: dict[str, str] = {}
"""The runs of the server by their names."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small transformer that learns whether the upper or the lower half is bright."""
    from epochal.server import make_app, start_in_background

    folder = tmp_path_factory.mktemp("compare")
    torch.manual_seed(0)
    x, y = torch.rand(40, 1, 8, 8), torch.arange(40) % 2
    x[y == 1, :, :4] += 0.5
    x = (x * 170).round() / 255
    net = Attending()
    optimizer = torch.optim.Adam(net.parameters(), 2e-2)
    with epochal.init(project="halves", name="halves", dir=folder, strict=True) as run:
        run.watch(net, inputs=x[:2], examples=(x, y))
        for step in range(1, 7):
            for _ in range(4):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            run.log({"loss": loss.item()}, step=step)
            run.snapshot(step)
    tokens = torch.arange(160).reshape(40, 4) % 5
    for name, other, given, config in (
        ("windows", Windows(), x, {}), ("letters", Letters(), tokens, {"vocabulary": "abcd "}),
    ):  # fmt: skip
        with epochal.init(project="other", name=name, dir=folder, config=config, strict=True) as run:
            run.watch(other, inputs=given[:2], examples=(given, y))
            run.log({"loss": 1.0}, step=1)
            run.snapshot(1)
        IDS[name] = epochal.open(folder).run(f"other/{name}").stored.run_id
    IDS["halves"] = epochal.open(folder).run("halves/halves").stored.run_id
    server = start_in_background(make_app(folder, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


def card(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def at_rest(page: Any) -> None:
    """All that was asked has come."""
    page.locator(".compare canvas").first.wait_for(timeout=90_000)
    page.wait_for_timeout(900)  # what takes long is asked for a moment later
    page.locator(".compare[aria-busy=true]").first.wait_for(state="detached", timeout=90_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_network_is_seen_as_a_whole(page: Any, served: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 1400})
    open_page(page, served, "compare", run=f"halves/{IDS['halves']}")
    at_rest(page)
    layers = card(page, "Layers").locator("canvas").first
    assert layers.get_attribute("aria-label") == "CKA, 3 by 3"
    box = layers.bounding_box()
    layers.hover(position={"x": box["width"] / 6, "y": box["height"] / 6})
    card(page, "Layers").get_by_text("patches · patches: 1").wait_for()
    assert "chance 50" in card(page, "Linear probes").inner_text()
    assert "stable rank" in card(page, "Weight spectra").inner_text()
    assert "rollout" in card(page, "Attention").inner_text()
    card(page, "Loss landscape").get_by_role("button", name="Calculate").click()
    card(page, "Loss landscape").get_by_text("of the variance").first.wait_for(timeout=60_000)
    at_rest(page)
    assert "with=landscape" in page.url
    before = card(page, "Loss landscape").inner_text()
    page.keyboard.press("Home")
    card(page, "Loss landscape").get_by_text("at step 0: cross-entropy").wait_for(timeout=20_000)
    at_rest(page)
    assert before != card(page, "Loss landscape").inner_text()
    # At the first step the network beside it is the same one: a layer is like itself.
    beside = card(page, "Beside this run, first").locator("canvas").first
    beside.hover(position={"x": 4, "y": 4})
    card(page, "Beside this run, first").get_by_text("patches · patches: 1").wait_for()
    accessible(page)


def test_it_can_be_stopped_and_begun_again(page: Any, served: str) -> None:
    open_page(page, served, "compare", run=f"halves/{IDS['halves']}", **{"with": "steps"})
    at_rest(page)
    card(page, "One layer through the training").get_by_label("Layer", exact=True).select_option("patches")
    stop = card(page, "One layer through the training").get_by_role("button", name="Stop")
    stop.click(timeout=10_000)
    card(page, "One layer through the training").get_by_role("button", name="Again").click()
    at_rest(page)
    assert card(page, "One layer through the training").locator("canvas").first.get_attribute("aria-label")


def test_attention_of_a_picture_of_ones_own(page: Any, served: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    open_page(page, served, "compare", run=f"halves/{IDS['halves']}")
    at_rest(page)
    one = card(page, "Attention")
    large = one.locator("figure canvas").last
    of_example = pixels(large)
    one.get_by_text("Your own").click()
    file = io.BytesIO()
    Image.fromarray(np.repeat(np.arange(0, 256, 4).astype(np.uint8).reshape(8, 8, 1), 3, axis=2)).save(file, "PNG")
    field = one.locator("input[type=file]")
    field.set_input_files({"name": "own.png", "mimeType": "image/png", "buffer": file.getvalue()})
    one.get_by_role("list", name="Rollout and heads of attention").wait_for(timeout=30_000)
    at_rest(page)
    assert pixels(large) != of_example
    one.get_by_role("button", name="head 1").click()
    one.locator("figcaption", has_text="head 1").wait_for()
    page.wait_for_function("() => location.hash.includes('head=1')")
    accessible(page)
    field.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"this is a text"})
    one.get_by_role("alert").get_by_text("no picture that is read here").wait_for(timeout=30_000)
    one.get_by_text("Examples", exact=True).click()
    one.locator("figcaption", has_text="head 1").wait_for(timeout=30_000)


def test_attention_between_tokens_that_one_writes(page: Any, served: str) -> None:
    open_page(page, served, "compare", run=f"other/{IDS['letters']}")
    at_rest(page)
    one = card(page, "Attention")
    rows = one.locator("ul.rows li")
    rows.nth(3).wait_for(state="attached", timeout=30_000)
    assert rows.all_inner_texts() == ["a", "b", "c", "d"]
    one.get_by_text("Written").click()
    field = one.get_by_label("Tokens to look at")
    page.wait_for_function("() => document.querySelector('textarea')?.value === 'abcd'")
    field.fill("ad b")
    one.get_by_role("button", name="Look").click()
    rows.nth(2).get_by_text("▁").wait_for(timeout=30_000)
    field.fill("axxb")
    one.get_by_role("button", name="Look").click()
    one.get_by_role("alert").get_by_text("'x' is not in the vocabulary of this run").wait_for(timeout=30_000)
    accessible(page)


def test_attention_within_windows_is_refused_with_the_reason(page: Any, served: str) -> None:
    open_page(page, served, "compare", run=f"other/{IDS['windows']}")
    card(page, "Attention").get_by_role("alert").get_by_text("within windows").wait_for(timeout=60_000)
