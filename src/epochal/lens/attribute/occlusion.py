"""How much a score falls when a part of the input is covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Progress, batches, pick, to_array
from epochal.lens.attribute.integrated_gradients import baseline_of
from epochal.lens.attribute.shared import begin, places, whole
from epochal.lens.attribution import Attribution

__all__ = ["occlusion"]


def occlusion(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    baseline: Any = 0.0,
    progress: Progress | None = None,
) -> Attribution:
    """The fall of the score when a window of all channels is covered by `baseline`, for windows all over the input.

    `window` is one size, or one for rows and one for columns (a seventh of the input), `stride` how far the next window
    lies (half the window). `.coarse` [rows, columns] is the fall for each window; a value of `.array` and `.map` is the
    mean over the windows that cover it. Positive: what is there speaks for the target.
    `progress` is called with the share that is done, and ends the method by raising. M. D. Zeiler, R. Fergus:
    Visualizing and Understanding Convolutional Networks (2013).
    """
    forward = begin(network, image, target)
    subject, example, chosen = forward.subject, forward.inputs.detach(), forward.target
    shape = places(subject, example)
    sizes = _sides("window", window, shape, [max(1, round(side / 7)) for side in shape])
    sizes = tuple(min(size, side) for size, side in zip(sizes, shape, strict=True))
    steps = _sides("stride", stride, shape, [max(1, size // 2) for size in sizes])
    if any(step > size for step, size in zip(steps, sizes, strict=True)):
        raise UsageError(f"With a stride of {list(steps)}, windows of {list(sizes)} leave out parts of the input.")
    starts = [range(0, _last(*sides) + 1, sides[2]) for sides in zip(shape, sizes, steps, strict=True)]
    windows = [
        tuple(slice(first, first + size) for first, size in zip(corner, sizes, strict=True))
        for corner in product(*starts)
    ]
    cover = baseline_of(subject, example, baseline)
    channel = subject.channel_axis(example.ndim - 1)

    def covered() -> Iterator[Tensor]:
        for part in batches(len(windows), example, progress):
            stack = example.repeat(len(part), *[1] * (example.ndim - 1))
            for row, which in enumerate(part):
                where = _index(windows[which], channel)
                stack[row][where] = cover[0][where]
            yield stack

    fall = forward.score - subject.answers(covered(), lambda scores: pick(scores, chosen)).cpu().double()
    total, times = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
    for where, value in zip(windows, fall.tolist(), strict=True):
        total[where] += value
        times[where] += 1
    drawn = (total / times).to(example.dtype)
    spread = drawn if channel is None else drawn.unsqueeze(channel)
    return Attribution(
        method="occlusion",
        array=np.array(to_array(spread.expand(example.shape[1:]))),
        map=to_array(drawn),
        coarse=to_array(fall.to(example.dtype)).reshape([len(range_) for range_ in starts]),
        target=chosen,
        score=forward.score,
        caption="Occlusion: how much the score falls when a window is covered (Zeiler and Fergus 2013)",
        step=subject.step,
        units="score",
        notes=forward.remarks if cover.any() or bool((example != 0).any()) else (*forward.remarks, _SAME),
        numbers={"windows": len(windows)},
    )


_SAME = "the input is what windows are covered with: nothing can fall"


def _last(side: int, size: int, step: int) -> int:
    """Where the last window begins: the first place from which on it reaches the end, or over it."""
    return -(-(side - size) // step) * step


def _index(where: tuple[slice, ...], channel: int | None) -> tuple[slice, ...]:
    if channel is None:
        return where
    return (*where[:channel], slice(None), *where[channel:])


def _sides(what: str, given: Any, shape: Sequence[int], usual: Sequence[int]) -> tuple[int, ...]:
    if given is None:
        return tuple(usual)
    sizes = list(given) if isinstance(given, Sequence) else [given] * len(shape)
    if len(sizes) != len(shape):
        raise UsageError(f"{what} has {len(sizes)} sizes; the input has {len(shape)} axes of places.")
    return tuple(whole(what, size) for size in sizes)
