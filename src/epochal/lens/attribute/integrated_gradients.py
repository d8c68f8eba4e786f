"""Gradients summed on the way from a baseline to the input: they add up to the difference in score."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epochal.errors import UsageError
from epochal.lens.asking import Progress, Subject, Target, batches, pick
from epochal.lens.attribute.shared import of_input
from epochal.lens.attribution import Attribution

__all__ = ["integrated_gradients"]

CAPTION = "Integrated gradients from the baseline to the input (Sundararajan et al. 2017)"
ENOUGH = 0.05
"""A gap of this share of the difference in score is small enough."""
_FIRST, _MOST = 16, 1024


def integrated_gradients(
    network: Any,
    image: Any,
    *,
    target: Any = None,
    baseline: Any = 0.0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """Each value's share in the difference between the score at the input and at a baseline.

    The gradient is integrated on the straight way from `baseline` (a number, or an array like the input) by the rule of
    Gauss and Legendre in `steps` places. Shares add up to the difference in score but for an error of the rule, the
    gap: `.numbers["gap"]` says it in units of score, `["relative_gap"]` as a share of the difference. Without `steps`
    their number is doubled until the gap is under 5 % (at most 1,024); `.notes` says so where it stays above. `.map` is
    the sum over the channels. `progress` is called with the share that is done, again from the start for each number of
    steps, and ends the method by raising.

    M. Sundararajan, A. Taly, Q. Yan: Axiomatic Attribution for Deep Networks (2017).
    """
    subject = network if isinstance(network, Subject) else Subject(network)
    example = subject.example(image)
    start = baseline_of(subject, example, baseline)
    counts = _counts(steps)
    with subject.asking(gradients=False):
        ends = subject.outputs(torch.cat([example, start]))
    chosen = subject.target_of(ends[0], target)
    score, score_there = (float(value) for value in pick(ends, chosen))
    difference = score - score_there
    values, gap, count = example, np.inf, 0
    for count in counts:
        values = (example - start) * mean_gradient(subject, example, start, chosen, count, progress)
        gap = abs(float(values.cpu().sum(dtype=torch.float64)) - difference)
        if gap <= ENOUGH * abs(difference):
            break
    relative = gap / abs(difference) if difference else float("inf") if gap else 0.0
    said = []
    if relative > ENOUGH:
        share = f"{relative:.0%} of the difference in score" if np.isfinite(relative) else "there is no difference"
        said.append(f"the shares miss the difference in score by {gap:.3g} ({share}) with {count} steps")
    return of_input(
        subject,
        values,
        method="integrated_gradients",
        target=chosen,
        score=score,
        caption=CAPTION,
        drawn="summed",
        units="score",
        notes=said,
        numbers={
            "steps": count,
            "difference": difference,
            "gap": gap,
            "relative_gap": relative,
        },
    )


def mean_gradient(
    subject: Subject, example: Tensor, start: Tensor, target: Target, steps: int, progress: Progress | None = None
) -> Tensor:
    """The mean gradient of the score on the way from `start` to `example`, both [1, ...], at Gauss-Legendre places."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(example)
    for part in batches(steps, example, progress, gradients=True):
        along = torch.as_tensor((nodes[list(part)] + 1) / 2, dtype=example.dtype, device=example.device)
        share = torch.as_tensor(weights[list(part)] / 2, dtype=example.dtype, device=example.device)
        sides = (-1, *[1] * (example.ndim - 1))
        points = start + along.reshape(sides) * (example - start)
        gradient = subject.forward(subject.fast(points), target).gradient(last=True)
        total += (gradient * share.reshape(sides)).sum(dim=0, keepdim=True)
    return total


def baseline_of(subject: Subject, example: Tensor, baseline: Any) -> Tensor:
    """A baseline [1, ...] for an example; raises UsageError for what is neither a number nor like the input."""
    if isinstance(baseline, int | float | np.number) and not isinstance(baseline, bool):
        if not np.isfinite(baseline):
            raise UsageError("The baseline is not finite.")
        return torch.full_like(example, float(baseline))
    start = subject.example(baseline)
    if start.shape != example.shape:
        raise UsageError(f"The baseline has the shape {list(start.shape[1:])}, the input {list(example.shape[1:])}.")
    return start


def _counts(steps: Any) -> list[int]:
    if steps is None:
        return [_FIRST << n for n in range((_MOST // _FIRST).bit_length())]
    try:
        count = operator.index(steps)
    except TypeError:
        raise UsageError(f"steps is a whole number, or None to find it; it is {steps!r}.") from None
    if count < 1:
        raise UsageError(f"steps must be at least 1; it is {count}.")
    return [count]
