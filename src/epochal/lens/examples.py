"""Top examples: the inputs that each unit of a layer answers to most, and the part of them that it sees.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.errors import NetworkError, NotFoundError, UsageError
from epochal.film import Film
from epochal.lens.asking import Subject, to_array
from epochal.lens.colouring import as_pixels, panels_of
from epochal.lens.field import Box, Fields
from epochal.lens.layers import find_layer, keeping
from epochal.lens.outputs import channel_axis, first_tensor
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
    network: Any, data: Any, *, layer: str, k: int = 9, progress: Progress | None = None
) -> TopExamples: ...
@overload
def top_examples(
    network: Any, data: Any, *, layer: Sequence[str], k: int = 9, progress: Progress | None = None
) -> dict[str, TopExamples]: ...
def top_examples(
    network: Any, data: Any, *, layer: str | Sequence[str], k: int = 9, progress: Progress | None = None
) -> TopExamples | dict[str, TopExamples]:
    """The `k` examples that each unit of a layer, or of several, answers to most, from one pass over the data.

    `data` are inputs as the network takes them: an array or tensor [N, C, H, W], or a data set whose items are inputs
    or begin with one (of a PyTorch DataLoader its data set is taken, in the data set's order). Only numbers are kept
    on the way: examples are fetched from the data again when they are looked at. A unit is a channel; its answer is the
    largest over all places. `progress(done, total)` is called after each batch.
    """
    if k < 1:
        raise UsageError("k must be at least 1.")
    subject = Subject(network)
    source = Source(subject, data)
    names = [layer] if isinstance(layer, str) else list(layer)
    rankings = {name: _Ranking(k) for name in names}
    handles = [_listening(subject.module, name, ranking) for name, ranking in rankings.items()]
    try:
        with subject.asking(gradients=False):
            for part in source.parts():
                for ranking in rankings.values():
                    ranking.begin(part.start, len(part))
                subject.outputs(source.batch(part))
                if progress is not None:
                    progress(part.stop, len(source))
    finally:
        for handle in handles:
            handle.remove()
    found = {name: TopExamples(name, ranking, subject, source) for name, ranking in rankings.items()}
    return found[layer] if isinstance(layer, str) else found


@final
class TopExamples:
    """The strongest examples of each unit of a layer.

    `values` [units, k] are their answers, the largest first, -inf where there were fewer than k examples; `indices`
    [units, k] say which examples they are, -1 for none; `places` [units, k, 2] where in the layer's map (row, column),
    -1 for layers without places. `count` examples were looked at.
    """

    def __init__(self, layer: str, ranking: _Ranking, subject: Subject, source: Source) -> None:
        self.layer, self._subject, self._source = layer, subject, source
        self.values, self.indices, self.places = ranking.arrays(layer)
        self.count, self.k = len(source), ranking.k
        self.step: int | None = subject.step
        self.caption = CITATION
        bad = ranking.not_finite
        self.notes: tuple[str, ...] = (f"{bad:,} answers were not a number and were left out",) if bad else ()
        self.numbers = {"examples": self.count, "units": len(self.values)}

    def example(self, unit: int, rank: int = 0) -> Array:
        """The whole input that is `rank`-th strongest for a unit."""
        return to_array(self._source.one(self._index(unit, rank)))

    def field(self, unit: int, rank: int = 0) -> Box | None:
        """The part (top, left, bottom, right) of that input which the unit sees there; None for layers without places.

        Measured by the support of gradients, see `Fields`.
        """
        self._index(unit, rank)
        row, column = (int(p) for p in self.places[unit, rank])
        return None if row < 0 or len(self._source.first.shape) != 4 else self._fields(row, column)

    def crop(self, unit: int, rank: int = 0) -> Array:
        """That part of the input; all of it for layers without places."""
        return self._cut(self.example(unit, rank), self.field(unit, rank))

    def deconvolved(self, unit: int, rank: int = 0) -> Array:
        """What in the example the unit answers to: its answer led back by the deconvolution rule, cut to its field."""
        batch = self._source.one(self._index(unit, rank))[None]
        row, column = (int(p) for p in self.places[unit, rank])
        with self._subject.asking(gradients=True), keeping(self._subject.module, [self.layer]) as kept:
            leaf = batch.clone().requires_grad_()
            self._subject.outputs(leaf.clone())
            flow = kept[self.layer][0]
            flow = flow.movedim(channel_axis(find_layer(self._subject.module, self.layer)[0], tuple(flow.shape)), 0)
            answer = flow[unit] if row < 0 else flow[unit, row, column] if flow.ndim == 3 else flow[unit].max()
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
        return Fields(self._subject, self.layer, tuple(self._source.first.shape[1:]))

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
        if crop.ndim == 3 and not self._subject.channels_last:
            crop = crop.transpose(1, 2, 0)
        crop = (
            crop if crop.ndim == 3 else crop.reshape(1, -1, 1) if crop.ndim == 1 else crop.reshape(*crop.shape[:2], -1)
        )
        colours = crop if crop.shape[-1] == 3 else np.repeat(crop.mean(axis=-1, keepdims=True), 3, axis=-1)
        # Colours from 0 to 1 are shown as they are, others from the least to the largest of the whole example.
        scale = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        return as_pixels((colours - scale[0]) / ((scale[1] - scale[0]) or 1.0))


@final
class _Ranking:
    """The k largest answers so far of each unit.

    An answer that is larger than the least of its unit's k waits with its example and place; those that wait are sorted
    in when there are many of them, so that most batches cost a maximum and a comparison.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.uses = self.not_finite = 0
        self._first = self._count = self._number = 0
        self._least: Tensor | None = None
        self._shape: tuple[int, ...] = ()
        self._waiting: list[tuple[Array, Array, Array, Array]] = []
        empty = np.empty(0, np.int64)
        self._held: tuple[Array, Array, Array, Array] = (empty, np.empty(0, np.float32), empty, empty)

    def begin(self, first: int, count: int) -> None:
        """The next forward is that of the `count` examples from `first` on."""
        self._first, self._count, self.uses = first, count, 0

    def add(self, output: Tensor) -> None:
        """What the layer puts out [N, units, ...places] for them; N is larger where the batch had to be filled up."""
        output = output.detach()[: self._count]
        flat = output.flatten(2) if output.ndim > 2 else output[..., None]
        best = flat.amax(dim=2) if flat.shape[2] > 1 else flat[..., 0]
        if self._least is None:
            self._least, self._shape = best.new_full((best.shape[1],), float("-inf")), tuple(output.shape[2:])
        if not torch.isfinite(best.sum()):
            self.not_finite += int(torch.isnan(best).sum())
        rows, units = (best > self._least).nonzero(as_tuple=True)
        if not len(rows):
            return
        places = flat[rows, units].argmax(dim=1) if flat.shape[2] > 1 else torch.zeros_like(rows)
        found = (units, best[rows, units], rows + self._first, places)
        self._waiting.append(tuple(to_array(part) for part in found))  # type: ignore[arg-type]
        self._number += len(rows)
        if self._number >= 2 * self.k * len(self._least):
            self._sort()

    def _sort(self) -> None:
        """Sort in what waits: by unit, then the largest, then the first example."""
        units, values, indices, places = (
            np.concatenate(parts) for parts in zip(self._held, *self._waiting, strict=True)
        )
        order = np.lexsort((indices, -values, units))
        ranks = np.arange(len(order)) - np.searchsorted(units[order], units[order])
        kept = order[ranks < self.k]
        self._held = (units[kept], values[kept], indices[kept], places[kept])
        self._waiting, self._number = [], 0
        if self._least is not None:
            full = ranks == self.k - 1
            least = np.full(len(self._least), -np.inf, np.float32)
            least[units[order[full]]] = values[order[full]]
            self._least = torch.from_numpy(least).to(self._least)

    def arrays(self, layer: str) -> tuple[Array, Array, Array]:
        """Values and indices [units, k] and places [units, k, 2]."""
        if self._least is None:
            raise NetworkError(f"Layer {layer!r} put out no tensor of numbers.")
        self._sort()
        units, found, examples, flat = self._held
        ranks = np.arange(len(units)) - np.searchsorted(units, units)
        values = np.full((len(self._least), self.k), -np.inf, found.dtype)
        indices = np.full(values.shape, -1, np.int64)
        places = np.full((*values.shape, 2), -1, np.int32)
        values[units, ranks], indices[units, ranks] = found, examples
        if len(self._shape) == 2:
            places[units, ranks] = np.stack(np.divmod(flat, self._shape[1]), axis=1)
        return values, indices, places


def _listening(module: nn.Module, name: str, ranking: _Ranking) -> Any:
    inner, use = find_layer(module, name)

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        ranking.uses += 1
        tensor = first_tensor(output)
        if ranking.uses == use and tensor is not None and tensor.ndim > 1:
            axis = channel_axis(inner, tuple(tensor.shape[1:]))
            ranking.add(tensor.movedim(axis + 1, 1))

    return inner.register_forward_hook(hook)
