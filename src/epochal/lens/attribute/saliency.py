"""The gradient of a score by the input."""

from __future__ import annotations

from typing import Any

from epochal.lens.asking import Forward
from epochal.lens.attribute.shared import begin, of_input
from epochal.lens.attribution import Attribution

__all__ = ["saliency"]

CAPTION = "Gradient of the score by each input value; the map is its strongest channel (Simonyan et al. 2013)"


def saliency(network: Any, image: Any, *, target: Any = None) -> Attribution:
    """How much the score of `target` changes with each value of the input: its gradient.

    `.array` is the gradient itself, in the input's shape, in score per unit of input; `.map` its largest absolute value
    over the channels. K. Simonyan, A. Vedaldi, A. Zisserman: Deep Inside Convolutional Networks (2013).
    """
    return saliency_of(begin(network, image, target), last=True)


def saliency_of(forward: Forward, *, last: bool = False) -> Attribution:
    """The same of a forward, of which nothing more is asked where this is the last."""
    return of_input(
        forward.subject,
        forward.gradient(last=last),
        method="saliency",
        target=forward.target,
        score=forward.score,
        caption=CAPTION,
        drawn="strongest",
        units="score per input",
        notes=forward.remarks,
    )
