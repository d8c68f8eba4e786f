"""The network run backwards, with its rectifiers on the way back."""

from __future__ import annotations

from typing import Any

from epochal.lens.asking import Forward
from epochal.lens.attribute.shared import begin, of_rule
from epochal.lens.attribution import Attribution
from epochal.lens.rules import deconvolution as rule

__all__ = ["deconvolution"]

CAPTION = "Deconvolution: rectifiers rectify what comes back (Zeiler and Fergus 2013)"


def deconvolution(network: Any, image: Any, *, target: Any = None) -> Attribution:
    """The score projected back to the input through a network whose rectifiers rectify what comes back.

    What a rectifier let through in the forward does not matter; pooling goes back to where its maximum was. Which
    operations are rectifiers is as in `guided_backprop`. `.map` is the largest absolute value over the channels.
    M. D. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks (2013). Raises NetworkError where
    operations are hidden.
    """
    return deconvolution_of(begin(network, image, target))


def deconvolution_of(forward: Forward) -> Attribution:
    """The same of a forward."""
    return of_rule(forward, rule, method="deconvolution", caption=CAPTION)
