"""The Lab page in a real browser: trials, curves, effects and failures; brushing, pins, saving, and a lab that runs."""

from __future__ import annotations

import csv
import io
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from epochal.facts.lab import LabInfo, Trial, TrialState
from epochal.store.labs import LabLog, new_lab_id
from epochal.store.writer import RunWriter
from tests.e2e.conftest import STUDIO
from tests.e2e.test_inside import accessible
from tests.e2e.test_studio import open_page
from tests.labs import make_lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labs")
    make_lab(folder)
    return folder


@pytest.fixture(scope="module")
def lab(root: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


def card(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True).first


def ready(page: Any) -> None:
    page.get_by_text("95 % CI").first.wait_for()
    page.get_by_text(re.compile("all 16 trials|of 16 trials")).first.wait_for()


def drawn(page: Any, name: str) -> int:
    """How many pixels of a chart are not empty, once it is near the screen."""
    canvas = card(page, name).locator("canvas").first
    canvas.scroll_into_view_if_needed()
    filled = """(canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      let n = 0
      for (let i = 3; i < data.length; i += 4) n += data[i] > 0 ? 1 : 0
      return n
    }"""
    page.wait_for_function(f"(canvas) => ({filled})(canvas) > 0", arg=canvas.element_handle())
    return int(canvas.evaluate(filled))


def saved(page: Any, name: str, entry: str) -> Path:
    card(page, name).get_by_role("button", name=f"Save or copy: {name}").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=entry).click()
    return Path(download.value.path())


def test_shows_trials_effects_curves_and_failures(page: Any, lab: str) -> None:
    open_page(page, lab, "lab")
    ready(page)
    rows = card(page, "Trials").locator("tbody tr")
    assert rows.count() == 16
    assert "0.01" in rows.first.inner_text()
    effects = card(page, "What each parameter did").inner_text()
    told = r"dropout 0\.5 → 0\.2: \+[34]\.\d points, 95 % CI \[[\d.]+, [\d.]+\], 1 to 2 repeats, 4 pairs"
    assert re.search(told, effects)
    assert "What was chosen outweighs the seed" in card(page, "Choice or chance").inner_text()
    for name in ("accuracy of all trials", "loss of all trials", "Parameters and outcomes", "Scatter"):
        assert drawn(page, name) > 500, name
    failed = card(page, "Failed and stopped trials")
    failed.get_by_text("Traceback", exact=True).click()
    assert "ValueError: pooled to nothing" in failed.locator("pre").inner_text()
    accessible(page)


def test_a_brush_keeps_trials_and_the_address_holds_it(page: Any, lab: str) -> None:
    open_page(page, lab, "lab")
    ready(page)
    chart = card(page, "Parameters and outcomes")
    chart.scroll_into_view_if_needed()
    box = chart.locator("canvas").last.bounding_box()
    x = box["x"] + box["width"] - 56  # the last axis: the objective
    page.mouse.move(x, box["y"] + 32)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 90, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile("labbrush="))
    about = card(page, "Trials").locator("header p").inner_text()
    kept = int(re.match(r"(\d+) of 16", about)[1])  # type: ignore[index]
    assert 1 <= kept < 10
    page.reload()
    ready(page)
    assert card(page, "Trials").locator("header p").inner_text() == about
    # Who drags from near the end of an axis keeps what stands just there.
    x = box["x"] + 56  # the first axis, a choice of two
    y = card(page, "Parameters and outcomes").locator("canvas").last.bounding_box()["y"]
    page.mouse.move(x, y + 48)
    page.mouse.down()
    page.mouse.move(x, y + 100, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"labbrush=.*~1\.0000"))
    assert not card(page, "Trials").locator("header p").inner_text().startswith("0 of")
    page.get_by_role("button", name="Show all again").click()
    page.get_by_text("all 16 trials").wait_for()


def test_hidden_trials_leave_the_charts(page: Any, lab: str) -> None:
    open_page(page, lab, "lab")
    ready(page)
    page.get_by_role("button", name="Leave trial 3 out of the charts").click()
    page.get_by_text("15 of 16 trials in the charts").wait_for()
    rows = list(csv.reader(saved(page, "loss of all trials", "Save CSV").read_text().splitlines()))
    assert rows[0] == ["trial", "series", "step", "epoch", "value"]
    trials = {row[0] for row in rows[1:]}
    assert "3" not in trials
    assert len(trials) == 15
    # 14 trials of eight epochs and one of two, training and held back.
    assert len(rows) - 1 == 2 * (14 * 8 + 2)


@pytest.mark.parametrize("kind", ["PNG", "SVG"])
def test_all_of_the_page_is_saved_as_one_archive(page: Any, lab: str, kind: str) -> None:
    open_page(page, lab, "lab", labpin="1,2")
    ready(page)
    card(page, "Confusion of pinned trials").get_by_role("table").nth(1).wait_for()
    page.get_by_role("button", name=re.compile("^Save all")).click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=f"Charts as {kind}, tables as CSV").click()
    assert download.value.suggested_filename.endswith(".zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        files = {name.split("/")[1]: archive.read(name) for name in archive.namelist()}
        assert len({name.split("/")[0] for name in archive.namelist()}) == 1
    tables = {name: list(csv.reader(io.StringIO(body.decode()))) for name, body in files.items() if ".csv" in name}
    assert len(next(rows for name, rows in tables.items() if name.endswith("trials.csv"))) == 1 + 16
    assert {"effects", "variance", "loss", "accuracy", "parameters", "bars", "confusion", "failed"} <= {
        name.removesuffix(".csv").split()[-1] for name in tables
    }
    pictures = {name: body for name, body in files.items() if name.endswith(f".{kind.lower()}")}
    # Each table is of a picture, but those of the trials themselves.
    assert len(pictures) == len(tables) - 2
    for name, body in pictures.items():
        if kind == "PNG":
            colours = Image.open(io.BytesIO(body)).convert("RGB").getcolors(1 << 24)
            assert colours is not None, name
            assert len(colours) > 20, name
        else:
            assert len(list(ElementTree.fromstring(body).iter())) > 10, name


def test_pinned_trials_are_compared(page: Any, lab: str) -> None:
    open_page(page, lab, "lab", labpin="1,2")
    ready(page)
    matrices = card(page, "Confusion of pinned trials")
    tables = matrices.get_by_role("table")
    tables.nth(1).wait_for()
    for k in range(2):
        counts = re.findall(r"\d+", " ".join(tables.nth(k).locator("tbody td").all_inner_texts()))
        assert sum(map(int, counts)) == 40
    page.get_by_role("button", name="Let trial 2 go").click()
    page.wait_for_url(re.compile("labpin=1$"))
    assert tables.count() == 1


def test_bars_skip_epochs_and_say_who_is_shorter(page: Any, lab: str) -> None:
    open_page(page, lab, "lab")
    ready(page)
    bars = card(page, "Time and means")
    page.get_by_text("1 trial has no epoch after the first 5").wait_for()
    field = bars.get_by_role("spinbutton")
    field.fill("0")
    field.press("Enter")
    page.get_by_text("means over the epochs after the first 0").wait_for()
    page.get_by_text("no epoch after").wait_for(state="detached")
    rows = list(csv.DictReader(saved(page, "Time and means", "Save CSV").read_text().splitlines()))
    assert len(rows) == 16
    bars.get_by_text("Together, by time").click()
    rows = list(csv.DictReader(saved(page, "Time and means", "Save CSV").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == list(range(16))  # trial n took n + 2 seconds
    picture = saved(page, "Time and means", "Save SVG").read_text()
    assert picture.startswith("<svg")
    assert picture.count("<rect") > 40


def test_a_lab_that_runs_is_followed(page: Any, lab: str, root: Path) -> None:
    info = make_lab(root, name="running", repeats=1, failed=0, ended=False)
    open_page(page, lab, "lab", lab=f"running/{info.id}")
    page.get_by_text("1 waiting").wait_for()
    _finish(root, info)
    page.get_by_text("8 finished").first.wait_for(timeout=15_000)
    page.get_by_text("all 8 trials").first.wait_for()


def test_a_lab_that_begins_shows_its_first_epochs(page: Any, tmp_path: Path) -> None:
    """From the hint that nothing has begun, through the first trial, to what its parameters did not do yet."""
    from epochal.server import make_app, start_in_background

    planned = tuple(
        Trial(number=k, configuration=k, repeat=0, seed=0, parameters={"dropout": k / 10}) for k in range(2)
    )
    info = LabInfo(id=new_lab_id(), name="new", project="new", created=time.time(), trials=planned)
    with start_in_background(make_app(tmp_path, studio_folder=STUDIO), port=0) as server, LabLog(tmp_path, info) as log:
        open_page(page, server.url, "lab")
        page.get_by_role("heading", name="No trial has begun").wait_for()
        writer = RunWriter.create(tmp_path, project="new", name="first", group=info.id)
        log.started(planned[0], attempt=1, run=writer.run_id)
        page.get_by_text("1 running, ").or_(page.get_by_text("1 waiting, 1 running")).first.wait_for()
        for epoch in range(1, 4):
            writer.append_many({"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 1.2 / epoch}, epoch, time.time())
        writer.flush()
        # The trial goes on: its curves are there, and effects wait for trials that finish.
        card(page, "loss of all trials").locator("canvas").first.wait_for()
        assert "No trial has finished yet" in card(page, "What each parameter did").inner_text()
        for epoch in range(4, 7):
            writer.append_many({"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 1.2 / epoch}, epoch, time.time())
        metrics = {"val_accuracy": float("nan")}
        log.ended(TrialState(trial=planned[0], status="finished", run=writer.run_id, attempt=1, metrics=metrics))
        writer.finish()
        page.get_by_text("not finite", exact=True).wait_for()
        page.get_by_text("No finished trial has a finite val_accuracy").wait_for()


def _finish(root: Path, info: LabInfo) -> None:
    trial = info.trials[-1]
    writer = RunWriter.create(root, project=info.project, name="the last", group=info.id)
    with LabLog(root, info) as log:
        log.started(trial, attempt=1, run=writer.run_id)
        writer.append_many({"val/accuracy": 0.9}, 1, time.time())
        writer.finish()
        state = TrialState(trial=trial, status="finished", run=writer.run_id, attempt=1, metrics={"val_accuracy": 0.9})
        log.ended(state)


def test_no_lab_yet_says_how_to_make_one(page: Any, tmp_path: Path) -> None:
    from epochal.server import make_app, start_in_background

    with start_in_background(make_app(tmp_path, studio_folder=STUDIO), port=0) as server:
        open_page(page, server.url, "lab")
        page.get_by_role("heading", name="No lab yet").wait_for()
        assert "[space]" in page.locator("main").inner_text()
        assert "epochal lab run lab.toml" in page.locator("main").inner_text()
