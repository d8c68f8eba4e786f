"""3D MNIST, made from MNIST by the recipe that its author published, instead of downloaded.

Every lit pixel becomes a box, one pixel wide and six deep; the faces that no other box hides are covered with points.
The cloud is centred and scaled so that its longest side is 1. Each cloud gives two examples: itself, and a copy that
is turned at random about all three axes and blurred by noise. An example is a grid of 16 x 16 x 16: how many points
lie in each voxel, as a share of the fullest one. The first 5,000 digits of MNIST make 10,000 examples to learn from,
the first 1,000 of its test part 2,000 more (of a file that lies sorted by class: of the digits in a mixed order). (D.
de la Iglesia Castro, 3D MNIST, 2016: kaggle.com/daavoo/3d-mnist)
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.demos.images import Images, cache_folder, find_mnist
from epochal.demos.volumes import Volumes, split_volumes, whole

__all__ = ["Recipe", "cloud_of", "grid_of", "mnist3d", "turned"]

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.uint8]
Say = Callable[[str], None]

VERSION = 1
"""Of how grids are made: another one is another set in the cache."""
MOST_EXAMPLES = 140_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an example is made of a picture of 28 x 28; sizes are in pixels of such a picture.

    `deep` is how far a box reaches, with `across` points along a pixel and `along` points in depth. A copy is turned by
    angles of these deviations in degrees, about the upright axis, the one that goes to the right, and the one that goes
    into the depth, and each coordinate moved by at most `noise` times its deviation. `side` is the grid's.
    """

    deep: float = 6.0
    across: int = 5
    along: int = 30
    turns: tuple[float, float, float] = (180.0, 90.0, 90.0)
    noise: float = 0.25
    side: int = 16


def mnist3d(
    *,
    training: int = 10_000,
    test: int = 2_000,
    seed: int = 0,
    recipe: Recipe | None = None,
    validation: float | None = None,
    images: Images | None = None,
    cache: Path | None = None,
    say: Say = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Volumes:
    """The set: so many examples to learn from and to test, uint8 [n, depth, height, width], 255 for the fullest voxel.

    The same `seed` gives the same examples; example 2i is the digit i, 2i + 1 its copy. MNIST comes from where
    `find_mnist` finds it (`EPOCHAL_DATA`, the user's cache, a mirror, else the small digits of scikit-learn, of which
    `say` tells; then there are as many examples as they suffice for). What was made is kept in the user's cache.
    Raises UsageError for numbers that cannot be.
    """
    whole("training", training, 12, MOST_EXAMPLES)
    whole("test", test, 2, MOST_EXAMPLES)
    whole("seed", seed, 0, 2**32 - 1)
    chosen = recipe or Recipe()
    found = _mixed(images or find_mnist(say=say))
    count = min(training, 2 * len(found.training[1])), min(test, 2 * len(found.test[1]))
    if count != (training, test):
        say(f"{found.name} has digits for {count[0]:,} examples to learn from and {count[1]:,} to test.")
    path = (cache or cache_folder()) / f"{found.name}3d-{_digest(found, count, seed, chosen)}.npz"
    grids = _kept(path, count, chosen.side)
    if grids is None:
        grids = _made(found, count, seed, chosen, progress)
        with contextlib.suppress(OSError):  # without room in the cache it is made anew the next time
            _keep(path, grids)
    labels = [np.repeat(part[1], 2)[:n] for part, n in zip((found.training, found.test), count, strict=True)]
    return split_volumes(
        name=f"{found.name}3d",
        source=f"{found.name}3d?training={count[0]}&test={count[1]}&seed={seed}",
        training=(grids[0], labels[0]),
        test=(grids[1], labels[1]),
        classes=found.classes,
        largest=255.0,
        validation=validation,
    )


def cloud_of(picture: npt.NDArray[Any], recipe: Recipe) -> Array:
    """The points [3, n] (depth, down, right) on the faces of a picture's boxes: longest side 1, mean 0.

    An empty picture gives the points of one box.
    """
    scale = picture.shape[0] / 28
    lit = np.pad(picture > 0, 1)
    if not lit.any():
        lit[lit.shape[0] // 2, lit.shape[1] // 2] = True
    rows, columns = np.nonzero(lit)
    half = recipe.deep * scale / 2
    line, depth = np.linspace(-0.5, 0.5, recipe.across), np.linspace(-half, half, recipe.along)
    # Front and back of every box, then of each of the four sides those that no neighbour hides.
    down, right = (values.ravel() for values in np.meshgrid(line, line, indexing="ij"))
    faces = [_face(rows, columns, np.full(down.shape, z), down, right) for z in (-half, half)]
    deep, along = (values.ravel() for values in np.meshgrid(depth, line, indexing="ij"))
    for step in (-1, 1):
        edge = np.full(along.shape, step / 2)
        open_row, open_column = ~lit[rows + step, columns], ~lit[rows, columns + step]
        faces.append(_face(rows[open_row], columns[open_row], deep, edge, along))
        faces.append(_face(rows[open_column], columns[open_column], deep, along, edge))
    cloud = np.concatenate(faces, axis=1)
    cloud /= np.ptp(cloud, axis=1).max()
    cloud -= cloud.mean(axis=1, keepdims=True)
    return cloud


def turned(cloud: Array, recipe: Recipe, random: np.random.Generator) -> Array:
    """A copy of a cloud, turned about the upright axis, then the right-hand one, then the depth, and with noise."""
    for (one, other), deviation in zip(((2, 0), (0, 1), (1, 2)), recipe.turns, strict=True):
        angle = math.radians(random.normal(0.0, deviation))
        cos, sin = math.cos(angle), math.sin(angle)
        copy = cloud.copy()
        copy[one] = cos * cloud[one] - sin * cloud[other]
        copy[other] = sin * cloud[one] + cos * cloud[other]
        cloud = copy
    most = recipe.noise * cloud.std(axis=1, keepdims=True)
    noisy: Array = cloud + most * random.uniform(-1.0, 1.0, cloud.shape)
    return noisy


def grid_of(cloud: Array, side: int) -> Grid:
    """How many points lie in each voxel of the smallest cube about the cloud's middle, 255 where most do.

    A voxel with any point in it is at least 1.
    """
    least, most = cloud.min(axis=1, keepdims=True), cloud.max(axis=1, keepdims=True)
    edge = float((most - least).max()) * (1 + 1e-6) or 1.0
    places = ((cloud - (least + most) / 2) * (side / edge) + side / 2).astype(np.intp)
    np.minimum(places, side - 1, out=places)
    flat = (places[0] * side + places[1]) * side + places[2]
    counts = np.bincount(flat, minlength=side**3)
    shares = np.round(counts * (255.0 / counts.max()))
    return np.where(counts > 0, np.maximum(shares, 1), 0).astype(np.uint8).reshape(side, side, side)


def _face(rows: Any, columns: Any, deep: Array, down: Array, right: Array) -> Array:
    """The points of one kind of face on many boxes."""
    points = np.empty((3, len(rows), len(deep)))
    points[0] = deep
    np.add(rows[:, None], down, out=points[1])
    np.add(columns[:, None], right, out=points[2])
    return points.reshape(3, -1)


def _made(
    images: Images, count: tuple[int, int], seed: int, recipe: Recipe, progress: Callable[[int, int], None]
) -> tuple[Grid, Grid]:
    parts, done = [], 0
    for part, (pictures, _) in enumerate((images.training, images.test)):
        grids = np.empty((count[part], *(recipe.side,) * 3), np.uint8)
        for i in range(0, count[part], 2):
            cloud = cloud_of(pictures[i // 2], recipe)
            grids[i] = grid_of(cloud, recipe.side)
            if i + 1 < count[part]:
                # Each has random numbers of its own: less examples are the beginning of more.
                random = np.random.default_rng((seed, part, i // 2))
                grids[i + 1] = grid_of(turned(cloud, recipe, random), recipe.side)
            done += 2
            progress(min(done, sum(count)), sum(count))
        parts.append(grids)
    return parts[0], parts[1]


def _mixed(images: Images) -> Images:
    """The same, where parts that lie sorted by class are mixed, always in the same way: the first ones are of all."""

    def part(
        pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        if not (np.diff(labels) >= 0).all():
            return pictures, labels
        order = np.random.default_rng(0).permutation(len(labels))
        return pictures[order], labels[order]

    return replace(images, training=part(*images.training), test=part(*images.test))


def _digest(images: Images, count: tuple[int, int], seed: int, recipe: Recipe) -> str:
    """What names a set in the cache: all that it is made of."""
    digest = hashlib.sha256(repr((VERSION, count, seed, sorted(asdict(recipe).items()))).encode())
    for (pictures, labels), n in zip((images.training, images.test), count, strict=True):
        digits = (n + 1) // 2
        digest.update(np.ascontiguousarray(pictures[:digits]).data)
        digest.update(np.ascontiguousarray(labels[:digits]).data)
    return digest.hexdigest()[:16]


def _kept(path: Path, count: tuple[int, int], side: int) -> tuple[Grid, Grid] | None:
    """The grids from the cache, None where they are not there or not what they should be."""
    try:
        # Opened here, for numpy leaves a damaged one open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            grids = file["training"], file["test"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
    right = all(g.dtype == np.uint8 and g.shape == (n, side, side, side) for g, n in zip(grids, count, strict=True))
    return grids if right else None


def _keep(path: Path, grids: tuple[Grid, Grid]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.tmp.npz")
    try:
        np.savez_compressed(partial, training=grids[0], test=grids[1])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
