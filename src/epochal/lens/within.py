"""A channel or a unit in place of a class: every attribution can say what in an input it answers to."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, final

from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Part, Subject
from epochal.lens.layers import find_layer
from epochal.lens.outputs import channel_axis, reach

__all__ = ["Inside", "inside"]


@final
class Inside(Part):
    """A network that is looked at in one of its layers."""

    def __init__(self, network: Any, layer: str, place: tuple[int, int] | None) -> None:
        self.network, self.layer, self.place = network, layer, place
        self._module = find_layer(Subject(network).module, layer)[0]

    @property
    def step(self) -> int | None:
        """The training step of the network's parameters."""
        step: int | None = getattr(self.network, "step", None)
        return step

    def scores(self, whole: Subject, batch: Tensor) -> Tensor:
        """[N, channels]: the mean of each over its places, or what it puts out at one place."""
        flow = reach(whole, batch, self.layer)
        flow = flow.movedim(channel_axis(self._module, tuple(flow.shape[1:])) + 1, 1)
        if self.place is None:
            return flow.flatten(2).mean(dim=2) if flow.ndim > 2 else flow
        if flow.ndim != 4:
            raise UsageError(f"{self.layer} puts out no maps: leave place out.")
        for what, at, size in zip(("row", "column"), self.place, flow.shape[2:], strict=True):
            if not 0 <= at < size:
                raise UsageError(f"There is no {what} {at} in {self.layer}: they go from 0 to {size - 1}.")
        return flow[:, :, self.place[0], self.place[1]]

    def of(self, network: Any) -> Inside:
        """The same layer of another network."""
        return Inside(network, self.layer, self.place)

    def __repr__(self) -> str:
        return f"<Inside {self.layer}{'' if self.place is None else f' at {self.place}'} of {self.network!r}>"


def inside(network: Any, layer: str, *, place: Sequence[int] | None = None) -> Inside:
    """The network seen from one of its layers: its channels stand where classes stood, and `target` is one of them.

    `lens.saliency(lens.inside(network, "layer3.2"), image, target=7)` shows what in the image channel 7 of the layer
    answers to: its mean over all places, or with `place` (row, column) the one unit of it there. What comes after the
    layer is not run. A class activation map is asked at the same or an earlier layer, `layer=`.

    Raises NotFoundError for a layer that is not there, UsageError for a place that cannot be.
    """
    if place is None:
        return Inside(network, layer, None)
    try:
        row, column = (operator.index(at) for at in place)
    except (TypeError, ValueError):
        raise UsageError(f"place is (row, column); it is {place!r}.") from None
    return Inside(network, layer, (row, column))
