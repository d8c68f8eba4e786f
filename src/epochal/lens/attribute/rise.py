"""How confident a network is under random masks: a place counts as much as the masks that leave it open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Progress, batches
from epochal.lens.attribute.integrated_gradients import baseline_of
from epochal.lens.attribute.shared import begin, enlarged, of_places, places, whole
from epochal.lens.attribution import Attribution

__all__ = ["rise", "rise_masks"]

Array = npt.NDArray[Any]


def rise(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    masks: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    baseline: Any = 0.0,
    progress: Progress | None = None,
) -> Attribution:
    """The mean of random masks, each weighted by the confidence in the target that the network has under it.

    A mask is a grid of `cells` × `cells`, each open with probability `keep`, enlarged and shifted; where it is closed
    the input is `baseline`. No gradient is asked, only answers; the same seed gives the same map. `.map` is the
    confidence to expect where a place is open. `progress` is called with the share that is done, and ends the
    method by raising. V. Petsiuk, A. Das, K. Saenko: RISE (2018).
    """
    count, grid = whole("masks", masks), whole("cells", cells)
    if not (isinstance(keep, int | float) and 0 < keep < 1):
        raise UsageError(f"keep is a probability between 0 and 1; it is {keep!r}.")
    forward = begin(network, image, target)
    subject, example = forward.subject, forward.inputs.detach()
    shape, cover = places(subject, example), baseline_of(forward.subject, example, baseline)
    channel = subject.channel_axis(example.ndim - 1)
    total = torch.zeros(shape, dtype=torch.float64)
    drawn = rise_masks(count, shape, cells=grid, keep=keep, seed=seed, example=example, progress=progress)
    for open_ in drawn:
        spread = (open_ if channel is None else open_.unsqueeze(channel + 1)).to(example.device, example.dtype)
        said = subject.answers([cover + spread * (example - cover)], forward.confidence)
        total += torch.tensordot(said.cpu().double(), open_.double(), dims=1)
    return of_places(
        subject,
        (total / (count * keep)).to(example.dtype),
        shape,
        method="rise",
        target=forward.target,
        score=forward.score,
        caption="RISE: random masks weighted by the confidence under them (Petsiuk et al. 2018)",
        units="confidence",
        numbers={"masks": count},
    )


def rise_masks(
    count: int,
    shape: Sequence[int],
    *,
    cells: int,
    keep: float,
    seed: int,
    example: Tensor,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """`count` masks [n, *shape] from 0 to 1, in stacks that fit into memory; the same whatever the size of stacks."""
    random = np.random.default_rng(seed)
    sides = [-(-side // cells) for side in shape]
    grids = (random.random((count, *[cells] * len(shape))) < keep).astype(np.float32)
    shifts = random.integers(0, sides, size=(count, len(shape)))
    for part in batches(count, example, progress):
        rows = list(part)
        large = enlarged(torch.from_numpy(grids[rows])[:, None], [(cells + 1) * side for side in sides])[:, 0]
        yield torch.stack(
            [
                mask[tuple(slice(first, first + side) for first, side in zip(shift, shape, strict=True))]
                for mask, shift in zip(large, shifts[rows].tolist(), strict=True)
            ]
        )
