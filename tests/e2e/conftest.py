"""A real run, a real server, a real browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STUDIO = Path(__file__).parents[2] / "src" / "epochal" / "studio"
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = [
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and skip it with the reason where it cannot run."""
    reason = None
    if CHROMIUM is None:
        reason = "no Chromium on this machine"
    elif not (STUDIO / "index.html").is_file():
        reason = "the Studio is not built (make demo builds it)"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of different shape, trained by the real demo."""
    folder = tmp_path_factory.mktemp("runs")
    for words in (["iris", "--hidden", "12", "12", "--epochs", "60"], ["digits", "--hidden", "16", "--epochs", "8"]):
        command = [sys.executable, "-m", "epochal", "demo", *words, "--dir", str(folder), "--no-view", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["run_id"]
    return folder


@pytest.fixture(scope="package")
def address(root: Path) -> Iterator[str]:
    """Address of a server over `root`."""
    from epochal.server import make_app, start_in_background

    server = start_in_background(make_app(root, studio_folder=STUDIO), port=0)
    yield server.address.url
    server.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """A browser for the tests of this folder only: while it is open, an event loop runs in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def problems() -> list[str]:
    """What the page of a test has complained of; a test that provokes a complaint takes out that one."""
    return []


@pytest.fixture
def page(browser: Any, problems: list[str]) -> Iterator[Any]:
    """A fresh page; a test fails when the page logged an error or raised."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="no-preference")
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert problems == []
