"""The loss around a network's parameters: along one or two directions, with the way that a training took.

H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein: "Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018. Random
directions are normalised filter by filter; parameters of one axis (biases, scale and shift of batch norm) do not move,
and running statistics stay those of the network. For a training's path the directions are the principal components of
the way that its snapshots lie from the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.films import Reader, known_steps
from epochal.lens.moving import Moved
from epochal.lens.source import Source
from epochal.lens.surface import CITATION, PATH_CITATION, Landscape
from epochal.network.recorded import open_each

__all__ = ["loss_landscape"]

Array = npt.NDArray[Any]
Loss = Literal["auto", "cross_entropy", "mse"] | Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[int, int], object]
Preview = Callable[[Landscape], object]

_BATCH = 512
_MOST_NUMBERS = 1 << 22
_MOST_PATH = 1 << 27
"""So many numbers may the parameters of all snapshots be: 512 MB."""
_MARGIN = 0.2


def loss_landscape(
    network: Any,
    inputs: Any,
    labels: Any,
    *,
    dimensions: Literal[1, 2] = 2,
    size: int = 25,
    span: float = 1.0,
    loss: Loss = "auto",
    path: Reader | None = None,
    steps: Sequence[int] | Literal["all"] = "all",
    seed: int = 0,
    progress: Progress | None = None,
    preview: Preview | None = None,
) -> Landscape:
    """The mean loss over examples at `size` (or size x size) places around a network's parameters.

    `inputs` [N, ...] are as the network takes them, `labels` their classes, or numbers for `loss="mse"`; `loss` is also
    a function of scores [N, ...] and labels that gives the mean. "auto" is the cross-entropy of scores, or of
    probabilities where the network puts those out, and the squared error where labels are not whole numbers.

    Without `path` the directions are random ones (of `seed`) with each filter scaled to the norm of the network's own,
    and places go from -`span` to `span`. With `path`, a recorded run, they are the two principal components of its
    snapshots (those in `steps`), places cover all of them, and the result holds where each lies, the share of variance
    that the two directions have, and the loss at each. A share that is low says that the picture leaves much out.

    The coarse places come first: `preview(landscape)` is called as the grid gets finer, with NaN where nothing is known
    yet, and ends it by giving False; what was found is the answer then. `progress(done, total)` is called after each
    place. Parameters are moved while it runs and put back, also after an error.
    """
    if dimensions not in (1, 2):
        raise UsageError(f"dimensions is 1 or 2, not {dimensions!r}.")
    if not 3 <= size <= 201:
        raise UsageError(f"size is from 3 to 201, not {size}.")
    if not 0 < span <= 1000:
        raise UsageError(f"span must be above 0 and at most 1000, not {span:g}.")
    subject = Subject(network, whole=True)
    examples = _Examples(subject, inputs, labels, loss)
    moved = Moved(subject)
    way = None if path is None else _Way(path, steps, moved, inputs, labels, loss, dimensions)
    if way is None:
        directions = moved.random(seed, dimensions)
        axes = [np.linspace(-span, span, size)] * dimensions
    else:
        directions, axes = way.directions, way.axes(size)
    with subject.asking(gradients=False), moved.kept():
        centre, right = examples.ask()
        if not math.isfinite(centre):
            raise NetworkError("The loss at the network's own parameters is not finite: there is no landscape.")
        found = Landscape(
            array=np.full([size] * dimensions, np.nan),
            x=axes[0],
            y=axes[1] if dimensions == 2 else None,
            accuracy=None if right is None else np.full([size] * dimensions, np.nan),
            centre=centre,
            loss=examples.name,
            path=None if way is None else way.places,
            path_steps=() if way is None else tuple(way.steps),
            path_losses=None if way is None else way.losses,
            variance=None if way is None else way.variance,
            caption=CITATION if way is None else PATH_CITATION,
            notes=_notes(moved, examples, way),
            numbers={
                "examples": len(examples), "evaluations": size**dimensions, "loss": centre, "seed": seed,
                **({} if way is None or way.variance is None else {"variance": float(way.variance.sum())}),
            },
            step=subject.step,
        )  # fmt: skip
        _fill(found, moved, examples, directions, progress, preview)
    return found.sealed()


def _fill(
    found: Landscape,
    moved: Moved,
    examples: _Examples,
    directions: Sequence[Sequence[Tensor]],
    progress: Progress | None,
    preview: Preview | None,
) -> None:
    """The loss at each place, coarse ones first."""
    total, done = found.array.size, 0
    for level in _levels(found.array.shape):
        for place in level:
            at = [found.x[place[-1]]] if found.y is None else [found.x[place[1]], found.y[place[0]]]
            moved.to(at, directions)
            found.array[place], right = examples.ask()
            if found.accuracy is not None and right is not None:
                found.accuracy[place] = right
            done += 1
            if progress is not None:
                progress(done, total)
        if preview is not None and preview(found) is False:
            return


def _levels(shape: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """Places of a grid in lists, from every eighth to every one, each place once; long lists come in pieces."""
    seen = np.zeros(shape, bool)
    middle = [n // 2 for n in shape]
    for stride in (8, 4, 2, 1):
        axes = [sorted({*range(m % stride, n, stride), *(() if stride == 1 else (0, n - 1))})
                for n, m in zip(shape, middle, strict=True)]  # fmt: skip
        new = [place for place in product(*axes) if not seen[place]]
        for place in new:
            seen[place] = True
        for first in range(0, len(new), 64):
            yield new[first : first + 64]


class _Examples:
    """The examples with their labels, and the mean loss over them."""

    def __init__(self, subject: Subject, inputs: Any, labels: Any, loss: Loss) -> None:
        self._subject = subject
        source = Source(subject, inputs)
        given = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
        if given.ndim < 1 or len(given) != len(source):
            raise UsageError(f"There are {len(source):,} inputs and {len(given) if given.ndim else 'no'} labels.")
        if not torch.isfinite(given.double()).all():
            raise UsageError("There are labels that are not finite.")
        whole = not given.dtype.is_floating_point
        given = given.long() if whole else given.to(subject.dtype)
        size = max(1, min(_BATCH, _MOST_NUMBERS // max(1, source.first.numel())))
        places = [np.arange(first, min(len(source), first + size)) for first in range(0, len(source), size)]
        self._parts = [(source.take(part), given[torch.from_numpy(part)].to(subject.device)) for part in places]
        self._count = len(source)
        with subject.asking(gradients=False):
            scores = subject.outputs(self._parts[0][0])
        self.name, self._loss, self._classes = _chosen(loss, scores, given, whole=whole)

    def __len__(self) -> int:
        return self._count

    def ask(self) -> tuple[float, float | None]:
        """The mean loss, and the share of examples whose class is named; None where there are no classes."""
        total, right = 0.0, 0
        for batch, labels in self._parts:
            scores = self._subject.outputs(batch)
            total += float(self._loss(scores, labels)) * len(batch)
            if self._classes:
                right += int((scores.argmax(dim=1) == labels).sum())
        return total / self._count, right / self._count if self._classes else None


def _chosen(loss: Loss, scores: Tensor, labels: Tensor, *, whole: bool) -> tuple[str, Callable[..., Tensor], bool]:
    """The loss by its name and as a function, and whether examples have classes."""
    classes = whole and scores.ndim == 2 and scores.shape[1] > 1 and labels.ndim == 1
    if callable(loss):
        return getattr(loss, "__name__", "loss"), loss, classes
    if loss not in ("auto", "cross_entropy", "mse"):
        raise UsageError(f"loss is 'auto', 'cross_entropy', 'mse' or a function, not {loss!r}.")
    if loss == "mse" or (loss == "auto" and not whole):
        shape = tuple(scores.shape[1:])
        if labels.shape[1:] != shape and not (labels.ndim == 1 and shape == (1,)):
            raise UsageError(f"The network puts out {list(shape)} for an example; labels are {list(labels.shape[1:])}.")
        return "mean squared error", _squared, False
    if not classes:
        raise UsageError(
            f"The cross-entropy needs scores [N, classes] and whole numbers as labels; the network puts out "
            f"{list(scores.shape[1:])}, and labels are {list(labels.shape)}.",
            hint="Give loss= a function of scores and labels.",
        )
    if not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
        raise UsageError(
            f"labels go from {int(labels.min())} to {int(labels.max())}; classes are 0 to {scores.shape[1] - 1}."
        )
    if bool((scores >= 0).all()) and torch.allclose(scores.sum(dim=1), torch.ones_like(scores[:, 0]), atol=1e-3):
        # It ends in a softmax: the loss is that of its probabilities.
        return "cross-entropy of probabilities", lambda s, y: F.nll_loss(s.clamp_min(1e-12).log(), y), True
    return "cross-entropy", F.cross_entropy, True


def _squared(scores: Tensor, labels: Tensor) -> Tensor:
    return F.mse_loss(scores.flatten(1), labels.to(scores.dtype).reshape(len(labels), -1))


class _Way:
    """The path of a training: its snapshots, and the directions in which they lie."""

    def __init__(
        self, path: Reader, steps: Any, moved: Moved, inputs: Any, labels: Any, loss: Loss, count: int
    ) -> None:
        self.steps = known_steps(path.stored, steps)
        if len(self.steps) < 3:
            raise UsageError(f"A path needs three snapshots; there are {len(self.steps)}.")
        base = moved.flat()
        if len(self.steps) * len(base) > _MOST_PATH:
            raise UsageError(
                f"{len(self.steps)} snapshots of {len(base):,} parameters are too many to hold.",
                hint=f"Name at most {max(3, _MOST_PATH // len(base))} of them with steps=.",
            )
        rows, losses = [], []
        for network in open_each(path.stored, self.steps):
            there = Subject(network, whole=True)
            rows.append(moved.flat(there) - base)
            asked = _Examples(there, inputs, labels, loss)
            with there.asking(gradients=False):
                losses.append(asked.ask()[0])
        away = np.stack(rows)
        centred = away - away.mean(axis=0)
        # Few rows of many numbers: their inner products have the same components.
        values, vectors = np.linalg.eigh(centred.astype(np.float64) @ centred.T.astype(np.float64))
        values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
        whole = float((centred.astype(np.float64) ** 2).sum())
        if whole <= 0 or values[-1] <= 1e-12 * whole:
            raise UsageError(
                f"The snapshots do not lie in {count} direction{'s' if count > 1 else ''}: did they change?"
            )
        units = (vectors / np.sqrt(values)).T @ centred.astype(np.float64)
        # A component may point either way: towards where the training came from is right, and up.
        units *= np.where(units @ away[0] < 0, -1.0, 1.0)[:, None]
        self.directions = [moved.split(unit) for unit in units]
        self.places = away @ units.T
        self.variance = values / whole
        self.losses = np.array(losses)
        left = away - self.places @ units
        lengths = np.linalg.norm(away, axis=1)
        far = lengths > 1e-6 * lengths.max()
        self.beside = float((np.linalg.norm(left, axis=1)[far] / lengths[far]).mean()) if far.any() else 0.0

    def axes(self, size: int) -> list[Array]:
        """Places that cover the path, and the network at 0, with a margin."""
        found = []
        for axis in range(self.places.shape[1]):
            low, high = min(0.0, self.places[:, axis].min()), max(0.0, self.places[:, axis].max())
            margin = _MARGIN * (high - low)
            found.append(np.linspace(low - margin, high + margin, size))
        return found


def _notes(moved: Moved, examples: _Examples, way: _Way | None) -> tuple[str, ...]:
    notes = [f"{examples.name} over {len(examples):,} examples"]
    if moved.still:
        statistics = ", and running statistics stay those of the network" if moved.norms else ""
        notes.append(f"{moved.still} parameters of one axis (biases, scales) are not moved{statistics}")
    if way is not None:
        share = float(way.variance.sum())
        what = "the two directions have" if len(way.variance) > 1 else "the direction has"
        notes.append(
            f"{what} {share:.1%} of the variance of {len(way.steps)} snapshots; these lie beside "
            f"{'the plane' if len(way.variance) > 1 else 'the line'} by {way.beside:.0%} of their way on average"
        )
        if len(way.steps) > 3:
            notes.append("a random walk, too, is a smooth curve in its components (Antognini and Sohl-Dickstein 2018)")

    return tuple(notes)
