"""The Examples page in a real browser, live and exported, held against what was logged."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, confusion_matrix, recall_score, roc_auc_score

import epochal
from tests.e2e.conftest import STUDIO
from tests.e2e.test_studio import AXE, playhead

STEPS, N, CLASSES = 6, 300, 3
NAMES = ["<b>cat</b>", "dog", "eel"]
RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, CLASSES, N)
P = np.stack(
    [RNG.dirichlet(np.ones(CLASSES), N) * 0.9 + 0.1 * (t / STEPS) * np.eye(CLASSES)[LABELS] for t in range(STEPS)]
)
P = (P / P.sum(axis=2, keepdims=True)).astype(np.float32)
SAID = P.argmax(axis=2)
RIGHT = SAID == LABELS
PICTURES = RNG.integers(0, 256, (N, 6, 7, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("said")
    with epochal.init("said", name="rival", dir=folder, strict=True, system=False, console=False) as run:
        for t in range(STEPS):
            run.log({"loss": 1.0}, step=10 * t, epoch=t)
            run.log_predictions(PICTURES, LABELS, P[t][::-1], NAMES)
    with epochal.init("said", name="ours", dir=folder, strict=True, system=False, console=False) as run:
        for t in range(STEPS):
            run.log({"loss": 1.0 - t / 10}, step=10 * t, epoch=t)
            run.log_predictions(PICTURES, LABELS, P[t], NAMES)
            run.log_predictions(["good", "bad & <i>ugly</i>"], [0, 1], [[0.9, 0.1], [0.6, 0.4]], name="words")
            run.log_predictions(RNG.random((2, 5, 6, 7)), None, [[0.9, 0.1], [0.6, 0.4]], name="blocks")
    with epochal.init("bare", dir=folder, strict=True, system=False, console=False) as run:
        run.log({"loss": 1.0}, step=0)
    return folder


@pytest.fixture(scope="module")
def live(root: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from epochal import export

    target = tmp_path_factory.mktemp("report") / "report.html"
    export.write(epochal.open(root).run("said/ours"), to=target)
    return target


@pytest.fixture(params=["live", "exported"])
def place(request: pytest.FixtureRequest, live: str, report: Path, root: Path) -> str:
    if request.param == "exported":
        return f"{report.as_uri()}#/examples?"
    run = epochal.open(root).run("said/ours").info
    return f"{live}#/examples?run=said/{run.run_id}&"


def open_at(page: Any, place: str, **state: object) -> None:
    page.goto(place + "&".join(f"{key}={value}" for key, value in state.items()))
    page.get_by_role("listbox", name="Examples").wait_for()


def listed(page: Any) -> list[int]:
    """The numbers of all examples of the gallery, by scrolling through it."""
    found: dict[int, int] = {}
    box = page.get_by_role("listbox", name="Examples")
    box.evaluate("b => { b.scrollTop = 0 }")
    for _ in range(200):
        page.wait_for_timeout(40)
        cards = page.locator("[role=option]").evaluate_all(
            "all => all.map(o => [Number(o.getAttribute('aria-posinset')), Number(o.id.split('-').at(-1))])"
        )
        found |= dict(cards)
        if not box.evaluate(
            "b => { const old = b.scrollTop; b.scrollTop += b.clientHeight * 0.8; return b.scrollTop > old }"
        ):
            return [found[at] for at in sorted(found)]
    raise AssertionError("the gallery has no end")


def choose(page: Any, which: str) -> None:
    page.get_by_role("radio", name=which).locator("..").click()
    page.wait_for_timeout(100)


def test_the_gallery_shows_those_that_numpy_finds(page: Any, place: str) -> None:
    t = 3
    open_at(page, place, step=10 * t)
    assert len(page.locator("[role=option]").all()) < 80, "all examples are in the page, seen or not"
    assert listed(page) == list(range(N))
    for which, expected in {
        "Wrong": ~RIGHT[t],
        "Right": RIGHT[t],
        "Forgotten": RIGHT[:t].any(axis=0) & ~RIGHT[t],
        "Never learned": ~RIGHT[: t + 1].any(axis=0),
        "Flipped": SAID[t] != SAID[0],
    }.items():
        choose(page, which)
        assert page.locator("main [role=status]").inner_text().startswith(f"{int(expected.sum())} of 300"), which
        if which in ("Forgotten", "Never learned"):
            assert listed(page) == np.flatnonzero(expected).tolist(), which
    choose(page, "All")
    confidence = P[t].max(axis=1)
    page.get_by_label("Sort by").select_option("least")
    assert listed(page)[:40] == np.argsort(confidence, kind="stable")[:40].tolist()
    page.get_by_label("Sort by").select_option("loss")
    assert listed(page)[:40] == np.argsort(P[t][np.arange(N), LABELS], kind="stable")[:40].tolist()


def test_everything_follows_the_playhead(page: Any, place: str) -> None:
    open_at(page, place, step=0)
    for t, key in ((1, "ArrowRight"), (2, "ArrowRight"), (STEPS - 1, "End"), (0, "Home")):
        playhead(page).press(key)
        forgotten = int((RIGHT[:t].any(axis=0) & ~RIGHT[t]).sum()) if t else 0
        page.get_by_role("radio", name=f"Forgotten {forgotten}", exact=True).wait_for(state="attached")
        cells = page.get_by_role("table").first.get_by_role("row").all()[1:]
        shown = [[int(c.inner_text() or 0) for c in row.get_by_role("cell").all()] for row in cells]
        expected = [[int(((r == LABELS) & (SAID[t] == c)).sum()) for c in range(CLASSES)] for r in range(CLASSES)]
        assert shown == expected
        recall = recall_score(LABELS, SAID[t], average=None)
        figures = page.get_by_role("region", name="Classes").get_by_role("row").all()[1 : 1 + CLASSES]
        assert [row.get_by_role("cell").nth(1).inner_text() for row in figures] == [f"{r:.3f}" for r in recall]


def test_areas_are_those_of_scikit_learn(page: Any, place: str) -> None:
    open_at(page, place, step=20)
    for title, score in (("ROC", roc_auc_score), ("Precision and recall", average_precision_score)):
        card = page.get_by_role("region", name=title)
        card.locator("li").first.wait_for()
        expected = [f"{score(k == LABELS, P[2][:, k].astype(float)):.3f}" for k in range(CLASSES)]
        page.wait_for_function(
            "([title, text]) => document.querySelector(`[aria-label='${title}'] li`)?.innerText.includes(text)",
            arg=[title, expected[0]],
        )
        assert [item.locator(".tnum").inner_text() for item in card.locator("li").all()] == expected
    said = epochal.PredictionSet(name="", step=0, probabilities=P[2], labels=LABELS).calibration().ece
    page.get_by_text(f"expected calibration error {said:.4f}").first.wait_for()


def test_a_cell_opens_its_examples_and_the_address_keeps_them(page: Any, place: str) -> None:
    t = 4
    open_at(page, place, step=10 * t)
    expected = np.flatnonzero((LABELS == 0) & (SAID[t] == 2)).tolist()
    page.get_by_role("button", name=f"{len(expected)} of class <b>cat</b> predicted as eel").click()
    page.wait_for_timeout(100)
    assert listed(page) == expected
    page.get_by_role("listbox").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    panel = page.get_by_role("region", name=f"Example {expected[1]}", exact=True)
    panel.wait_for()
    assert panel.get_by_text("<b>cat</b>").count() > 0, "names are words, not markup"
    film = panel.locator(".film canvas")
    page.wait_for_function(
        "c => c.width > 10 && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)",
        arg=film.element_handle(),
    )
    page.wait_for_timeout(500)
    page.reload()
    page.get_by_role("region", name=f"Example {expected[1]}", exact=True).wait_for()
    assert listed(page) == expected


def test_pictures_are_those_that_were_logged(page: Any, place: str) -> None:
    open_at(page, place, step=10)
    canvas = page.locator("[role=option] canvas").nth(2)
    canvas.wait_for()
    found = canvas.evaluate(
        "c => [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    np.testing.assert_array_equal(np.array(found[2]).reshape(found[0], found[1], 4)[..., :3], PICTURES[2])


def test_texts_and_blocks(page: Any, place: str) -> None:
    open_at(page, place, predictions="words")
    page.get_by_text("bad & <i>ugly</i>").wait_for()
    open_at(page, place, predictions="blocks")
    page.reload()
    page.locator("[role=option] canvas").first.wait_for()
    page.get_by_text("The right answers were not logged").wait_for()


def test_two_runs_side_by_side(page: Any, live: str, root: Path) -> None:
    ours, rival = (epochal.open(root).run(f"said/{name}").info for name in ("ours", "rival"))
    open_at(page, f"{live}#/examples?run=said/{ours.run_id}&", step=20, beside=f"said/{rival.run_id}")
    other = P[2][::-1].argmax(axis=1)
    for which, expected in {
        "A ≠ B": SAID[2] != other,
        "Only A right": RIGHT[2] & (other != LABELS),
        "Only B right": ~RIGHT[2] & (other == LABELS),
    }.items():
        page.get_by_role("radio", name=f"{which} {int(expected.sum())}", exact=True).wait_for(state="attached")
        choose(page, which)
        assert listed(page) == np.flatnonzero(expected).tolist()
    share = 100 * float((other == LABELS).mean())
    page.get_by_text(f"B {share:.0f} %").first.wait_for()


@pytest.mark.parametrize("other", ["rival", "first step"])
def test_confusions_side_by_side_with_their_difference(page: Any, live: str, root: Path, other: str) -> None:
    """What is beside: another run at the same step, or the same run at another step."""
    ours, rival = (epochal.open(root).run(f"said/{name}").info for name in ("ours", "rival"))
    beside = "@0" if other == "first step" else f"said/{rival.run_id}"
    theirs = SAID[0] if other == "first step" else P[2][::-1].argmax(axis=1)
    a, b = (confusion_matrix(LABELS, said) for said in (SAID[2], theirs))
    open_at(page, f"{live}#/examples?run=said/{ours.run_id}&", step=20, beside=beside)
    name = "step 0" if other == "first step" else "rival · step 20"
    for title, counts in {"A · ours · step 20": a, f"B · {name}": b, "A − B": a - b}.items():
        table = page.get_by_role("table", name=title, exact=True)
        table.wait_for()
        texts = table.locator("tbody td").all_inner_texts()
        assert [int(t.strip().replace("−", "-") or 0) for t in texts] == counts.ravel().tolist(), title
    row, column = divmod(int(np.argmax(np.abs(a - b) * (1 - np.eye(CLASSES)))), CLASSES)
    cell = page.get_by_role("table", name=f"B · {name}").locator(f"tbody tr:nth-child({row + 1}) td").nth(column)
    cell.get_by_role("button").click()
    assert listed(page) == np.flatnonzero((row == LABELS) & (theirs == column)).tolist()
    cell = page.get_by_role("table", name="A − B").locator(f"tbody tr:nth-child({row + 1}) td").nth(column)
    cell.get_by_role("button").click()
    only = (SAID[2] == column) != (theirs == column)
    assert listed(page) == np.flatnonzero((row == LABELS) & only).tolist()
    assert cell.get_by_role("button").get_attribute("aria-pressed") == "true"
    page.get_by_role("combobox", name="Predicted by").select_option("by A")
    assert listed(page) == np.flatnonzero((row == LABELS) & (SAID[2] == column)).tolist()


def test_confusions_are_saved_as_pictures(page: Any, place: str, tmp_path: Path) -> None:
    open_at(page, place, step=20, beside="@0", share="rows")
    card = page.get_by_role("region", name="Confusion", exact=True)
    card.get_by_role("table").nth(2).wait_for()

    def saved(what: str) -> Path:
        card.get_by_role("button", name=re.compile("Confusion")).click()
        with page.expect_download() as download:
            page.get_by_role("menuitem", name=what).click()
        path = tmp_path / str(download.value.suggested_filename)
        download.value.save_as(path)
        return path

    svg = ET.parse(saved("Save SVG")).getroot()
    words = [text.text or "" for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "ours · Confusion"
    assert words[1].startswith("step 20 · rows: truth")
    assert all(words.count(name) == 6 for name in NAMES), "at both sides of A, B and their difference"
    counts = confusion_matrix(LABELS, SAID[2], normalize="true")
    numbers = [float(word) for word in words if re.fullmatch(r"[\d.]+", word)]
    np.testing.assert_allclose(numbers[: CLASSES**2], 100 * counts.ravel(), atol=0.51)
    with Image.open(saved("Save PNG")) as picture:
        assert picture.width > 2 * 3 * 240


def test_missing_predictions_say_what_to_add(page: Any, live: str, root: Path) -> None:
    run = next(r.info for r in epochal.open(root).runs() if r.info.project == "bare")
    page.goto(f"{live}#/examples?run=bare/{run.run_id}")
    page.get_by_text("run.watch(model, examples=(x_val, y_val)").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(page: Any, live: str, root: Path, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm ci in web/)")
    page.emulate_media(color_scheme=scheme)
    run = epochal.open(root).run("said/ours").info
    open_at(page, f"{live}#/examples?run=said/{run.run_id}&", example=3, which="wrong")
    page.get_by_role("region", name="ROC").locator("li").first.wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(r => r.violations)")
    serious = [v for v in found if v["impact"] in {"serious", "critical"}]
    assert [f"{v['id']}: {[n['html'][:160] for n in v['nodes'][:3]]}" for v in serious] == []
