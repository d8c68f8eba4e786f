"""What a method says of each part of an input: the `Attribution`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.film import Film

__all__ = ["Attribution"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """What each part of an input has to do with one output of a network.

    `array` holds a signed value for each input element, in the input's shape without the batch; class activation maps
    and other maps of places have [H, W], enlarged to the input, and `coarse` as they were before. `map` is the picture
    [H, W] drawn from it, [L] for a sequence or a list of numbers, [D, H, W] for a volume; `signed`
    says whether its sign means something.

    `target` is the output that was looked at and `score` what the network puts out there. `caption` says what was done
    and whose idea it is, `notes` what a reader should know, `numbers` the figures in them by name (`gap`, `steps`,
    `conservation_error`). `layer` is where a class activation map was taken, `step` the step of the network.
    """

    method: str
    array: Array
    map: Array
    target: int | tuple[int, ...]
    score: float
    caption: str
    coarse: Array | None = None
    layer: str | None = None
    step: int | None = None
    signed: bool = True
    units: str = ""
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("array", "map", "coarse"):
            value = getattr(self, name)
            if value is not None:
                value.flags.writeable = False

    def film(self) -> Film:
        """The map as a film of one frame."""
        axes = {1: ("input",), 2: ("row", "column"), 3: ("slice", "row", "column")}.get(self.map.ndim, ())
        name = f"{self.method.replace('_', ' ')}, target {self.target}" + (f", {self.layer}" if self.layer else "")
        return Film(name, [self.step or 0], self.map[None], axes=axes, units=self.units)

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write the map as a file whose suffix names the format (png, svg, npz, csv); `how` as `Film.save` takes it."""
        chosen = how if self.signed else {"cmap": "viridis"} | how
        return self.film().save(path, **chosen)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.array.shape))
        where = f" at {self.layer}" if self.layer else ""
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return f"<Attribution {self.method}{where}, {shape}, target {self.target} with score {self.score:.4g}{notes}>"

    def _repr_html_(self) -> str:
        return self.film()._repr_html_()


def strongest(array: Array, channel: int | None) -> Array:
    """The largest absolute value over the channels at each place."""
    size: Array = np.abs(array)
    return size if channel is None else size.max(axis=channel)


def summed(array: Array, channel: int | None) -> Array:
    """The sum over the channels at each place: what adds up to the score stays so."""
    total: Array = array.copy() if channel is None else array.sum(axis=channel)
    return total
