"""What the methods have in common: from a tensor of values to an `Attribution`, and maps enlarged to the input."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor, nn

from epochal.errors import UsageError
from epochal.lens.asking import Forward, Subject, Target, to_array
from epochal.lens.attribution import Attribution, strongest, summed
from epochal.lens.layers import last_useful_layer
from epochal.lens.rules import Rule, rectifier_remarks

__all__ = ["begin", "channels_first", "enlarged", "of_input", "of_places", "of_rule", "places", "useful_layer", "whole"]

Array = npt.NDArray[Any]


_useful: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], str]] = WeakKeyDictionary()
"""The last useful layer of modules that were asked before, by the shape of the batch."""


def begin(network: Any, image: Any, target: Any, *layers: str) -> Forward:
    """One forward of one image."""
    subject = network if isinstance(network, Subject) else Subject(network)
    return subject.forward(subject.example(image), target, layers=layers)


def of_input(
    subject: Subject,
    values: Tensor,
    *,
    method: str,
    target: Target,
    score: float,
    caption: str,
    drawn: Literal["strongest", "summed"],
    units: str = "",
    notes: Sequence[str] = (),
    numbers: Mapping[str, float] | None = None,
    signed: bool | None = None,
) -> Attribution:
    """The attribution of values [1, ...] in the shape of the input.

    The map is the strongest absolute value over the channels, or their sum, which keeps what adds up to the score.
    """
    array = to_array(values[0])
    channel = subject.channel_axis(array.ndim)
    return Attribution(
        method=method,
        array=array,
        map=strongest(array, channel) if drawn == "strongest" else summed(array, channel),
        target=target,
        score=score,
        caption=caption,
        step=subject.step,
        signed=drawn == "summed" if signed is None else signed,
        units=units,
        notes=tuple(notes),
        numbers=dict(numbers or {}),
    )


def of_rule(forward: Forward, rule: Rule, *, method: str, caption: str) -> Attribution:
    """The attribution of a gradient that came back by a rule for rectifiers."""
    return of_input(
        forward.subject,
        forward.gradient(rule=rule),
        method=method,
        target=forward.target,
        score=forward.score,
        caption=caption,
        drawn="strongest",
        units="score per input",
        notes=(*forward.remarks, *rectifier_remarks(forward.chosen)),
    )


def of_places(
    subject: Subject,
    coarse: Tensor,
    shape: Sequence[int],
    *,
    method: str,
    target: Target,
    score: float,
    caption: str,
    layer: str | None = None,
    units: str = "",
    notes: Sequence[str] = (),
    numbers: Mapping[str, float] | None = None,
    signed: bool = False,
) -> Attribution:
    """The attribution of a map [h, w] of places, enlarged to the places `shape` of the input."""
    array = to_array(enlarged(coarse[None, None], shape)[0, 0])
    return Attribution(
        method=method,
        array=array,
        map=array.copy(),
        coarse=to_array(coarse),
        target=target,
        score=score,
        caption=caption,
        layer=layer,
        step=subject.step,
        signed=signed,
        units=units,
        notes=tuple(notes),
        numbers=dict(numbers or {}),
    )


def places(subject: Subject, batch: Tensor) -> tuple[int, ...]:
    """The sizes of the places of an input [1, ...]: rows and columns of an image."""
    shape = tuple(batch.shape[1:])
    channel = subject.channel_axis(len(shape))
    return tuple(side for axis, side in enumerate(shape) if axis != channel)


def enlarged(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Maps [N, C, h, w] brought to the size `shape`, straight between the middles of neighbouring places."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(shape)]
    return F.interpolate(maps, size=tuple(shape), mode=mode, align_corners=False)


def channels_first(subject: Subject, values: Tensor, layer: str, sides: int) -> Tensor:
    """What a layer puts out as [N, C, places...]; raises UsageError where it has no places like those of the input."""
    if values.ndim != sides + 2:
        raise UsageError(
            f"Layer {layer!r} puts out {list(values.shape)}: no maps of places, as the input has {sides} axes of them.",
            hint="Name a convolution, or a block of them.",
        )
    last = subject.keras and str(sys.modules["keras"].config.image_data_format()) == "channels_last"
    return values.movedim(-1, 1) if last else values


def useful_layer(subject: Subject, batch: Tensor, layer: str | None) -> str:
    """The layer that is asked, or the one at which a class activation map says most."""
    if layer is not None:
        return layer
    known = _useful.setdefault(subject.module, {})
    shape = tuple(batch.shape)
    if shape not in known:

        def once() -> None:
            with subject.asking(gradients=False):
                subject.outputs(batch)

        known[shape] = last_useful_layer(subject.module, once)
    return known[shape]


def whole(what: str, value: Any, least: int = 1) -> int:
    """A whole number that is asked for; raises UsageError for anything else."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{what} is a whole number; it is {value!r}.") from None
    if isinstance(value, bool) or number < least:
        raise UsageError(f"{what} must be at least {least}; it is {value!r}.")
    return number
