"""`epochal lens`: networks by every name, pictures, films, numbers, and words for what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import epochal as package
from tests.cli.command import environment, epochal, json_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

ENV = environment(OMP_NUM_THREADS="1")
SCRIPT = """
import torch
from torch import nn
def build():
    torch.manual_seed(0)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), *pooled)
"""


def build() -> Any:
    held: dict[str, Any] = {}
    exec(SCRIPT, held)
    return held["build"]()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lens")
    network = build()
    with package.init(project="p", name="n", dir=folder / "runs", strict=True) as run:
        run.watch(network, inputs=torch.zeros(2, 1, 12, 12))
        for step in (1, 2):
            with torch.no_grad():
                network[0].weight += 0.1
            run.log({"loss": 1.0}, step=step)
            run.snapshot(step)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "hers.py").write_text(SCRIPT)
    np.savez(folder / "data.npz", x=np.random.default_rng(0).random((20, 1, 12, 12)).astype(np.float32))
    return folder


def test_a_run_is_asked_and_its_picture_written(place: Path) -> None:
    to = place / "seen.png"
    said = json_of(
        "lens", "latest@1", place / "photo.png", "--dir", place / "runs", "--method", "grad_cam,saliency,feature-maps",
        "--layer", "0", "--target", "2", "--to", to, env=ENV,
    )  # fmt: skip
    assert said["step"] == 1
    assert [m["name"] for m in said["methods"]] == ["grad_cam", "saliency", "feature_maps"]
    assert [m["target"] for m in said["methods"]] == [2, 2, None]
    assert said["methods"][2]["shape"] == [4, 12, 12]
    assert sum(one["probability"] for one in said["top"]) == pytest.approx(1)
    reader = package.open(place / "runs").run("latest")
    pixels = np.asarray(Image.open(place / "photo.png"), np.float32)[None, None] / 255
    scores = reader.network(1)(pixels)[0]
    assert said["top"][0]["class"] == int(scores.argmax())
    assert said["top"][0]["score"] == pytest.approx(float(scores.max()), rel=1e-4)
    assert said["methods"][0]["score"] == pytest.approx(float(scores[2]), rel=1e-4)
    with Image.open(to) as picture:
        assert picture.width > 300
    assert any("colours go from 0 to 1" in note for note in said["notes"])


def test_all_steps_make_a_film_and_numbers(place: Path) -> None:
    done = epochal(
        "lens", "latest", place / "photo.png", "--dir", place / "runs", "--method", "saliency", "--steps", "all",
        "--to", place / "film.gif", "--theme", "dark", env=ENV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 frames" in done.stdout
    with Image.open(place / "film.gif") as film:
        assert getattr(film, "n_frames", 1) == 3
    said = json_of(
        "lens", "latest", "--dir", place / "runs", "--method", "filters", "--steps", "0:1", "--to", place / "f.npz",
        env=ENV,
    )  # fmt: skip
    assert said["frames"] == 2
    with np.load(place / "f.npz") as held:
        np.testing.assert_allclose(held["filters"][1] - held["filters"][0], 0.1, atol=1e-6)


def test_code_of_this_folder_with_weights_of_a_file(place: Path) -> None:
    weights = {name: value.numpy() for name, value in build().state_dict().items()}
    np.savez(place / "weights.npz", **weights)
    done = epochal(
        "lens", "hers:build", "--weights", "weights.npz", "--input-shape", "1x12x12", "--method",
        "maximize,top_examples", "--layer", "0", "--channel", "1", "--data", "data.npz", "--set", "maximize.steps=3",
        "--set", "top_examples.k=4", "--to", "most.png", cwd=place, env=ENV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "top_examples at 0" in done.stdout
    assert (place / "most.png").stat().st_size > 1000
    said = json_of("lens", "--methods")
    assert {"feature_maps", "maximize", "top_examples"} <= {one["name"] for one in said}
    layers = json_of("lens", "latest", "--layers", "--dir", place / "runs", env=ENV)
    assert layers[0] == {"name": "0", "kind": layers[0]["kind"]}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["latest", "photo.png", "--method", "salience"], 1, "Did you mean 'saliency'"),
        (["latest", "photo.png", "--method", "feature_maps"], 2, "needs layer"),
        (["latest", "photo.png", "--method", "grad_cam", "--layer", "9"], 1, "no layer '9'"),
        (["latest", "photo.png", "--method", "saliency", "--target", "dog"], 1, "no class 'dog'"),
        (["latest", "photo.png", "--method", "saliency", "--target", "7"], 2, "no class 7"),
        (["latest", "hers.py", "--method", "saliency"], 2, "no picture that is read"),
        (["latest", "nothing.png"], 1, "no picture"),
        (["latest", "--to", "x.png"], 2, "what to look with"),
        (["latest"], 2, "Name an image"),
        (["nobody:make", "photo.png"], 1, "no module 'nobody'"),
        (["latest@9", "photo.png"], 1, "no snapshot at step 9"),
        (["latest", "photo.png", "--method", "occlusion", "--set", "occlusion.widow=3"], 2, "It has: window, stride"),
    ],
)
def test_what_cannot_be_says_so(place: Path, words: list[str], code: int, said: str) -> None:
    done = epochal("lens", *words, "--dir", "runs", cwd=place, env=ENV)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_channel_is_explained_and_a_map_checked_of_a_recorded_example(place: Path, tmp_path: Path) -> None:
    network = build()
    x = np.random.default_rng(1).random((6, 1, 12, 12)).astype(np.float32)
    with package.init(project="p", name="examples", dir=tmp_path, strict=True) as run:
        run.watch(network, inputs=torch.zeros(2, 1, 12, 12), examples=(torch.from_numpy(x), [0, 1, 2, 0, 1, 2]))
        run.log({"loss": 1.0}, step=1)
        run.snapshot(1)
    said = json_of(
        "lens", "latest", "--dir", tmp_path, "--example", "4", "--method", "saliency", "--inside", "0", "--target", "2",
        "--place", "3,5", "--to", tmp_path / "unit.npz", env=ENV,
    )  # fmt: skip
    reader = package.open(tmp_path).run("latest")
    given = reader.predictions().given
    assert given is not None
    image = np.ascontiguousarray(given[4].transpose(2, 0, 1)) if given.ndim == 4 and given.shape[3] == 1 else given[4]
    inner = package.lens.inside(reader.network(), "0", place=(3, 5))
    expected = package.lens.saliency(inner, image.reshape(1, 12, 12), target=2)
    assert said["methods"][0]["score"] == pytest.approx(expected.score, rel=1e-4)
    with np.load(tmp_path / "unit.npz") as held:
        np.testing.assert_allclose(held["saliency"][0], expected.array, atol=1e-6)
    checked = json_of(
        "lens", "latest", "--dir", tmp_path, "--example", "4", "--method", "saliency", "--check",
        "--to", tmp_path / "check.png", env=ENV,
    )  # fmt: skip
    found = package.lens.sanity_check(package.lens.saliency, reader.network(), image.reshape(1, 12, 12))
    assert [one["name"] for one in checked["methods"]] == ["saliency", "saliency, random weights"]
    assert checked["methods"][1]["numbers"]["rank_correlation"] == pytest.approx(found.correlation, abs=1e-6)
    for words, expected_words in (
        (["--example", "9"], "There is no example 9"), (["--example", "0", "--place", "1,1"], "--inside L"),
        (["--example", "0", "--inside", "0", "--method", "filters"], "for attributions"),
        (["--example", "0", "--check", "--steps", "all"], "of one step"), (["--check"], "--check needs an input"),
    ):  # fmt: skip
        done = epochal("lens", "latest", "--dir", tmp_path, "--method", "saliency", *words, env=ENV)
        assert done.returncode == 2, words
        assert expected_words in done.stderr + done.stdout, words
