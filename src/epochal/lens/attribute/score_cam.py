"""A class activation map without gradients: each map of a layer counts as much as the score it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from epochal.errors import NetworkError
from epochal.lens.asking import Progress, Subject, batches, pick
from epochal.lens.attribute.integrated_gradients import baseline_of
from epochal.lens.attribute.shared import begin, channels_first, enlarged, of_places, places, useful_layer
from epochal.lens.attribution import Attribution

__all__ = ["score_cam"]


def score_cam(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    layer: str | None = None,
    baseline: Any = 0.0,
    progress: Progress | None = None,
) -> Attribution:
    """ReLU(Σ weight · map), a weight being what the score is when the input is masked by the channel's own map.

    Each map is brought to 0..1 and enlarged to be a mask; weights are the softmax over channels of the target's scores.
    A map that is flat counts nothing. One forward for each channel of the layer; `layer` as in `grad_cam`.
    `progress` is called with the share that is done, and ends the method by raising. H. Wang and
    others: Score-CAM (2020).
    """
    subject = network if isinstance(network, Subject) else Subject(network)
    name = useful_layer(subject, subject.example(image), layer)
    forward = begin(subject, image, target, name)
    example = forward.inputs.detach()
    shape, cover = places(subject, example), baseline_of(subject, example, baseline)
    maps = channels_first(subject, forward.kept[name].detach(), name, len(shape))
    masks, uneven = _masks(maps, shape)
    if not uneven.any():
        raise NetworkError(f"All maps of layer {name!r} are flat here: there is nothing to mask with.")
    where = uneven.nonzero()[:, 0]
    channel = subject.channel_axis(example.ndim - 1)

    def masked() -> Iterator[Tensor]:
        for part in batches(len(where), example, progress):
            chosen = masks[where[list(part)]]
            yield cover + (chosen if channel is None else chosen.unsqueeze(channel + 1)) * (example - cover)

    scores = subject.answers(masked(), lambda answer: pick(answer, forward.target))
    weights = torch.zeros(maps.shape[1], dtype=maps.dtype, device=maps.device)
    weights[where] = scores.softmax(dim=0).to(maps.dtype)
    coarse = torch.tensordot(weights, maps[0], dims=1).clamp(min=0)
    flat = int((~uneven).sum())
    return of_places(
        subject,
        coarse,
        shape,
        method="score_cam",
        target=forward.target,
        score=forward.score,
        caption="Score-CAM: the layer's maps, weighted by the score that each leaves as a mask (Wang et al. 2020)",
        layer=name,
        notes=(f"{flat} of {maps.shape[1]} maps are flat and count nothing",) if flat else (),
        numbers={"channels": len(where)},
    )


def _masks(maps: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Masks [C, *shape] from 0 to 1 of maps [1, C, ...], and which of them are not flat."""
    large = enlarged(maps, shape)[0]
    flat = large.flatten(1)
    low, high = flat.min(dim=1).values, flat.max(dim=1).values
    uneven = high > low
    sides = (-1, *[1] * len(shape))
    span = torch.where(uneven, high - low, torch.ones_like(low)).reshape(sides)
    return (large - low.reshape(sides)) / span, uneven
