"""Where the digits of the MNIST demo come from, and that a network learns them."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal.demos.images import MIRRORS, Mirror, find_mnist, load_npz, small_digits, split_images
from epochal.errors import UsageError
from tests.cli.command import environment, json_of

Array = npt.NDArray[Any]


def made(n: int = 60, seed: int = 0) -> dict[str, Array]:
    """Pictures whose class is the row that is bright: anything learns them."""
    random = np.random.default_rng(seed)

    def part(count: int) -> tuple[Array, Array]:
        y = random.permutation(np.arange(count) % 10).astype(np.uint8)
        x = random.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        x[np.arange(count), 2 * y.astype(int) + 3] = 250
        return x, y

    (x_train, y_train), (x_test, y_test) = part(n), part(n // 3)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a server that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def idx(array: Array) -> bytes:
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHAL_DATA", raising=False)


def test_a_mirror_is_asked_once_and_kept(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    np.savez(folder / "mnist.npz", **made())  # type: ignore[arg-type]
    mirror = Mirror(files=((f"{address}/mnist.npz", digest(folder / "mnist.npz")),))
    said: list[str] = []
    found = find_mnist(mirrors=[mirror], cache=tmp_path / "cache", say=said.append)
    assert found.name == "mnist"
    np.testing.assert_array_equal(found.training[0], made()["x_train"])
    assert len(said) == 1
    (folder / "mnist.npz").unlink()
    again = find_mnist(mirrors=[mirror], cache=tmp_path / "cache", say=said.append)
    np.testing.assert_array_equal(again.test[1], made()["y_test"])
    assert len(said) == 1, "the second time it comes from the cache"


def test_four_idx_files_are_the_same_set(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    for name, array in made().items():
        (folder / f"{name}.gz").write_bytes(idx(array))
    files = tuple((f"{address}/{name}.gz", digest(folder / f"{name}.gz")) for name in made())
    found = find_mnist(mirrors=[Mirror(files=files)], cache=tmp_path)
    for kept, name in zip((*found.training, *found.test), made(), strict=True):
        np.testing.assert_array_equal(kept, made()[name])


def test_what_is_not_the_known_file_is_not_taken(served: tuple[Path, str], tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (epochal[sklearn])")
    folder, address = served
    np.savez(folder / "mnist.npz", **made())  # type: ignore[arg-type]
    wrong = Mirror(files=((f"{address}/mnist.npz", "0" * 64),))
    missing = Mirror(files=((f"{address}/other.npz", "0" * 64),))
    said: list[str] = []
    found = find_mnist(mirrors=[wrong, missing], cache=tmp_path / "cache", say=said.append)
    assert found.name == "digits"
    assert found.training[0].shape[1:] == (8, 8)
    assert "its SHA-256 differs" in said[-1]
    assert "404" in said[-1]
    assert "--data mnist.npz" in said[-1]
    assert list((tmp_path).glob("cache/*")) == []
    right = Mirror(files=((f"{address}/mnist.npz", digest(folder / "mnist.npz")),))
    assert find_mnist(mirrors=[wrong, right], cache=tmp_path / "cache").name == "mnist", "the next mirror is asked"


def test_the_mirrors_are_secure_and_have_hashes() -> None:
    for address, known in (file for mirror in MIRRORS for file in mirror.files):
        assert address.startswith("https://")
        assert len(bytes.fromhex(known)) == 32


def test_the_folder_of_data_files_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mnist.npz", **made())  # type: ignore[arg-type]
    monkeypatch.setenv("EPOCHAL_DATA", str(tmp_path))
    assert find_mnist(mirrors=[], cache=tmp_path / "none").source == str(tmp_path / "mnist.npz")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"x_train": None}, "no array 'x_train'"),
        ({"x_train": np.zeros((60, 784), np.uint8)}, r"x_train is \[60, 784\]"),
        ({"x_test": np.zeros((20, 28, 28))}, r"x_test is \[20, 28, 28\] float64"),
        ({"y_train": np.zeros(59, np.uint8)}, r"y_train \[59\]"),
        ({"x_test": np.zeros((20, 8, 8), np.uint8)}, "not of one kind"),
        ({"y_test": np.array([{}] * 20, object)}, "cannot be read"),
    ],
)
def test_files_of_other_kinds_are_said(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    arrays = {name: value for name, value in (made() | change).items() if value is not None}
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(UsageError, match=why) as caught:
        load_npz(tmp_path / "file.npz")
    assert "x_train [N, 28, 28]" in caught.value.hint


def test_the_split_is_the_books() -> None:
    x = np.zeros((60_000, 1, 1), np.uint8)
    y = np.arange(60_000) % 10
    images = epochal_images(x, y)
    parts = split_images(images)
    assert [len(p.labels) for p in (parts.training, parts.validation, parts.test)] == [50_000, 10_000, 100]
    np.testing.assert_array_equal(parts.validation.labels, y[50_000:])
    mixed = split_images(epochal_images(x, np.sort(y)))
    assert np.bincount(mixed.validation.labels, minlength=10).min() > 900, "sorted sets are shuffled first"
    assert parts.training.features.dtype == np.float32


def epochal_images(x: Array, y: Array) -> Any:
    from epochal.demos.images import Images

    return Images(name="mnist", source="here", training=(x, y), test=(x[:100], y[:100]), classes=tuple("0123456789"))


def test_small_digits_fill_the_range() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn (epochal[sklearn])")
    parts = split_images(small_digits())
    assert parts.training.features.max() == 1.0
    assert sum(len(p.labels) for p in (parts.training, parts.validation, parts.test)) == 1797


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_demo_records_pictures_that_fold(tmp_path: Path, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    np.savez(tmp_path / "file.npz", **made(600))  # type: ignore[arg-type]
    told = json_of(
        "demo", "mnist", "--data", tmp_path / "file.npz", "--hidden", "16", "16", "--epochs", "12", "--engine", engine,
        "--dir", tmp_path / "runs", "--no-view", env=environment(),
    )  # fmt: skip
    assert told["test_accuracy"] > 0.8
    assert told["config"]["examples"] == {"training": 500, "validation": 100, "test": 200}
    run = epochal.open(tmp_path / "runs").run(told["run_id"])
    images = epochal.lens.class_images(run.network())
    assert images.array.shape == (10, 28, 28)
    # The bright row of each class must show: its weights are the highest of all rows for most classes.
    brightest = images.array.mean(axis=2).argmax(axis=1)
    assert (brightest == 2 * np.arange(10) + 3).sum() >= 8
    x = made(600)["x_test"].astype(np.float32) / 255
    assert (run.network()(x).argmax(1) == made(600)["y_test"]).mean() == pytest.approx(told["test_accuracy"])


@pytest.mark.slow
def test_thirty_sigmoid_units_reach_95_percent(tmp_path: Path) -> None:
    folder = os.environ.get("EPOCHAL_TEST_DATA", "")
    if not Path(folder, "mnist.npz").is_file():
        pytest.skip("needs mnist.npz in the folder that EPOCHAL_TEST_DATA names")
    told = json_of("demo", "mnist", "--data", Path(folder, "mnist.npz"), "--dir", tmp_path, "--no-view")
    assert told["config"]["hidden"] == [30]
    assert told["config"]["activation"] == "sigmoid"
    assert told["test_accuracy"] >= 0.95, json.dumps(told["metrics"])
