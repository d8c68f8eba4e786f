"""Examples from .h5 and .npz files: real files, made here as others make them, and hostile ones."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.demos.volumes import load_volumes, split_volumes
from epochal.errors import MissingExtraError, UsageError

Array = npt.NDArray[Any]
h5py: Any = pytest.importorskip("h5py", reason="needs h5py (epochal[h5])")


def arrays(n: int = 24, tests: int = 6) -> dict[str, Array]:
    """As `full_dataset_vectors.h5` holds them: float64 shares of the fullest voxel, whole labels."""
    random = np.random.default_rng(0)
    return {
        "X_train": random.random((n, 4096)),
        "y_train": random.permutation(np.arange(n) % 10),
        "X_test": random.random((tests, 4096)),
        "y_test": np.arange(tests) % 10,
    }


def h5(path: Path, **changes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in (arrays() | changes).items():
            if value is not None:
                file.create_dataset(name, data=value, compression="gzip" if np.ndim(value) > 1 else None)
    return path


def test_the_original_file_is_cubes(tmp_path: Path) -> None:
    data = load_volumes(h5(tmp_path / "full_dataset_vectors.h5"))
    made = arrays()
    assert (data.name, data.shape, data.classes) == ("full_dataset_vectors", (16, 16, 16), tuple("0123456789"))
    assert data.largest == 1.0
    assert (len(data.training.labels), len(data.validation.labels)) == (20, 4)
    x = np.concatenate([data.training.features, data.validation.features])
    np.testing.assert_array_equal(x, made["X_train"].astype(np.float32).reshape(-1, 16, 16, 16))
    np.testing.assert_array_equal(np.concatenate([data.training.labels, data.validation.labels]), made["y_train"])
    assert data.test is not None
    assert data.test.features[5, 1, 2, 3] == np.float32(made["X_test"][5, 256 + 2 * 16 + 3])
    assert data.training.labels.dtype == np.int64


def test_an_npz_file_of_any_shape(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (30, 3, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=(np.arange(30) * 7 % 3).astype(np.float32)[:, None])
    data = load_volumes(tmp_path / "a.npz", validation=0.3)
    assert (data.shape, data.largest, data.test, data.classes) == ((3, 8, 8), 255.0, None, ("0", "1", "2"))
    assert len(data.validation.labels) == 10, "nine, and one more so that pairs stay together"
    np.savez(tmp_path / "b.npz", X_train=x[:, 0] > 99, y_train=random.random(30))
    numbers = load_volumes(tmp_path / "b.npz")
    assert numbers.classes == ()
    assert numbers.training.labels.dtype == np.float32
    assert numbers.largest == 1.0
    assert set(np.unique(numbers.training.features)) == {0, 1}
    np.savez(tmp_path / "c.npz", X_train=random.random((30, 4096)), y_train=np.arange(30) % 2)
    assert load_volumes(tmp_path / "c.npz").shape == (4096,), "vectors of a .npz file are vectors"


def test_what_lies_sorted_is_mixed(tmp_path: Path) -> None:
    x, y = np.arange(60.0, dtype=np.float32)[:, None], np.repeat([0, 1, 2], 20)
    data = split_volumes(name="a", source="a", training=(x, y), test=None, classes=("a", "b", "c"), largest=1.0)
    assert set(data.validation.labels) == {0, 1, 2}
    np.testing.assert_array_equal(data.training.features[:, 0] // 20, data.training.labels)
    for share in (0, 1, -0.1):
        with pytest.raises(UsageError, match="share between 0 and 1"):
            split_volumes(
                name="a", source="a", training=(x, y), test=None, classes=("a",), largest=1.0, validation=share
            )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"X_train": None}, r"has no array 'X_train'; it has X_test, y_test, y_train"),
        ({"y_train": None, "y_trian": np.arange(24)}, r"no array 'y_train'[\s\S]*Did you mean 'y_trian'"),
        ({"y_test": None}, "has no array 'y_test'"),
        ({"X_test": None}, "has no array 'X_test'"),
        ({"y_train": np.arange(23)}, r"X_train is \[24, 4096\] float64, y_train \[23\]"),
        ({"X_train": np.zeros(24)}, r"X_train is \[24\]"),
        ({"X_test": np.zeros((6, 100))}, r"examples of X_train are \[16, 16, 16\], those of X_test \[100\]"),
        ({"X_train": np.full((24, 4096), np.nan)}, "98,304 numbers that are NaN or infinite"),
        ({"y_train": np.full(24, -1)}, "labels are -1 to 5"),
        ({"y_train": np.full(24, 10**6)}, "labels are 0 to 1e"),
        ({"y_train": np.array([b"one"] * 24)}, r"y_train holds \|S3, not numbers"),
        ({"X_train": np.zeros((3, 4096)), "y_train": np.arange(3)}, "3 examples are too few"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        load_volumes(h5(tmp_path / "a.h5", **changes))
    assert "X_train [n, ...]" in caught.value.hint


def test_an_h5_file_cannot_reach_out(tmp_path: Path) -> None:
    h5(tmp_path / "secret.h5")
    (tmp_path / "raw.bin").write_bytes(bytes(24 * 4096))
    made = arrays()

    def hostile(name: str, how: Any) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key in ("y_train", "X_test", "y_test"):
                file[key] = made[key]
            how(file)
        return path

    def external(file: Any) -> None:
        file["X_train"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "X_train")

    def soft(file: Any) -> None:
        file["X_train"] = h5py.SoftLink("/X_test")

    def raw(file: Any) -> None:
        file.create_dataset("X_train", (24, 4096), "u1", external=[(str(tmp_path / "raw.bin"), 0, 24 * 4096)])

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((24, 4096), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "X_train", (24, 4096))
        file.create_virtual_dataset("X_train", layout)

    def endless(file: Any) -> None:
        file.create_dataset("X_train", (2**40, 4096), "f8", chunks=(1, 4096))

    def group(file: Any) -> None:
        file.create_group("X_train")

    for how, why in (
        (external, "X_train is a link to somewhere else"),
        (soft, "X_train is a link to somewhere else"),
        (raw, "numbers of X_train lie in another file"),
        (virtual, "numbers of X_train lie in another file"),
        (endless, r"X_train is \[1099511627776, 4096\] float64, more than 4 GiB"),
        (group, "X_train is a group"),
    ):
        with pytest.raises(UsageError, match=why):
            load_volumes(hostile(f"{how.__name__}.h5", how))


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    good = h5(tmp_path / "good.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.h5").write_text("X_train")
    broken = bytearray(good)
    broken[len(good) // 3 : len(good) // 3 + 4000] = bytes(4000)
    (tmp_path / "broken.h5").write_bytes(bytes(broken))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "objects.npz", X_train=np.array([{}] * 9, object), y_train=np.arange(9))
    for name in ("cut.h5", "text.h5", "broken.h5", "cut.npz", "objects.npz"):
        with pytest.raises(UsageError, match="cannot be read"):
            load_volumes(tmp_path / name)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(UsageError, match=r"neither an \.h5 nor an \.npz"):
        load_volumes(tmp_path / "a.pkl")
    with pytest.raises(UsageError, match="is a folder"):
        load_volumes(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        load_volumes(tmp_path / "none.h5")


def test_h5py_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = h5(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"needs h5py[\s\S]*epochal\[h5\]"):
        load_volumes(path)
    done = subprocess.run(
        [sys.executable, "-c", "import sys, epochal.demos.volumes; print('h5py' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
