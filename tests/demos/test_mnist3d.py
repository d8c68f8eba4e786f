"""3D MNIST against clouds and grids that are built here point by point, and what the cache does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.demos.images import Images
from epochal.demos.mnist3d import Recipe, cloud_of, grid_of, mnist3d, turned
from epochal.errors import UsageError

Array = npt.NDArray[Any]
RECIPE = Recipe()


def digits(n: int = 40, seed: int = 0) -> Images:
    """Pictures of a bar and a spot, whose place tells the class."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((n, 28, 28), np.uint8)
    labels = random.permutation(np.arange(n) % 4).astype(np.int64)
    for picture, label in zip(pictures, labels, strict=True):
        picture[6:22, 5 * label + 5] = 200
        picture[random.integers(4, 24), random.integers(4, 24)] = 9
    return Images(
        name="bars",
        source="here",
        training=(pictures[: n // 2], labels[: n // 2]),
        test=(pictures[n // 2 :], labels[n // 2 :]),
        classes=("a", "b", "c", "d"),
    )


def slow_cloud(picture: Array) -> list[tuple[float, float, float]]:
    """The same points with plain loops, before they are scaled: all faces of all boxes but those between two boxes."""
    line = [-0.5 + k / 4 for k in range(5)]
    depth = [-3 + 6 * k / 29 for k in range(30)]
    points: list[tuple[float, float, float]] = []
    for r in range(28):
        for c in range(28):
            if not picture[r, c]:
                continue
            points += [(z, r + a, c + b) for z in (-3.0, 3.0) for a in line for b in line]
            for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                inside = 0 <= r + dr < 28 and 0 <= c + dc < 28
                if inside and picture[r + dr, c + dc]:
                    continue
                for z in depth:
                    for a in line:
                        points.append((z, r + dr / 2 if dr else r + a, c + dc / 2 if dc else c + a))
    return points


def slow_grid(points: list[tuple[float, float, float]], side: int = 16) -> Array:
    """Counts in the voxels of the smallest cube about the middle of the points, scaled to 255."""
    lo = [min(p[k] for p in points) for k in range(3)]
    hi = [max(p[k] for p in points) for k in range(3)]
    edge = max(b - a for a, b in zip(lo, hi, strict=True)) * (1 + 1e-6)
    counts = np.zeros((side, side, side))
    for point in points:
        at = [int(((point[k] - (lo[k] + hi[k]) / 2) / edge + 0.5) * side) for k in range(3)]
        counts[tuple(min(k, side - 1) for k in at)] += 1
    return np.array([[[0 if n == 0 else max(1, round(255 * n / counts.max())) for n in b] for b in a] for a in counts])


def scaled(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    longest = max(max(p[k] for p in points) - min(p[k] for p in points) for k in range(3))
    mean = [sum(p[k] for p in points) / len(points) for k in range(3)]
    return [tuple((p[k] - mean[k]) / longest for k in range(3)) for p in points]  # type: ignore[misc]


@pytest.mark.parametrize("i", [0, 7, 11])
def test_an_original_is_what_loops_make_of_it(i: int) -> None:
    picture = digits().training[0][i]
    expected = scaled(slow_cloud(picture))
    cloud = cloud_of(picture, RECIPE)
    assert cloud.shape == (3, len(expected))
    ours, theirs = (sorted(map(tuple, np.round(points, 6).tolist())) for points in (cloud.T, np.array(expected)))
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert np.ptp(cloud, axis=1).max() == pytest.approx(1)
    assert np.abs(cloud.mean(axis=1)).max() < 1e-12
    # A point on the border of two voxels may fall to either side by rounding: but for that, every count is the same.
    off = np.abs(grid_of(cloud, 16).astype(int) - slow_grid(expected))
    assert np.count_nonzero(off) <= 0.02 * 4096


def test_a_copy_is_turned_about_three_axes_and_moved_by_noise() -> None:
    cloud = cloud_of(digits().training[0][3], RECIPE)
    copy = turned(cloud, RECIPE, np.random.default_rng(5))
    random = np.random.default_rng(5)
    spin, tilt, roll = (math.radians(random.normal(0, deviation)) for deviation in (180, 90, 90))
    # (depth, down, right): about down, then right, then depth.
    about_down = np.array([[math.cos(spin), 0, math.sin(spin)], [0, 1, 0], [-math.sin(spin), 0, math.cos(spin)]])
    about_right = np.array([[math.cos(tilt), -math.sin(tilt), 0], [math.sin(tilt), math.cos(tilt), 0], [0, 0, 1]])
    about_depth = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    rigid = about_depth @ about_right @ about_down @ cloud
    moved = copy - rigid
    most = 0.25 * rigid.std(axis=1, keepdims=True)
    assert (np.abs(moved) <= most + 1e-12).all()
    assert moved.std(axis=1) == pytest.approx(most[:, 0] / math.sqrt(3), rel=0.05), "uniform within the bounds"
    still = turned(cloud, Recipe(turns=(0, 0, 0), noise=0), np.random.default_rng(5))
    np.testing.assert_allclose(still, cloud, atol=1e-15)


def test_the_set_is_pairs_of_an_original_and_its_copy(tmp_path: Path) -> None:
    images = digits()
    data = mnist3d(training=40, test=20, images=images, cache=tmp_path, seed=3)
    x = np.concatenate([data.training.features, data.validation.features])
    y = np.concatenate([data.training.labels, data.validation.labels])
    assert x.shape == (40, 16, 16, 16)
    assert x.dtype == np.uint8
    assert data.test is not None
    assert data.test.features.shape == (20, 16, 16, 16)
    np.testing.assert_array_equal(y, np.repeat(images.training[1], 2))
    np.testing.assert_array_equal(data.test.labels, np.repeat(images.test[1][:10], 2))
    assert (x.reshape(40, -1).max(axis=1) == 255).all()
    for i in (0, 5):
        cloud = cloud_of(images.training[0][i], RECIPE)
        np.testing.assert_array_equal(x[2 * i], grid_of(cloud, 16))
        copy = turned(cloud, RECIPE, np.random.default_rng((3, 0, i)))
        np.testing.assert_array_equal(x[2 * i + 1], grid_of(copy, 16))
    test = turned(cloud_of(images.test[0][4], RECIPE), RECIPE, np.random.default_rng((3, 1, 4)))
    np.testing.assert_array_equal(data.test.features[9], grid_of(test, 16))
    # A digit and its copy are on one side of the division.
    assert len(data.validation.labels) % 2 == 0
    upright = x[0].max(axis=0) > 0
    assert upright.sum(axis=0).max() == 16, "the bar goes from top to bottom"


def test_seeds_and_sizes(tmp_path: Path) -> None:
    images = digits()
    made = {s: mnist3d(training=20, test=4, images=images, cache=tmp_path / str(s), seed=s) for s in (0, 1)}
    again = mnist3d(training=20, test=4, images=images, cache=tmp_path / "again", seed=0)
    less = mnist3d(training=12, test=4, images=images, cache=tmp_path, seed=0)
    np.testing.assert_array_equal(made[0].training.features, again.training.features)
    assert (made[0].training.features[1::2] != made[1].training.features[1::2]).any()
    np.testing.assert_array_equal(made[0].training.features[::2], made[1].training.features[::2])
    np.testing.assert_array_equal(less.training.features, made[0].training.features[: len(less.training.labels)])
    said: list[str] = []
    most = mnist3d(images=images, cache=tmp_path, say=said.append)
    assert len(most.training.labels) + len(most.validation.labels) == 40
    assert "40 examples to learn from and 40 to test" in said[0]
    assert mnist3d(training=12, test=2, images=images, cache=tmp_path, recipe=Recipe(side=24)).shape == (24, 24, 24)


def test_the_second_time_it_comes_from_the_cache(tmp_path: Path) -> None:
    done: list[int] = []

    def made() -> Any:
        done.clear()
        return mnist3d(
            training=12, test=2, images=digits(), cache=tmp_path, progress=lambda one, of: done.append(one)
        ).training.features

    first = made()
    assert done[-1] == 14
    np.testing.assert_array_equal(made(), first)
    assert done == []
    (path,) = tmp_path.glob("bars3d-*.npz")
    path.write_bytes(path.read_bytes()[:-200])
    np.testing.assert_array_equal(made(), first)
    assert done, "a file that was cut short is made anew"
    other = digits(seed=4)
    assert (mnist3d(training=12, test=2, images=other, cache=tmp_path).training.features != first).any()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    data = mnist3d(training=12, test=2, images=digits(), cache=tmp_path / "file" / "below")
    assert len(data.training.labels) == 10


def test_sorted_files_and_empty_pictures(tmp_path: Path) -> None:
    images = digits()
    order = np.argsort(images.training[1], kind="stable")
    lying = Images(
        name="bars",
        source="here",
        training=(images.training[0][order], images.training[1][order]),
        test=images.test,
        classes=images.classes,
    )
    data = mnist3d(training=16, test=2, images=lying, cache=tmp_path)
    assert len(set(data.training.labels)) > 2, "the first digits are not all of one class"
    empty = grid_of(cloud_of(np.zeros((28, 28), np.uint8), RECIPE), 16)
    assert empty.max() == 255
    small = cloud_of(np.pad(np.full((4, 4), 16, np.uint8), 2), RECIPE)
    assert np.ptp(small, axis=1)[0] == pytest.approx(6 * 8 / 28 / 4), "as deep for its size as the larger ones"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"training": 11}, "training must be a whole number from 12"),
        ({"test": 1.5}, "test must be a whole number"),
        ({"seed": -1}, "seed must be"),
        ({"validation": 1.0}, "share between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        mnist3d(images=digits(), cache=tmp_path, **options)
