"""Logged values as the Studio shows them: the right one at the playhead, and none of them can do anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import epochal
from epochal.record.media import Array, Chart, Encoded, Value
from tests.e2e.conftest import STUDIO
from tests.e2e.test_studio import AXE, open_page, playhead

STEPS = 12
EVIL = "try { top.document.title = 'taken'; top.taken = 1 } catch {} ; document.title = 'taken'; alert('taken')"
MARKDOWN = f"""# Hostile
<script>{EVIL}</script> <img src=x onerror="{EVIL}"> [press](javascript:{EVIL})
[data](data:text/html,<script>1</script>)
"""
PAGE = f"""<!doctype html><title>taken</title><base target="_top"><meta http-equiv="refresh" content="0;url=/taken">
<script>{EVIL}</script><img src="x" onerror="{EVIL}"><a id="way" href="javascript:{EVIL}">press</a>
<form action="/taken"><button>send</button></form><iframe srcdoc="<script>{EVIL}</script>"></iframe><img src="http://tracker.invalid/taken.png"><p>harmless</p>"""
SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8" onload="{EVIL.replace("&", "")}">
<script>{EVIL}</script><rect width="8" height="8" fill="teal"/></svg>"""
NAME = '<img src=x onerror="top.taken=1">'


class Drawing(Value):
    """An SVG that somebody wrote by hand."""

    kind = "figure"

    @property
    def nbytes(self) -> int:
        return len(SVG)

    def encode(self) -> Encoded:
        return Encoded(data=SVG.encode(), extension="svg", meta={"width": 8, "height": 8})


def picture(step: int) -> Any:
    """Pixels [5, 7, 3] that no other step has."""
    return np.random.default_rng(step).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def media_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run that has every kind of value, hostile ones, alerts and printed lines."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="a figure is one of the kinds")
    root = tmp_path_factory.mktemp("media")
    rng = np.random.default_rng(0)
    with epochal.init("media", name="values", dir=root, system=False) as run:
        for step in range(STEPS):
            run.log({"loss": 1 / (step + 1), "known/picture": epochal.Image(picture(step))}, step=step)
        figure, axes = pyplot.subplots()
        axes.plot([1, 3, 2])
        kinds: dict[str, object] = {
            "kinds/image": [epochal.Image(picture(k), caption=f"no {k}") for k in range(3)],
            "kinds/audio": epochal.Audio(np.sin(np.arange(4000) / 9) * 0.4, 8000),
            "kinds/video": epochal.Video(rng.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)),
            "kinds/text": epochal.Text("# A title\n\nand *words*\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
            "kinds/html": epochal.Html("<p>a page</p>"),
            "kinds/table": epochal.Table(["n", "image"], [[k, epochal.Image(picture(k))] for k in range(3)]),
            "kinds/figure": epochal.Figure(figure),
            "kinds/chart": Chart("line", ["x", "y"], [[0, 1.0], [1, 2.0]], x="x", y="y", title="Line"),
            "kinds/array": Array(rng.random((6, 6))),
            "kinds/voxels": epochal.Voxels(rng.random((6, 6, 6)) > 0.5),
            "kinds/points": epochal.PointCloud(rng.standard_normal((50, 3))),
            "kinds/object": epochal.Object3D(np.eye(4, 3), faces=np.array([[0, 1, 2], [0, 1, 3]])),
            "hostile/text": epochal.Text(MARKDOWN, caption=NAME),
            "hostile/html": epochal.Html(PAGE, caption=NAME),
            "hostile/drawing": Drawing(NAME),
            "hostile/table": epochal.Table([NAME, "b"], [[f"<script>{EVIL}</script>", NAME]]),
            f"hostile/{NAME.replace('/', '')}": epochal.Image(picture(0), caption=NAME),
        }
        pyplot.close(figure)
        run.log(kinds, step=STEPS - 1)
        run.log_predictions(
            np.stack([picture(k) for k in range(4)]),
            [0, 1, 0, 1],
            rng.dirichlet(np.ones(2), 4),
            class_names=["<b>one</b>", "two"],
            name="kinds/predictions",
            step=STEPS - 1,
        )
        run.log_embedding(rng.standard_normal((30, 5)), labels=np.arange(30) % 3, name="kinds/embedding")
        run.alert("The loss stands still", "nothing <b>new</b>", level="warning")
        run.alert(NAME, level="error")
        print("printed <i>by</i> the training")
        print("told as an error", file=sys.stderr)
    return root


@pytest.fixture(scope="module")
def media_address(media_root: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(media_root, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


@pytest.fixture(scope="module")
def report(media_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from epochal import export

    target = tmp_path_factory.mktemp("report") / "report.html"
    (row,) = epochal.open(media_root).runs()
    export.write(row, to=target)
    return target


class Watched:
    """A page, with what it said, asked for and opened."""

    def __init__(self, browser: Any, *, offline: bool = False) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=offline)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda m: self.problems.append(f"{m.text} {m.location}") if m.type == "error" else None)
        # What a policy held back did not leave the browser, though it is told of.
        self.page.on("requestfinished", lambda request: self.asked.append(request.url))
        self.page.on("requestfailed", self._failed)
        self.page.on("dialog", self._opened)

    def _opened(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _failed(self, request: Any) -> None:
        if request.failure not in {"csp", "net::ERR_BLOCKED_BY_CSP"}:
            self.asked.append(request.url)

    def ours(self) -> list[str]:
        """Problems that are not the browser's word that it kept a hostile page from something."""
        kept = (
            "sandbox",
            "Content Security Policy",
            "Blocked script execution",
            "local resource",
            "favicon",
            "Unsafe attempt",
        )
        return [text for text in self.problems if not any(word in text for word in kept)]

    def untouched(self) -> None:
        """Nothing ran, nothing was opened, and nothing beside the place where the Studio is was asked for."""
        assert self.dialogs == []
        assert self.page.evaluate("window.taken === undefined && document.title !== 'taken'")
        assert [url for url in self.asked if "taken" in urlsplit(url).path] == []
        assert len(self.context.pages) == 1
        assert self.ours() == []


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    watched = Watched(browser)
    yield watched
    watched.context.close()


def pixels(page: Any, series: str) -> Any:
    """What the image of a card holds, [H, W, 3]."""
    image = page.get_by_role("region", name=series, exact=True).locator("img").first
    image.wait_for()
    found = image.evaluate(
        """image => {
            const canvas = document.createElement('canvas')
            ;[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight]
            const pen = canvas.getContext('2d')
            pen.drawImage(image, 0, 0)
            return [canvas.height, canvas.width, [...pen.getImageData(0, 0, canvas.width, canvas.height).data]]
        }"""
    )
    return np.array(found[2], dtype=np.uint8).reshape(found[0], found[1], 4)[..., :3]


def wait_for_picture(page: Any, step: int) -> None:
    """The card comes to show the picture of this step, exactly."""
    found = None
    for _ in range(40):
        found = pixels(page, "known/picture")
        if np.array_equal(found, picture(step)):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"at step {step} the page shows {None if found is None else found[0].tolist()}")


def moves_with_the_playhead(page: Any) -> None:
    wait_for_picture(page, 5)
    playhead(page).press("ArrowRight")
    wait_for_picture(page, 6)
    playhead(page).press("Home")
    wait_for_picture(page, 0)
    playhead(page).press("End")
    wait_for_picture(page, STEPS - 1)


def test_the_picture_at_the_playhead_is_the_recorded_one(watched: Watched, media_address: str) -> None:
    open_page(watched.page, media_address, "media", step="5", media="known")
    moves_with_the_playhead(watched.page)
    watched.untouched()


def test_an_exported_page_shows_it_too(browser: Any, report: Path) -> None:
    watched = Watched(browser, offline=True)
    watched.page.goto(f"{report.as_uri()}#/media?step=5&media=known")
    moves_with_the_playhead(watched.page)
    watched.untouched()
    assert [url for url in watched.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    watched.context.close()


SHOWN = {
    "image": "img",
    "audio": "audio",
    "video": "video, img",
    "text": "table td",
    "html": "iframe[sandbox='']",
    "table": "td img",
    "figure": "img",
    "chart": "figure svg[role=img] path",
    "array": "canvas",
    "voxels": "canvas",
    "points": "canvas",
    "object": "canvas",
    "predictions": "canvas",
    "embedding": "canvas",
}


@pytest.mark.parametrize("exported", [False, True], ids=["live", "exported"])
def test_every_kind_is_drawn(watched: Watched, media_address: str, report: Path, exported: bool) -> None:
    page = watched.page
    page.goto(f"{report.as_uri() if exported else media_address}#/media?media=kinds")
    for kind, selector in SHOWN.items():
        card = page.get_by_role("region", name=f"kinds/{kind}", exact=True)
        card.scroll_into_view_if_needed()
        element = card.locator(selector).first
        element.wait_for(timeout=5000)
        if selector == "img":
            page.wait_for_function("image => image.naturalWidth > 0", arg=element.element_handle())
        if selector == "canvas":
            page.wait_for_function(
                "c => c.getContext('2d')?.getImageData(0, 0, c.width, c.height).data.some(v => v > 0)",
                arg=element.element_handle(),
            )
    watched.untouched()


@pytest.mark.parametrize("exported", [False, True], ids=["live", "exported"])
def test_hostile_values_do_nothing(watched: Watched, media_address: str, report: Path, exported: bool) -> None:
    page = watched.page
    page.goto(f"{report.as_uri() if exported else media_address}#/media?media=hostile")
    frame = page.frame_locator("iframe")
    frame.get_by_text("harmless").wait_for()
    text = page.get_by_role("region", name="hostile/text", exact=True)
    text.get_by_text("<script>").first.wait_for()
    assert text.locator("script, img").count() == 0
    assert text.locator("a").count() == 0, "a link that is no address of a page is a link"
    drawing = page.get_by_role("region", name="hostile/drawing", exact=True).locator("img")
    page.wait_for_function("image => image.naturalWidth > 0", arg=drawing.element_handle())
    assert page.get_by_role("region", name="hostile/table", exact=True).locator("img, script").count() == 0
    address = page.url
    frame.locator("#way").click()
    frame.get_by_role("button", name="send").click()
    page.wait_for_timeout(300)
    assert page.url == address
    page.evaluate("location.hash = location.hash + '&item=hostile/text'")
    page.get_by_role("dialog").get_by_text("<script>").first.wait_for()
    watched.untouched()


def test_the_file_of_a_hostile_value_does_nothing_when_it_is_opened(watched: Watched, media_address: str) -> None:
    page = watched.page
    page.goto(f"{media_address}#/media?media=hostile/drawing")
    drawing = page.get_by_role("region", name="hostile/drawing", exact=True).locator("img")
    drawing.wait_for()
    address = drawing.get_attribute("src")
    page.goto(address)
    page.wait_for_timeout(300)
    watched.untouched()


def open_details(page: Any) -> Any:
    playhead(page).wait_for()
    page.keyboard.press("i")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    return dialog


@pytest.mark.parametrize("exported", [False, True], ids=["live", "exported"])
def test_alerts_and_printed_lines_are_in_the_details(
    watched: Watched, media_address: str, report: Path, exported: bool
) -> None:
    page = watched.page
    page.goto(f"{report.as_uri() if exported else media_address}#/metrics")
    dialog = open_details(page)
    tabs = dialog.get_by_role("tab")
    names = ["Overview", "Alerts2", "Console"] + ([] if exported else ["Code"])
    dialog.get_by_role("tab", name="Console").wait_for()
    assert ["".join(text.split()) for text in tabs.all_inner_texts()] == names
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    panel = dialog.get_by_role("tabpanel")
    panel.get_by_text("The loss stands still").wait_for()
    said = panel.locator("li").all_inner_texts()
    assert "Error" in said[0]
    assert NAME in said[0]
    assert "nothing <b>new</b>" in said[1]
    page.keyboard.press("ArrowRight")
    panel.get_by_text("printed <i>by</i> the training").wait_for()
    assert panel.locator(".err").get_by_text("told as an error").count() == 1
    panel.get_by_role("searchbox").fill("PRINTED")
    panel.get_by_text("told as an error").wait_for(state="detached")
    assert panel.get_by_text("printed <i>by</i> the training").count() == 1
    if not exported:
        dialog.get_by_role("tab", name="Code").click()
        panel.get_by_role("searchbox", name="Filter packages").fill("numpy")
        panel.get_by_text(np.__version__, exact=True).wait_for()
    watched.untouched()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_details_and_media_are_accessible(watched: Watched, media_address: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    page = watched.page
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{media_address}#/media?media=kinds")
    page.get_by_role("region", name="kinds/embedding").locator("canvas").wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))

    def serious() -> list[str]:
        # The pages inside frames are what somebody logged.
        found = page.evaluate("axe.run(document, {iframes: false}).then(r => r.violations)")
        return [
            f"{v['id']}: {[n['html'][:120] for n in v['nodes'][:3]]}"
            for v in found
            if v["impact"] in {"serious", "critical"}
        ]

    assert serious() == []
    dialog = open_details(page)
    for name in ("Overview", "Alerts", "Console", "Code"):
        dialog.get_by_role("tab", name=name).click()
        page.wait_for_timeout(300)
        assert serious() == [], name
