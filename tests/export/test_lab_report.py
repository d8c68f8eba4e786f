"""A lab's report says what the lab was: known effects, all trials, what failed, and pictures that stand alone."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from epochal.errors import UsageError
from epochal.export.lab_report import LabReport, html_text, markdown_text, report_lab, write_report
from epochal.facts.lab import LabInfo
from epochal.store.labs import LabLog
from epochal.views.lab import LabShelf
from tests.labs import TRACEBACK, make_lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reported")


@pytest.fixture(scope="module")
def report(root: Path) -> LabReport:
    info = make_lab(root)
    return report_lab(root, LabShelf(root).get(info.project, info.id))


def test_says_effects_trials_and_what_failed(report: LabReport) -> None:
    text = markdown_text(report, {})
    assert text.startswith("# Lab small\n")
    assert "The best is trial" in text
    assert re.search(r"^- dropout 0\.5 → 0\.2: \+[34]\.\d points, 95 % CI \[", text, re.MULTILINE)
    assert "What was chosen outweighs the seed." in text
    assert len(re.findall(r"^\| \d+ \| 0\.[25] \| \[", text, re.MULTILINE)) == 15
    assert "Trial 15 failed: ValueError: pooled to nothing" in text
    assert TRACEBACK.rstrip() in text
    assert "## Curves" not in text  # a title without its picture says nothing
    assert "1 of the trials are no longer than 5 epochs" in text


def test_means_leave_out_the_first_epochs(root: Path, report: LabReport) -> None:
    # The accuracy of epoch e is goal (1 - 2^-e): of epochs 6, 7 and 8 the mean is known.
    state, pair = report.facts.states[0], report.pictures.pairs[0]
    goal = state.metrics["val_accuracy"]
    assert pair.name == "accuracy"
    mean = report.pictures.mean(state, pair)
    assert mean == pytest.approx(goal * (1 - (2**-6 + 2**-7 + 2**-8) / 3))
    whole = report_lab(root, report.facts, skip=0).pictures.mean(state, pair)
    assert whole == pytest.approx(goal * (1 - (1 - 2**-8) / 8))


def test_markdown_has_its_pictures_beside_it(report: LabReport, tmp_path: Path) -> None:
    written = write_report(report, tmp_path / "deep" / "small.md")
    assert [path.name for path in written] == ["small.md", "small-effects.png", "small-curves.png", "small-bars.png"]
    text = written[0].read_text(encoding="utf-8")
    for path in written[1:]:
        assert f"]({path.name})" in text
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 20  # something is drawn


def test_a_page_holds_everything_and_runs_nothing(report: LabReport, tmp_path: Path) -> None:
    (page,) = write_report(report, tmp_path / "small.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "<script" not in text
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+|http-equiv", "", text)
    for drawn in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawn)
    assert "<pre>Traceback (most recent call last)" in text


def test_hostile_names_stay_text(root: Path) -> None:
    info = make_lab(
        root, name="odd", repeats=1, failed=0, space={"a|b<i>": ["<script>x</script>", "*"]}, of=lambda p: 0.5
    )
    odd = report_lab(root, LabShelf(root).get(info.project, info.id))
    assert "<script>" not in html_text(odd, {})
    text = markdown_text(odd, {})
    assert "\\<script>" in text
    assert "a\\|b\\<i>" in text


def test_a_lab_that_only_began(root: Path, tmp_path: Path) -> None:
    empty = LabInfo(id="20261121-000000-aaaaaa", name="empty", project="empty", created=1.0)
    LabLog(root, empty).close()
    report = report_lab(root, LabShelf(root).get("empty", empty.id))
    assert "No trial has finished yet." in markdown_text(report, {})
    assert [path.name for path in write_report(report, tmp_path / "e.html")] == ["e.html"]


def test_other_files_are_refused(report: LabReport, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be written as '\.pdf'"):
        write_report(report, tmp_path / "small.pdf")
