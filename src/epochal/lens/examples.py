"""Top examples: the inputs that each unit of a layer answers to most, and the part of them that it sees.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, final, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal.errors import NotFoundError, UsageError
from epochal.film import Film
from epochal.lens.asking import Subject, to_array
from epochal.lens.colouring import as_pixels, cubes, heat_scale, panels_of
from epochal.lens.field import Box, Fields
from epochal.lens.layers import find_layer, keeping
from epochal.lens.outputs import channel_axis
from epochal.lens.ranking import Ranking, rank
from epochal.lens.rules import deconvolution
from epochal.lens.source import Source
from epochal.network import Preparation
from epochal.picture import PanelsScene, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "TopExamples", "top_examples"]

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], object]

CITATION = "Strongest examples of each unit, cut to what it sees (Zeiler and Fergus 2014)"
_UNITS = 12


@overload
def top_examples(
    network: Any,
    data: Any,
    *,
    layer: str,
    k: int = 9,
    first: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TopExamples: ...
@overload
def top_examples(
    network: Any,
    data: Any,
    *,
    layer: Sequence[str],
    k: int = 9,
    first: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, TopExamples]: ...
def top_examples(
    network: Any,
    data: Any,
    *,
    layer: str | Sequence[str],
    k: int = 9,
    first: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TopExamples | dict[str, TopExamples]:
    """The `k` examples that each unit of a layer, or of several, answers to most, from one pass over the data.

    `data` are inputs as the network takes them: an array or tensor [N, C, H, W], or a data set whose items are inputs
    or begin with one (of a PyTorch DataLoader its data set is taken, in the data set's order). Only numbers are kept
    on the way: examples are fetched from the data again when they are looked at. A unit is a channel; its answer is the
    largest over all places. `progress(done, total)` is called after each batch.

    With `workers` that many processes of Ray share the data set, on this machine or on those of a cluster that Ray was
    connected to before (`pip install 'epochal[ray]'`); all must be able to read it. A part of a data set, of which
    `first` is the number of the first example, gives what `TopExamples.merged` puts together.
    """
    if k < 1:
        raise UsageError("k must be at least 1.")
    if first < 0:
        raise UsageError("first is the number of an example, from 0.")
    subject = Subject(network)
    source = Source(subject, data)
    names = [layer] if isinstance(layer, str) else list(layer)
    told = None if progress is None else partial(_tell, progress, len(source))
    if workers is None:
        rankings = rank(subject, source, names, k, source.parts(), first=first, done=told)
    else:
        from epochal.lens.examples_ray import rank_on_ray

        for name in names:
            find_layer(subject.module, name)
        rankings = rank_on_ray(network, source, names, k, first=first, workers=workers, done=told)
    found = {name: TopExamples(name, ranking, subject, [(first, source)]) for name, ranking in rankings.items()}
    return found[layer] if isinstance(layer, str) else found


def _tell(progress: Progress, total: int, done: int) -> None:
    progress(done, total)


@final
class TopExamples:
    """The strongest examples of each unit of a layer.

    `values` [units, k] are their answers, the largest first, -inf where there were fewer than k examples; `indices`
    [units, k] say which examples they are, -1 for none; `places` [units, k, 2] where in the layer's map (row, column),
    -1 for layers without places. `count` examples were looked at.
    """

    def __init__(self, layer: str, ranking: Ranking, subject: Subject, pieces: Sequence[tuple[int, Source]]) -> None:
        self.layer, self._subject, self._ranking = layer, subject, ranking
        self._pieces = sorted(pieces, key=itemgetter(0))
        self.values, self.indices, self.places = ranking.arrays(layer)
        self.count, self.k = sum(len(source) for _, source in pieces), ranking.k
        self.step: int | None = subject.step
        self.caption = CITATION
        bad = ranking.not_finite
        self.notes: tuple[str, ...] = (f"{bad:,} answers were not a number and were left out",) if bad else ()
        self.numbers = {"examples": self.count, "units": len(self.values)}

    def merged(self, other: TopExamples) -> TopExamples:
        """What one pass over the examples of both would have found; neither is changed.

        Parts of one data set, each found with the number of its `first` example, can be merged in any order. Raises
        UsageError for parts that overlap or are of other layers.
        """
        if other.layer != self.layer:
            raise UsageError(f"Parts of {self.layer!r} and {other.layer!r} cannot be merged.")
        pieces = sorted([*self._pieces, *other._pieces], key=itemgetter(0))
        for (start, source), (follows, _) in pairwise(pieces):
            if start + len(source) > follows:
                raise UsageError(
                    f"Example {follows} is in both parts.", hint="Say the number of each part's first example: first=."
                )
        return TopExamples(self.layer, self._ranking.merged(other._ranking), self._subject, pieces)

    def example(self, unit: int, rank: int = 0) -> Array:
        """The whole input that is `rank`-th strongest for a unit."""
        return to_array(self._one(self._index(unit, rank)))

    def field(self, unit: int, rank: int = 0) -> Box | None:
        """The part (top, left, bottom, right) of that input which the unit sees there; None for layers without places.

        Measured by the support of gradients, see `Fields`.
        """
        self._index(unit, rank)
        row, column = (int(p) for p in self.places[unit, rank])
        return None if row < 0 or len(self._pieces[0][1].first.shape) != 4 else self._fields(row, column)

    def crop(self, unit: int, rank: int = 0) -> Array:
        """That part of the input; all of it for layers without places."""
        return self._cut(self.example(unit, rank), self.field(unit, rank))

    def deconvolved(self, unit: int, rank: int = 0) -> Array:
        """What in the example the unit answers to: its answer led back by the deconvolution rule, cut to its field."""
        batch = self._one(self._index(unit, rank))[None]
        row, column = (int(p) for p in self.places[unit, rank])
        with self._subject.asking(gradients=True), keeping(self._subject.module, [self.layer]) as kept:
            leaf = batch.clone().requires_grad_()
            self._subject.outputs(leaf.clone())
            flow = kept[self.layer][0]
            flow = flow.movedim(channel_axis(find_layer(self._subject.module, self.layer)[0], tuple(flow.shape)), 0)
            answer = flow[unit, row, column] if row >= 0 and flow.ndim == 3 else flow[unit].max()
            with deconvolution(answer):
                (back,) = torch.autograd.grad(answer, leaf)
        return self._cut(to_array(back[0]), self.field(unit, rank))

    def pictures(self, unit: int, *, count: int | None = None) -> list[tuple[str, Pixels]]:
        """The crops of a unit as pictures [h, w, 3], each with its example's number and the answer."""
        known = [
            rank for rank in range(self.k if count is None else min(count, self.k)) if self.indices[unit, rank] >= 0
        ]
        preparation = getattr(self._subject.network, "preparation", None)
        return [
            (f"{self.indices[unit, rank]} · {self.values[unit, rank]:.3g}", self._shown(unit, rank, preparation))
            for rank in known
        ]

    def film(self) -> Film:
        """The strongest answers of each unit as a film of one frame."""
        name = f"strongest answers of {self.layer}"
        return Film(name, [self.step or 0], self.values[None], axes=("unit", "rank"), units="activation")

    def scene(
        self,
        *,
        units: Sequence[int] | None = None,
        count: int | None = None,
        mode: str = "light",
        size: tuple[int, int] | None = None,
    ) -> PanelsScene:
        """A row of crops for each unit, by default for those that answer most, with whose idea it is."""
        chosen = list(self.order[:_UNITS]) if units is None else list(units)
        shown = self.k if count is None else min(count, self.k)
        tiles = []
        for unit in chosen:
            row = self.pictures(int(unit), count=shown)
            tiles += [(f"{unit}: {name}" if i == 0 else name, pixels) for i, (name, pixels) in enumerate(row)]
        return PanelsScene(
            panels=panels_of(tiles),
            theme=theme(mode),
            title=f"Layer {self.layer}: strongest of {self.count:,} examples",
            captions=["" if self.step is None else f"step {self.step:,}"],
            wanted=size,
            note=self.caption,
            columns=shown,
        )

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write the crops as a .png or .svg picture (`how` as `scene` takes it), or all numbers as .npz."""
        target = Path(path)
        if target.suffix.lower() == ".npz":
            np.savez_compressed(target, values=self.values, indices=self.indices, places=self.places)
            return target
        if "theme" in how:
            how["mode"] = how.pop("theme")
        return save_scene(self.scene(**how), target)

    @property
    def order(self) -> Array:
        """The units with the strongest answer first."""
        return np.argsort(-self.values[:, 0], kind="stable")

    def __repr__(self) -> str:
        return f"<TopExamples {self.layer}, {self.k} of {self.count:,} examples for {len(self.values)} units>"

    @cached_property
    def _fields(self) -> Fields:
        return Fields(self._subject, self.layer, tuple(self._pieces[0][1].first.shape[1:]))

    def _one(self, index: int) -> Tensor:
        start, source = self._pieces[bisect_right(self._pieces, index, key=itemgetter(0)) - 1]
        return source.one(index - start)

    def _index(self, unit: int, rank: int) -> int:
        if not (0 <= unit < len(self.indices) and 0 <= rank < self.k) or self.indices[unit, rank] < 0:
            raise NotFoundError(f"Unit {unit} of {self.layer!r} has no example of rank {rank}.")
        return int(self.indices[unit, rank])

    def _cut(self, array: Array, box: Box | None) -> Array:
        if box is None:
            return array
        top, left, bottom, right = box
        last = self._subject.channels_last
        return array[top:bottom, left:right] if last else array[:, top:bottom, left:right]

    def _shown(self, unit: int, rank: int, preparation: Preparation | None) -> Pixels:
        crop = self.crop(unit, rank)
        if preparation is not None and crop.ndim == 3:
            return preparation.pixels(crop)
        whole = self.example(unit, rank)
        low, high = float(whole.min()), float(whole.max())
        if crop.ndim == 4:
            first = crop[..., 0] if self._subject.channels_last else crop[0]
            pictures = cubes(first, heat_scale(first, signed=low < 0))
            return pictures.reshape(pictures.shape[1:])
        if crop.ndim == 3 and not self._subject.channels_last:
            crop = crop.transpose(1, 2, 0)
        crop = (
            crop if crop.ndim == 3 else crop.reshape(1, -1, 1) if crop.ndim == 1 else crop.reshape(*crop.shape[:2], -1)
        )
        colours = crop if crop.shape[-1] == 3 else np.repeat(crop.mean(axis=-1, keepdims=True), 3, axis=-1)
        # Colours from 0 to 1 are shown as they are, others from the least to the largest of the whole example.
        scale = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        return as_pixels((colours - scale[0]) / ((scale[1] - scale[0]) or 1.0))
