"""A set of examples: batches one after the other, and single examples again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Subject

__all__ = ["Source"]

_MOST_EXAMPLES = 128
_MOST_NUMBERS = 1 << 21
"""Of a batch: larger ones are slower, since what layers put out no longer fits beside the processor."""


@final
class Source:
    """The data: batches one after the other, and single examples again."""

    def __init__(self, subject: Subject, data: Any) -> None:
        self._subject = subject
        # A loader may shuffle: its own order would not say which example is which.
        held = getattr(data, "dataset", data) if isinstance(data, torch.utils.data.DataLoader) else data
        if not hasattr(held, "__len__") or not hasattr(held, "__getitem__"):
            raise UsageError(
                f"A {type(held).__name__} cannot be asked for its examples again.",
                hint="Give an array [N, ...] or a data set with a length and items.",
            )
        if not len(held):
            raise UsageError("There are no examples.")
        self._data = held
        self._whole = isinstance(held, Tensor) or hasattr(held, "__array__")
        self.first = subject.example(self._input(0))

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> Any:
        """What was given, of a loader its data set."""
        return self._data

    def parts(self) -> Iterator[range]:
        """The examples in parts, each for one forward."""
        fixed = self._subject.fixed
        size = fixed or max(1, min(_MOST_EXAMPLES, _MOST_NUMBERS // max(1, self.first.numel())))
        yield from (range(i, min(len(self), i + size)) for i in range(0, len(self), size))

    def one(self, index: int) -> Tensor:
        """One input, as the network takes it."""
        return self._brought(self._as_tensor(self._input(index)))

    def batch(self, part: range) -> Tensor:
        """Several of them."""
        if self._whole:
            chosen = self._as_tensor(self._data[part.start : part.stop])
        else:
            chosen = torch.stack([self._as_tensor(self._input(i)) for i in part])
        return self._brought(chosen)

    def take(self, chosen: Sequence[int] | npt.NDArray[Any]) -> Tensor:
        """Some of them by their numbers, in this order."""
        if self._whole:
            places = torch.as_tensor(chosen) if isinstance(self._data, Tensor) else np.asarray(chosen)
            return self._brought(self._as_tensor(self._data[places]))
        return self._brought(torch.stack([self._as_tensor(self._input(int(i))) for i in chosen]))

    def _brought(self, value: Tensor) -> Tensor:
        """On the network's device, in its type; whole numbers stay so where the network may take them."""
        stays = self._subject.whole and not value.dtype.is_floating_point and self._subject.dtype.is_floating_point
        return value.to(self._subject.device, value.dtype if stays else self._subject.dtype)

    def _input(self, index: int) -> Any:
        item = self._data[index]
        return item[0] if isinstance(item, tuple | list) else item

    @staticmethod
    def _as_tensor(value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach()
        array = np.asarray(value)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
