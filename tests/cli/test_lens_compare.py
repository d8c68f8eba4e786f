"""`epochal lens` with comparisons: of a run's own recorded examples or a file's, pictures, films and words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochal as package
from epochal import lens
from epochal.cli.main import main

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from tests.attending import Letters  # noqa: E402

Said = Callable[..., Any]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def said_by(capsys: pytest.CaptureFixture[str]) -> Said:
    def said(*words: str | Path) -> Any:
        assert main(["lens", *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    x, y = torch.randn(48, 6), torch.arange(48) % 3
    x += 2 * nn.functional.one_hot(y, 6)
    optimizer = torch.optim.Adam(network.parameters(), 3e-2)
    with package.init(project="p", name="n", dir=folder / "runs", strict=True) as run:
        run.watch(network, inputs=x[:2], examples=(x, y))
        for step in range(1, 5):
            for _ in range(8):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            run.log({"loss": 1.0}, step=step)
            run.snapshot(step)
    np.savez(folder / "data.npz", x=x.numpy(), y=y.numpy())
    return folder


def test_cka_of_recorded_examples_is_that_of_python(place: Path, said_by: Said) -> None:
    to = place / "cka.png"
    said = said_by("latest@4", "--dir", place / "runs", "--method", "cka", "--to", to)
    reader = package.open(place / "runs").run("latest")
    with np.load(place / "data.npz") as data:
        expected = lens.cka(reader.network(4), inputs=data["x"])
    np.testing.assert_allclose(said["cka"], expected.array, rtol=1e-4)
    assert said["rows"] == ["0", "2"]
    with Image.open(to) as picture:
        assert picture.width > 300
    against = said_by(
        "latest@4", "--dir", place / "runs", "--method", "cka", "--against", "latest@0", "--layer", "2",
        "--data", place / "data.npz",
    )  # fmt: skip
    assert np.shape(against["cka"]) == (1, 1)
    steps = said_by("latest", "--dir", place / "runs", "--method", "cka-steps", "--layer", "2")
    assert np.shape(steps["cka"]) == (5, 5)
    assert steps["cka"][4][0] == pytest.approx(against["cka"][0][0], rel=1e-3)


def test_films_and_paths(place: Path, said_by: Said) -> None:
    for method, more in (
        ("linear_probes", ["--steps", "all"]), ("spectra", ["--steps", "all"]),
        ("loss_landscape", ["--path", "--set", "loss_landscape.size=5"]),
    ):  # fmt: skip
        to = place / f"{method}.gif"
        said = said_by("latest", "--dir", place / "runs", "--method", method, *more, "--to", to)
        assert said["notes"] or method == "spectra"
        with Image.open(to) as movie:
            assert getattr(movie, "n_frames", 1) == 5
    assert said["path_steps"] == [0, 1, 2, 3, 4]
    assert 0 < sum(said["variance"]) <= 1 + 1e-9


def test_words_for_people_and_for_what_cannot_be(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(place / "runs")
    assert main(["lens", "latest", "--dir", runs, "--method", "linear-probes"]) == 0
    assert "chance" in capsys.readouterr().out
    for words, expected in (
        (["--method", "cka,saliency"], "stands alone"), (["--method", "attention"], "needs an input"),
        (["--method", "cka_steps"], "needs layer"), (["--method", "spectra", "--path"], "shows no path"),
        (["--method", "loss_landscape", "--path", "--steps", "all"], "shows all steps at once"),
        (["--method", "cka", "--set", "cka.nothing=1"], "no option 'nothing'"),
    ):  # fmt: skip
        assert main(["lens", "latest", "--dir", runs, *words]) == 2
        assert expected in capsys.readouterr().err, words
    assert main(["lens", "--methods"]) == 0
    listed = capsys.readouterr().out
    assert "linear_probes" in listed
    assert "saliency" in listed


def test_attention_of_what_is_written(said_by: Said, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokens = torch.arange(16).reshape(4, 4) % 5
    with package.init(project="p", dir=tmp_path, config={"vocabulary": "abcd "}, strict=True) as run:
        run.watch(Letters(), inputs=tokens[:2])
        run.log({"loss": 1.0}, step=1)
        run.snapshot(1)
    said = said_by("latest", "ad b", "--dir", tmp_path, "--method", "attention", "--to", tmp_path / "letters.npz")
    assert said["tokens"] == ["a", "d", "▁", "b"]
    with np.load(tmp_path / "letters.npz") as held:
        expected = lens.attention(package.open(tmp_path).run("latest").network(), np.array([0, 3, 4, 1]))
        np.testing.assert_allclose(held["rollout"], expected.rollout, atol=1e-6)
