"""Gradients at inputs with noise on them: their mean, and how they vary."""

from __future__ import annotations

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
    forward = begin(network, image, target)
    mean, _, notes = _moments(forward, samples, noise, seed, progress)
    return of_input(
        forward.subject,
        mean,
        method="smoothgrad",
        target=forward.target,
        score=forward.score,
        caption="SmoothGrad: the mean gradient over copies with noise (Smilkov et al. 2017)",
        drawn="strongest",
        units="score per input",
        notes=(*forward.remarks, *notes),
        numbers={"samples": samples, "noise": noise},
    )


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
    forward = begin(network, image, target)
    _, variance, notes = _moments(forward, samples, noise, seed, progress)
    return of_input(
        forward.subject,
        variance,
        method="vargrad",
        target=forward.target,
        score=forward.score,
        caption="VarGrad: the variance of the gradient over copies with noise (Adebayo et al. 2018)",
        drawn="strongest",
        units="(score per input)²",
        notes=(*forward.remarks, *notes),
        numbers={"samples": samples, "noise": noise},
    )


def _moments(
    forward: Forward, samples: int, noise: float, seed: int, progress: Progress | None
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Mean and variance of the gradient [1, ...] over copies with noise."""
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
    return mean.to(example), variance.to(example), notes
