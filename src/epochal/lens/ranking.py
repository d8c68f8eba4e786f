"""The strongest answers of each unit of a layer, kept on the way over the data, and merged from several ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.errors import NetworkError, UsageError
from epochal.lens.asking import Subject, to_array
from epochal.lens.layers import find_layer
from epochal.lens.outputs import channel_axis, first_tensor
from epochal.lens.source import Source

__all__ = ["Ranking", "rank"]

Array = npt.NDArray[Any]


def rank(
    subject: Subject,
    source: Source,
    layers: Sequence[str],
    k: int,
    parts: Iterable[range],
    *,
    first: int = 0,
    done: Callable[[int], object] | None = None,
) -> dict[str, Ranking]:
    """The rankings of layers over some parts of the data; `first` is the number of its first example.

    `done` is told after each part where it ends.
    """
    rankings = {name: Ranking(k) for name in layers}
    handles = [_listening(subject.module, name, ranking) for name, ranking in rankings.items()]
    try:
        with subject.asking(gradients=False):
            for part in parts:
                for ranking in rankings.values():
                    ranking.begin(first + part.start, len(part))
                subject.outputs(source.batch(part))
                if done is not None:
                    done(part.stop)
    finally:
        for handle in handles:
            handle.remove()
    return rankings


@final
class Ranking:
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
        if not math.isfinite(float(best.sum())):
            self.not_finite += int(torch.isnan(best).sum())
        rows, units = (best > self._least).nonzero(as_tuple=True)
        if not len(rows):
            return
        places = flat[rows, units].argmax(dim=1) if flat.shape[2] > 1 else torch.zeros_like(rows)
        found = (units, best[rows, units], rows + self._first, places)
        self._waiting.append(tuple(to_array(part) for part in found))  # type: ignore[arg-type]
        self._number += len(rows)
        if self._number >= self.k * len(self._least):
            self._sort()

    def _sort(self) -> None:
        """Sort in what waits: by unit, then the largest, then the first example."""
        if not self._waiting:
            return
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

    def merged(self, other: Ranking) -> Ranking:
        """The k largest of both, which were found among other examples of one data set; neither is changed.

        In whatever order parts are merged, the outcome is the same. Raises UsageError where they do not fit together.
        """
        both = Ranking(self.k)
        for one in (self, other):
            one._sort()
        if other.k != self.k or (
            other._least is not None
            and self._least is not None
            and (other._shape != self._shape or len(other._least) != len(self._least))
        ):
            raise UsageError("These rankings are of other units, or keep another number of examples.")
        known = self if self._least is not None else other
        if known._least is not None:
            both._least, both._shape = torch.full_like(known._least, float("-inf")), known._shape
        both._waiting = [one._held for one in (self, other) if len(one._held[0])]
        both._sort()
        both.not_finite = self.not_finite + other.not_finite
        return both

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


def _listening(module: nn.Module, name: str, ranking: Ranking) -> Any:
    inner, use = find_layer(module, name)

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        ranking.uses += 1
        tensor = first_tensor(output)
        if ranking.uses == use and tensor is not None and tensor.ndim > 1:
            axis = channel_axis(inner, tuple(tensor.shape[1:]))
            ranking.add(tensor.movedim(axis + 1, 1))

    return inner.register_forward_hook(hook)
