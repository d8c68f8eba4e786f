"""Measured tables, and networks that are no chain, in a real browser: names, asking, units, class images."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

import epochal
from tests.e2e.conftest import STUDIO
from tests.e2e.test_inside import accessible, bright_rows
from tests.e2e.test_studio import open_page, playhead

torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Iris demo, and a small convolutional network with examples."""
    folder = tmp_path_factory.mktemp("measured")
    command = [sys.executable, "-m", "epochal", "demo", "iris", "--epochs", "40", "--no-view", "--json"]
    done = subprocess.run([*command, "--dir", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] > 0.8
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(147, 10))
    pictures, labels = bright_rows(120, 2)
    x, y = torch.from_numpy(pictures[:, None] / np.float32(255)), torch.from_numpy(labels.astype(np.int64))
    with epochal.init("conv", name="bands", dir=folder, strict=True, system=False, console=False) as run:
        run.watch(net, inputs=(x[:2],), snapshots=1, examples=(x, y))
        optimiser = torch.optim.Adam(net.parameters(), 0.02)
        for step in range(4):
            loss = nn.functional.cross_entropy(net(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            run.log({"loss": loss.item()}, step=step, epoch=step)
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[str]:
    from epochal.server import make_app, start_in_background

    running = start_in_background(make_app(runs, studio_folder=STUDIO), port=0)
    yield running.address.url
    running.stop()


def bars(page: Any, region: str) -> dict[str, float]:
    """The numbers of a list of bars by their names."""
    texts = page.get_by_role("region", name=region, exact=True).locator("li").all_inner_texts()
    rows = [text.split("\n") for text in texts]
    return {row[0]: float(row[-1].replace("−", "-")) for row in rows}


def test_centimetres_are_changed_and_the_network_is_asked_in_its_own_numbers(
    page: Any, server: str, runs: Path
) -> None:
    reader = epochal.open(runs).run("iris/iris-12-12")
    said = reader.predictions()
    i = int(np.argmax(said.probabilities[:, 0]))  # a setosa
    run = f"{reader.info.project}/{reader.info.run_id}"
    page.goto(f"{server}#/examples?run={run}&example={i}&asking=1")
    panel = page.get_by_role("region", name=f"Example {i}", exact=True)
    length = panel.get_by_role("spinbutton", name="petal length (cm)")
    assert length.input_value() == f"{said.inputs[i, 2]:g}"
    assert said.given is not None
    panel.get_by_text(f"given {said.given[i, 2]:+.3g}".replace("-", "−")).first.wait_for()
    panel.get_by_text("It says setosa").wait_for()
    # A virginica of the table, in centimetres, standardised as the demo says it does.
    x, y = load_iris(return_X_y=True)
    other = x[y == 2][0]
    for name, value in zip(("sepal length", "sepal width", "petal length", "petal width"), other, strict=True):
        panel.get_by_role("spinbutton", name=f"{name} (cm)").fill(str(value))
    panel.get_by_text("It says virginica").wait_for()
    assert said.prepared is not None
    scale, offset = said.prepared
    scores = reader.network(said.step)((other * scale + offset)[None].astype(np.float32))[0]
    share = np.exp(scores - scores.max())
    expected = 100 * share[2] / share.sum()
    told = panel.get_by_text("It says virginica").inner_text()
    found = re.search(r"([\d.]+)\s*%", told)
    assert found is not None
    assert abs(float(found[1]) - expected) < 0.1 or (expected > 99.9 and ">" in told)
    accessible(page)


def test_a_unit_is_told_by_the_names_of_its_inputs_and_its_own_activations(page: Any, server: str, runs: Path) -> None:
    reader = epochal.open(runs).run("iris/iris-12-12")
    said = reader.predictions()
    assert said.given is not None
    state = reader.network(said.step).state()
    weight, bias = state["layers.0.weight"], state["layers.0.bias"]
    acts = np.maximum(said.given @ weight.T + bias, 0)
    unit = int(acts.std(axis=0).argmax())
    run = f"{reader.info.project}/{reader.info.run_id}"
    open_page(page, server, "unit", run=run, unit=str(unit))
    page.get_by_role("region", name="Activation of the unit", exact=True).wait_for()
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    incoming = bars(page, "Incoming weights")
    assert list(incoming) == names
    np.testing.assert_allclose(list(incoming.values()), weight[unit], atol=6e-3)
    correlations = bars(page, "Correlation with classes")
    expected = [np.corrcoef(acts[:, unit], said.labels == k)[0, 1] for k in range(3)]
    np.testing.assert_allclose(list(correlations.values()), expected, atol=2e-3)
    drawn = page.get_by_role("region", name="Activation of the unit", exact=True).get_by_role("img")
    assert f"{len(said)} values" in drawn.get_attribute("aria-label")
    page.get_by_role("region", name="Correlation with classes").get_by_text("through the training").wait_for()
    accessible(page)


def test_class_images_of_a_network_that_is_no_chain(page: Any, server: str, runs: Path) -> None:
    reader = epochal.open(runs).run("conv/bands")
    run = f"conv/{reader.info.run_id}"
    open_page(page, server, "weights", run=run, view="classes")
    card = page.get_by_role("region", name="What each class looks like to the network")
    card.get_by_text("step 3 · mean gradient of the class's score by the input, over 120 examples").wait_for(
        timeout=60_000
    )
    canvas = card.locator("canvas").first
    before = canvas.screenshot(animations="disabled")
    accessible(page)
    playhead(page).press("Home")
    card.get_by_text("step 0 · mean gradient").wait_for(timeout=60_000)
    assert canvas.screenshot(animations="disabled") != before
    # What was found is kept: it comes back without a question.
    playhead(page).press("End")
    card.get_by_text("step 3 · mean gradient").wait_for(timeout=2_000)
    assert card.get_by_role("button", name="Stop").count() == 0
