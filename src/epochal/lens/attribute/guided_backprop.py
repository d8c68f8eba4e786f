"""The gradient, of which only what is positive comes back through a rectifier."""

from __future__ import annotations

from typing import Any

from epochal.lens.asking import Forward
from epochal.lens.attribute.shared import begin, of_rule
from epochal.lens.attribution import Attribution
from epochal.lens.rules import guided

__all__ = ["guided_backprop"]

CAPTION = "Guided back-propagation: at each rectifier only positive gradients come back (Springenberg et al. 2014)"


def guided_backprop(network: Any, image: Any, *, target: Any = None) -> Attribution:
    """The gradient of the score of which each rectifier lets back only what is positive.

    Rectifiers are ReLU and ReLU6 as modules, functions, Keras activations or in exported programs, and clamps at zero.
    Other activations (SiLU, GELU, leaky ReLU, ...) keep their own gradient, which `.notes` say. `.map` is the largest
    absolute value over the channels. J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: Striving for
    Simplicity (2014). Raises NetworkError where operations are hidden (compiled code, TorchScript, checkpoints).
    """
    return guided_backprop_of(begin(network, image, target))


def guided_backprop_of(forward: Forward) -> Attribution:
    """The same of a forward."""
    return of_rule(forward, guided, method="guided_backprop", caption=CAPTION)
