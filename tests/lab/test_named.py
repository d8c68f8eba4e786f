"""Models and data by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.demos.volumes import load_volumes, save_volumes
from epochal.errors import NotFoundError, UsageError
from epochal.lab.named import find_data, find_model


@pytest.fixture(autouse=True)
def _digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = (np.arange(60) * 7 % 3).astype(np.uint8)
    x = np.zeros((60, 28, 28), np.uint8)
    x[np.arange(60), 9 * y.astype(int) + 4] = 200
    np.savez(tmp_path / "mnist.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    monkeypatch.setenv("EPOCHAL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_data_by_name(tmp_path: Path) -> None:
    volumes = find_data("epochal:mnist3d?training=20&test=6&seed=2")
    assert (volumes.name, volumes.shape, len(volumes.training.labels)) == ("mnist3d", (16, 16, 16), 16)
    assert volumes.source == "mnist3d?training=20&test=6&seed=2"
    pictures = find_data("epochal:mnist?training=30", validation=0.2)
    assert (pictures.shape, len(pictures.training.labels), len(pictures.validation.labels)) == ((28, 28), 24, 6)
    assert pictures.training.features.dtype == np.uint8
    assert pictures.test is not None
    assert len(pictures.test.labels) == 20
    iris = find_data("epochal:iris")
    assert (iris.shape, iris.classes, iris.largest) == ((4,), ("setosa", "versicolor", "virginica"), 1.0)
    again = find_data(str(save_volumes(volumes, tmp_path / "kept.npz")))
    np.testing.assert_array_equal(again.training.features, volumes.training.features)
    assert (again.largest, again.classes) == (255.0, volumes.classes)
    assert again.test is not None
    assert volumes.test is not None
    np.testing.assert_array_equal(again.test.labels, volumes.test.labels)
    assert find_data(volumes) is volumes
    assert load_volumes(tmp_path / "kept.npz").name == "kept"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("epochal:mnist3", r"no data 'epochal:mnist3'[\s\S]*epochal:mnist"),
        ("epochal:mnist3d?trainin=20", r"no 'trainin' to ask for[\s\S]*training"),
        ("epochal:mnist3d?training=many", "training is 'many', not a whole number"),
        ("epochal:mnist3d?training=1", "training must be a whole number from 12"),
        ("nowhere.h5", "does not exist"),
    ],
)
def test_data_that_are_not_there(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        find_data(name)


@pytest.mark.torch
def test_models_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    from epochal.demos.convnet import convnet2d

    assert find_model("epochal:convnet2d") is convnet2d
    assert find_model(convnet2d) is convnet2d
    (tmp_path / "own_model_of_named.py").write_text("class Box:\n    make = staticmethod(lambda: 1)\nnumber = 3\n")
    (tmp_path / "broken_of_named.py").write_text("import no_such_module_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: Any = find_model("own_model_of_named:Box.make")
    assert made() == 1
    for name, error, why in (
        ("epochal:convnet4d", UsageError, r"no model 'epochal:convnet4d'[\s\S]*epochal:convnet"),
        ("convnet3d", UsageError, "not the name of a model"),
        ("own_model_of_named:Bxo", NotFoundError, r"has no 'Bxo'[\s\S]*Box"),
        ("own_model_of_named:number", UsageError, "is int, not a function"),
        ("no_such_module_of_named:x", NotFoundError, "no module 'no_such_module_of_named'"),
        ("broken_of_named:x", UsageError, "cannot be imported: No module named 'no_such_module_at_all'"),
    ):
        with pytest.raises(error, match=why):
            find_model(name)
