"""What activation maximisation makes large, and the picture that it searches for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from epochal.errors import UsageError
from epochal.lens.asking import Subject, Target
from epochal.lens.layers import find_layer
from epochal.lens.outputs import channel_axis, reach
from epochal.lens.painting import Painting
from epochal.lens.photos import picture_shape
from epochal.network import Preparation

__all__ = ["Canvas", "Goal"]

_SIZE = 224


@final
class Goal:
    """What is to become large, as one number of a batch of one."""

    def __init__(
        self,
        subject: Subject,
        *,
        layer: str | None,
        channel: int | None,
        place: Sequence[int] | None,
        direction: Any,
        target: Target | None,
    ) -> None:
        if (layer is None) == (target is None):
            raise UsageError(
                "Say what is to answer: target=3 for a class, or layer='...' with channel=7 or a direction."
            )
        if layer is not None and (channel is None) == (direction is None):
            raise UsageError("Of a layer, either a channel or a direction is maximised.")
        if place is not None and len(place) not in (2, 3):
            raise UsageError("place is (row, column), in a volume (depth, row, column).")
        self.subject, self.layer, self.channel, self.target = subject, layer, channel, target
        self._place = None if place is None else tuple(int(p) for p in place)
        self._direction = None if direction is None else torch.as_tensor(np.asarray(direction, np.float32))
        self._module = None if layer is None else find_layer(subject.module, layer)[0]

    @property
    def what(self) -> str:
        """In words."""
        if self.layer is None:
            names = getattr(self.subject.network, "classes", ())
            known = isinstance(self.target, int) and 0 <= self.target < len(names)
            return f"class {self.target}" + (f" ({names[self.target]})" if known else "")  # type: ignore[index]
        part = "a direction" if self.channel is None else f"channel {self.channel}"
        return f"{part} of {self.layer}" + ("" if self._place is None else f" at {self._place}")

    def __call__(self, batch: Tensor) -> Tensor:
        """The number, with gradients."""
        if self._module is None:
            scores = self.subject.outputs(batch)[0]
            chosen = self.subject.target_of(scores, self.target)
            return scores[chosen]
        flow = reach(self.subject, batch, self.layer or "")[0]
        flow = flow.movedim(channel_axis(self._module, tuple(flow.shape)), 0)
        if self._direction is not None:
            if self._direction.shape != flow.shape[:1]:
                raise UsageError(
                    f"A direction of {self.layer} has {len(flow)} numbers, not {list(self._direction.shape)}."
                )
            flow = torch.tensordot(self._direction.to(flow), flow, 1)
        else:
            flow = flow[_within(self.channel or 0, len(flow), f"channels of {self.layer}")]
        if self._place is not None:
            if flow.ndim < 2:
                raise UsageError(f"{self.layer} puts out no maps: leave place out.")
            if flow.ndim != len(self._place):
                raise UsageError(f"The maps of {self.layer} have {flow.ndim} sides; place has {len(self._place)}.")
            names = ("slices", "rows", "columns")[-flow.ndim :]
            where = zip(self._place, flow.shape, names, strict=True)
            return flow[tuple(_within(at, count, name) for at, count, name in where)]
        return flow.mean()


@final
class Canvas:
    """The picture that is searched for, and how it becomes an input."""

    def __init__(
        self,
        subject: Subject,
        preparation: Preparation | None,
        size: tuple[int, ...] | None,
        *,
        seed: int,
        decorrelated: bool,
    ) -> None:
        told = preparation or getattr(subject.network, "preparation", None)
        self._last, self._reversed = subject.channels_last, False
        self._shape: tuple[int, ...] | None = None
        self._mean: tuple[float, ...] = (0.0,)
        self._deviation: tuple[float, ...] = (1.0,)
        sides: tuple[int, ...]
        if told is not None:
            channels, sides, self._last = told.channels, told.size, told.channels_last
            self._mean, self._deviation, self._reversed = told.mean, told.deviation, told.reversed
        else:
            channels, sides = self._known(subject, size)
        if size is not None and len(size) != len(sides):
            raise UsageError(f"The network takes pictures of {len(sides)} sides; size has {len(size)}.")
        sides = sides if size is None else tuple(int(side) for side in size)
        if min(sides) < 4:
            raise UsageError(f"A picture of {' × '.join(map(str, sides))} pixels is too small to be searched for.")
        self.painting = Painting(channels, sides, seed=seed, decorrelated=decorrelated, device=subject.device)
        self._dtype = subject.dtype

    def _known(self, subject: Subject, size: tuple[int, ...] | None) -> tuple[int, tuple[int, ...]]:
        shape = subject.shape
        if shape is not None and len(shape) in (3, 4) and -1 not in shape:
            return (shape[-1], shape[:-1]) if self._last else (shape[0], shape[1:])
        if shape is not None and (found := picture_shape(shape)) is not None:
            self._shape = shape
            return found[0], (found[1], found[2])
        first = next((m for m in subject.module.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
        if first is None or (isinstance(first, nn.Conv3d) and size is None):
            raise UsageError("The network does not say what pictures it takes.", hint="Say it: preparation=...")
        count = 3 if isinstance(first, nn.Conv3d) else 2
        if size is not None and len(size) != count:
            raise UsageError(f"The network takes pictures of {count} sides; size has {len(size)}.")
        return first.in_channels, size or (_SIZE, _SIZE)

    def input(self, picture: Tensor) -> Tensor:
        """The batch of one that the network takes for a picture [1, C, H, W] from 0 to 1."""
        ones = [1] * (picture.ndim - 2)
        mean, deviation = (picture.new_tensor(v).reshape(1, -1, *ones) for v in (self._mean, self._deviation))
        scaled = ((picture - mean) / deviation).to(self._dtype)
        scaled = scaled.flip(1) if self._reversed else scaled
        if self._last:
            scaled = scaled.movedim(1, -1)
        return scaled if self._shape is None else scaled.reshape(1, *self._shape)


def _within(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise UsageError(f"There are {count} {what}, numbered from 0; not {index}.")
    return index
