"""Linear probes: how well each layer's output tells the classes apart by a linear classifier alone.

G. Alain, Y. Bengio: "Understanding intermediate layers using linear classifier probes", 2016. The classifier is ridge
regression on targets of -1 and 1 over standardised features, in closed form from sums over the training part; its
penalty is chosen by generalised cross-validation there (G. Golub, M. Heath, G. Wahba, 1979).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.film import Film
from epochal.lens.activity import Activity, left_out_note
from epochal.lens.asking import Subject
from epochal.lens.layers import named_layers
from epochal.lens.outputs import channel_axis
from epochal.lens.source import Source
from epochal.picture import GridScene, NamedBars, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "INPUT", "Probes", "linear_probes"]

Array = npt.NDArray[Any]
Progress = Callable[[int, int], object]

CITATION = "Linear probes: what a linear classifier reads from each layer (Alain and Bengio 2016)"
INPUT = "input"
_BATCH = 128
_MOST_NUMBERS = 1 << 22
_FEATURES = 1024
_MOST_SUMS = 1 << 26
"""So many numbers may the sums of all layers take: 512 MB."""
_PENALTIES = np.logspace(-3, 6, 19)
_SURE = 1.959963984540054
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """How many held-out examples the linear probe of each layer gets right: `array` [layers], from 0 to 1.

    `layers` are their names, `input` the network's input itself. `train` is the same over the training part,
    `interval` [layers, 2] where the share lies with 95 % (E. B. Wilson 1927). `chance` is what always naming the most
    common class gets. `features` says how many numbers each probe was given, `penalties` what it chose. `numbers` holds
    `examples`, `held_out` (how many), `classes`, `chance` and `seed`.
    """

    array: Array
    layers: tuple[str, ...]
    train: Array
    interval: Array
    chance: float
    features: tuple[int, ...]
    penalties: tuple[float, ...]
    caption: str = CITATION
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None

    def __post_init__(self) -> None:
        for array in (self.array, self.train, self.interval):
            array.flags.writeable = False

    def film(self) -> Film:
        """The accuracies as a film of one frame."""
        return Film("linear probes", [self.step or 0], self.array[None], axes=("layer",), units="held-out accuracy")

    def scene(
        self, *, mode: str = "light", size: tuple[int, int] | None = None, title: str = "", beside: Any = None
    ) -> GridScene:
        """Bars by layer with the chance level; `beside` are all of them, and their captions, where it moves."""
        results, captions = beside or ([self], ["" if self.step is None else f"step {self.step:,}"])
        held = int(self.numbers.get("held_out", 0))
        chart = NamedBars(
            title=f"right of {held:,} held-out examples", names=self.layers, top=1.0,
            subtitle="bars: held out · dots: training part",
            values=np.stack([one.array for one in results]), marks=np.stack([one.train for one in results]),
            reference=np.array([one.chance for one in results]), reference_name="chance",
        )  # fmt: skip
        return GridScene(
            charts=[chart], theme=theme(mode), title=title or "Linear probes by layer", captions=captions, wanted=size,
            card=chart.natural, note=self.caption, columns=1,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str], *, theme: str = "light", size: tuple[int, int] | None = None) -> Path:
        """Write the bars as a .png or .svg picture; .npz and .csv hold the accuracies."""
        if Path(path).suffix.lower() in (".npz", ".csv"):
            return self.film().save(path)
        return save_scene(self.scene(mode=theme, size=size), path)

    def __repr__(self) -> str:
        best = int(np.argmax(self.array))
        return f"<Probes of {len(self.layers)} layers, best {self.array[best]:.3f} at {self.layers[best]!r}>"


def linear_probes(
    network: Any,
    inputs: Any,
    labels: Any = None,
    *,
    layers: Sequence[str] | None = None,
    held_out: float = 0.25,
    penalty: float | None = None,
    features: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Probes:
    """The accuracy of a linear classifier on what each layer puts out, over examples that it was not fitted on.

    `inputs` [N, ...] are as the network takes them, `labels` [N] their classes as numbers or names; a data set of pairs
    brings its own. `held_out` is the share of each class that is kept for the accuracy, drawn by `seed`. A layer with
    more than `features` numbers (1,024, fewer where there are very many layers) is averaged over places, coarsely
    enough to fit, and projected at random where channels alone are more. `penalty` is the ridge's, None: chosen for
    each layer. The network is run twice over the inputs, and only sums are kept. `progress(done, total)` is called
    after each batch.

    Raises UsageError where labels do not fit, or a class has fewer than two examples.
    """
    subject = Subject(network, whole=True)
    source = Source(subject, inputs)
    truth, classes = _classes(inputs, labels, len(source))
    train, test = _split(truth, held_out, seed)
    activity = Activity(subject, layers)
    whole = source.first.dtype.is_floating_point
    count = len(activity.names) + whole
    most = features or min(_FEATURES, int((_MOST_SUMS / max(1, count)) ** 0.5))
    if most < 1:
        raise UsageError("features must be at least 1.")
    size = max(1, min(_BATCH, _MOST_NUMBERS // max(1, source.first.numel())))
    passes = [(0, part) for part in _parts(train, size)]
    passes += [(1, part) for part in _parts(train, size)] + [(2, part) for part in _parts(test, size)]
    sums: dict[str, _Sums] = {}
    right: dict[str, list[int]] = {}

    def told(which: int, part: Array) -> Callable[[str, Tensor], None]:
        def take(name: str, output: Tensor) -> None:
            if name not in sums:
                sums[name] = _Sums(name, subject, len(classes), most, seed)
            found = sums[name].features(output)
            if which == 0:
                sums[name].add(found, truth[part])
                return
            said = sums[name].answer(found, penalty)
            right.setdefault(name, [0, 0])[which - 1] += int((said == truth[part]).sum())

        return take

    for done, (which, part) in enumerate(passes):
        batch = source.take(part)
        take = told(which, part)
        if whole:
            take(INPUT, batch)
        activity.hear(batch, take)
        if progress is not None:
            progress(done + 1, len(passes))
    names = ([INPUT] if whole else []) + activity.names
    hits = np.array([right[name] for name in names], np.float64)
    common = np.bincount(truth[train], minlength=len(classes)).argmax()
    chance = float((truth[test] == common).mean())
    return Probes(
        array=hits[:, 1] / len(test),
        layers=tuple(names),
        train=hits[:, 0] / len(train),
        interval=_wilson(hits[:, 1], len(test)),
        chance=chance,
        features=tuple(sums[name].size for name in names),
        penalties=tuple(sums[name].chosen for name in names),
        notes=(
            *_notes(len(train), len(test), len(classes), chance, [sums[name] for name in names]),
            *left_out_note(activity),
        ),
        numbers={
            "examples": len(source), "held_out": len(test), "classes": len(classes), "chance": chance, "seed": seed,
        },
        step=subject.step,
    )  # fmt: skip


@final
class _Sums:
    """What ridge regression needs of a layer's outputs: sums of features, of their products, and of each class."""

    def __init__(self, name: str, subject: Subject, classes: int, most: int, seed: int) -> None:
        self.name, self._classes, self._most, self._seed = name, classes, most, seed
        module = None if name == INPUT else named_layers(subject.module).get(name.partition("@")[0])
        self._module, self._channels_last = module, subject.channels_last
        self.size, self.chosen, self.reduced = 0, float("nan"), ""
        self._projection: Tensor | None = None
        self._count = 0
        self._weights: Array = np.empty(0)

    def features(self, output: Tensor) -> Array:
        """The numbers [N, size] that the probe is given: pooled or projected where they are too many."""
        flat = output.flatten(1)
        if flat.shape[1] > self._most:
            flat = self._fewer(output)
        found: Array = flat.double().cpu().numpy()
        if not np.isfinite(found).all():
            raise NetworkError(f"Layer {self.name!r} puts out values that are not finite.")
        self.size = found.shape[1]
        return found

    def _fewer(self, output: Tensor) -> Tensor:
        if output.ndim > 2:
            example = tuple(output.shape[1:])
            axis = channel_axis(self._module, example)
            if self._module is None:
                axis = len(example) - 1 if self._channels_last else 0
            maps = output.movedim(axis + 1, 1).float()
            places = maps.ndim - 2
            pool = _POOLS.get(places)
            side = 1
            if pool is not None and (axis == 0 or places > 1):
                # The finest grid of places whose numbers are few enough.
                side = max(1, min(int((self._most / maps.shape[1]) ** (1 / places)), *maps.shape[2:]))
            maps = pool(maps, side) if pool is not None and side > 1 else maps.flatten(2).mean(dim=2)
            output = maps.flatten(1)
            self.reduced = f"averaged over places{f' to {side} on a side' if side > 1 else ''}"
        if output.shape[1] > self._most:
            if self._projection is None:
                generator = torch.Generator().manual_seed(self._seed)
                drawn = torch.randn(output.shape[1], self._most, generator=generator)
                self._projection = (drawn / self._most**0.5).to(output.device)
            output = output.float() @ self._projection
            self.reduced = "projected at random"
        return output

    def add(self, found: Array, truth: Array) -> None:
        """Take in examples of the training part."""
        if not self._count:
            self._sum, self._products = np.zeros(self.size), np.zeros((self.size, self.size))
            self._of_class, self._each = np.zeros((self.size, self._classes)), np.zeros(self._classes)
        told = np.eye(self._classes)[truth]
        self._count += len(found)
        self._sum += found.sum(axis=0)
        self._products += found.T @ found
        self._of_class += found.T @ told
        self._each += told.sum(axis=0)

    def answer(self, found: Array, penalty: float | None) -> Array:
        """The class that the probe names for each example."""
        if not self._weights.size:
            self._fit(penalty)
        best: Array = (((found - self._mean) / self._scale) @ self._weights + self._offset).argmax(axis=1)
        return best

    def _fit(self, penalty: float | None) -> None:
        n = self._count
        self._mean = self._sum / n
        centred = self._products - n * np.outer(self._mean, self._mean)
        spread = np.sqrt(np.clip(np.diag(centred) / n, 0, None))
        # What is the same for all examples says nothing, up to rounding.
        silent = spread <= 1e-10 * np.sqrt(np.diag(self._products) / n)
        self._scale = np.where(silent, 1.0, spread)
        live = ~silent
        centred = centred * np.outer(live, live) / np.outer(self._scale, self._scale)
        shares = self._each / n
        # Targets are 1 for the class and -1 for others; products with centred features need no more of them.
        self._offset = 2 * shares - 1
        products = 2 * (self._of_class - np.outer(self._mean, self._each)) * live[:, None] / self._scale[:, None]
        values, vectors = np.linalg.eigh(centred)
        values = np.clip(values, 0, None)
        turned = vectors.T @ products
        total = float((4 * n * shares * (1 - shares)).sum())
        self.chosen = float(penalty) if penalty is not None else _by_validation(values, turned, total, n)
        self._weights = vectors @ (turned / (values + self.chosen)[:, None])
        del self._products, self._of_class


def _by_validation(values: Array, turned: Array, total: float, n: int) -> float:
    """The penalty with the least generalised cross-validation error; of equal ones the largest."""
    best, least = float(_PENALTIES[-1]), np.inf
    for penalty in _PENALTIES[::-1].tolist():
        kept = values / (values + penalty)
        freedom = n - 1 - float(kept.sum())
        if freedom <= 1e-3 * n:
            continue
        fitted = (turned**2 / (values + penalty)[:, None] * (2 - kept)[:, None]).sum()
        error = max(0.0, total - float(fitted)) * n / freedom**2
        if error < least:
            best, least = penalty, error
    return best


def _classes(inputs: Any, labels: Any, count: int) -> tuple[Array, Array]:
    """The class of each example as a number from 0, and what the classes are called."""
    if labels is None:
        held = getattr(inputs, "dataset", inputs)
        first = None if hasattr(held, "__array__") else held[0]
        if not isinstance(first, tuple | list) or len(first) < 2:
            raise UsageError("Probes need the class of each example.", hint="linear_probes(network, inputs, labels)")
        labels = [held[i][1] for i in range(count)]
    given = np.asarray(labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels)
    if given.shape != (count,) or given.dtype.kind not in "iubUSO":
        raise UsageError(
            f"labels are the classes of {count:,} examples [{count}], as whole numbers or names; "
            f"these are {list(given.shape)}, {given.dtype}."
        )
    names, truth = np.unique(given.astype(str) if given.dtype.kind == "O" else given, return_inverse=True)
    if len(names) < 2:
        raise UsageError("All examples are of one class: there is nothing to tell apart.")
    few = np.bincount(truth) < 2
    if few.any():
        raise UsageError(f"Class {names[few][0]} has one example: a probe needs two of each, one to keep aside.")
    return truth.astype(np.int64), names


def _split(truth: Array, held_out: float, seed: int) -> tuple[Array, Array]:
    """The numbers of the examples to fit on and of those to keep aside: of each class the same share, at least one."""
    if not 0 < held_out < 1:
        raise UsageError(f"held_out is a share between 0 and 1, not {held_out:g}.")
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in range(int(truth.max()) + 1):
        own = rng.permutation(np.flatnonzero(truth == label))
        aside = min(len(own) - 1, max(1, round(held_out * len(own))))
        test.append(own[:aside])
        train.append(own[aside:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def _parts(chosen: Array, size: int) -> list[Array]:
    return [chosen[first : first + size] for first in range(0, len(chosen), size)]


def _wilson(right: Array, count: int) -> Array:
    share, z = right / count, _SURE
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.stack([middle - half, middle + half], axis=1)


def _notes(train: int, test: int, classes: int, chance: float, sums: Sequence[_Sums]) -> tuple[str, ...]:
    notes = [f"fitted on {train:,} examples, asked about {test:,} others; always the commonest of {classes} classes "
             f"gets {chance:.1%} right"]  # fmt: skip
    for how in dict.fromkeys(one.reduced for one in sums if one.reduced):
        layers = [one.name for one in sums if one.reduced == how]
        shown = ", ".join(layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
        notes.append(f"{how}: {shown}")
    wide = [one.name for one in sums if one.size >= train]
    if wide:
        notes.append(f"{', '.join(wide[:4])}: as many numbers as examples; only the penalty keeps such a probe honest")
    return tuple(notes)
