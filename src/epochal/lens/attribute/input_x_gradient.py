"""The input times the gradient."""

from __future__ import annotations

from typing import Any

from epochal.lens.asking import Forward
from epochal.lens.attribute.shared import begin, of_input
from epochal.lens.attribution import Attribution

__all__ = ["input_x_gradient"]

CAPTION = "Input times gradient, summed over the channels (Shrikumar et al. 2016)"


def input_x_gradient(network: Any, image: Any, *, target: Any = None) -> Attribution:
    """Each value of the input times the gradient of the score by it: its share in a linear reading of the network.

    `.map` is the sum over the channels. A. Shrikumar, P. Greenside, A. Shcherbina, A. Kundaje: Not Just a Black Box
    (2016).
    """
    return input_x_gradient_of(begin(network, image, target), last=True)


def input_x_gradient_of(forward: Forward, *, last: bool = False) -> Attribution:
    """The same of a forward, of which nothing more is asked where this is the last."""
    return of_input(
        forward.subject,
        forward.inputs.detach() * forward.gradient(last=last),
        method="input_x_gradient",
        target=forward.target,
        score=forward.score,
        caption=CAPTION,
        drawn="summed",
        units="score",
        notes=forward.remarks,
    )
