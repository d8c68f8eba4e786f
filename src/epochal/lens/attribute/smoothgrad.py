"""Gradients at inputs with noise on them: their mean, and how they vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Forward, Progress, batches
from epochal.lens.attribute.shared import begin, of_input, whole
from epochal.lens.attribution import Attribution

__all__ = ["smoothgrad", "vargrad"]


def smoothgrad(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
) -> Attribution:
    """The mean gradient over `samples` copies of the input with normal noise on them.

    `noise` is its standard deviation as a share of the range of the input's values. The same seed gives the same map.
    `.map` is the largest absolute value over the channels. `progress` is called with the share that is done, and
    ends the method by raising. D. Smilkov and others: SmoothGrad (2017).
    """
    caption = "SmoothGrad: the mean gradient over copies with noise (Smilkov et al. 2017)"
    moments = _moments(begin(network, image, target), samples, noise, seed, progress)
    return moments.drawn(moments.mean, "smoothgrad", caption, "score per input")


def vargrad(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
) -> Attribution:
    """The variance of the gradient over `samples` copies of the input with normal noise on them; as `smoothgrad`.

    J. Adebayo and others: Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values
    (2018).
    """
    caption = "VarGrad: the variance of the gradient over copies with noise (Adebayo et al. 2018)"
    moments = _moments(begin(network, image, target), samples, noise, seed, progress)
    return moments.drawn(moments.variance, "vargrad", caption, "(score per input)²")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moments:
    """Mean and variance of the gradient [1, ...] over copies with noise."""

    forward: Forward
    mean: Tensor
    variance: Tensor
    notes: tuple[str, ...]
    numbers: dict[str, float]

    def drawn(self, values: Tensor, method: str, caption: str, units: str) -> Attribution:
        """The attribution of one of them."""
        forward = self.forward
        return of_input(
            forward.subject, values, method=method, target=forward.target, score=forward.score, caption=caption,
            drawn="strongest", units=units, notes=(*forward.remarks, *self.notes), numbers=self.numbers,
        )  # fmt: skip


def _moments(forward: Forward, samples: int, noise: float, seed: int, progress: Progress | None) -> _Moments:
    count, example = whole("samples", samples), forward.inputs.detach()
    if not (isinstance(noise, int | float) and 0 < noise < float("inf")):
        raise UsageError(f"noise is a share of the range of the input's values, above 0; it is {noise!r}.")
    spread = float(example.max() - example.min())
    random = np.random.default_rng(seed)
    total, squares = (torch.zeros(example.shape, dtype=torch.float64) for _ in range(2))
    for part in batches(count, example, progress, gradients=True):
        drawn = torch.from_numpy(random.standard_normal((len(part), *example.shape[1:])))
        points = example + (noise * spread * drawn).to(example.device, example.dtype)
        gradient = forward.subject.forward(forward.subject.fast(points), forward.target).gradient(last=True)
        gradient = gradient.cpu().double()  # some devices have no such numbers
        total += gradient.sum(dim=0, keepdim=True)
        squares += (gradient**2).sum(dim=0, keepdim=True)
    mean = total / count
    variance = (squares / count - mean**2).clamp(min=0)
    notes = () if spread else ("all values of the input are equal: there is no range that noise could be a share of",)
    return _Moments(
        forward=forward, mean=mean.to(example), variance=variance.to(example), notes=notes,
        numbers={"samples": samples, "noise": noise},
    )  # fmt: skip
