"""What each class looks like to a network: its weights projected back to the input, or its mean gradient there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts import Shape
from epochal.facts.chain import Chain
from epochal.film import Film
from epochal.network import Network

__all__ = ["BACK_PROJECTION", "ClassImages", "back_project", "chain_weights", "class_images", "fits"]

Array = npt.NDArray[Any]
Method = Literal["back-projection", "mean input gradient"]

BACK_PROJECTION = "back-projection of the weights: row c of WL···W1, biases and activations left out"
MOST_VALUES = 1 << 28


@runtime_checkable
class Differentiable(Protocol):
    """A network whose scores can be differentiated by its input."""

    def input_gradients(self, inputs: Any, classes: Any) -> Array:
        """The gradient of the score of class `classes[i]` by example `inputs[i]`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassImages:
    """One picture for each class: `array` [classes, *input_shape], in the units of score per unit of input.

    `method` says how it was made, `caption` the same for people; `step` is that of the network. `hidden` [classes,
    units] and `first` [units, *input_shape] are the two factors that `shares` are made of: what the layers behind make
    of each unit of the first hidden layer, and that unit's own weights. None where there are none.
    """

    array: Array
    method: Method
    caption: str
    step: int | None = None
    hidden: Array | None = None
    first: Array | None = None

    def shares(self, label: int) -> Array:
        """Each hidden unit's share in the picture of a class: [units, *input_shape], whose sum is that picture."""
        if self.hidden is None or self.first is None:
            raise UsageError(
                "These pictures have no shares of hidden units.",
                hint="Back-projections of networks with a hidden layer have them.",
            )
        factors = self.hidden[label].reshape(-1, *[1] * (self.first.ndim - 1))
        shares: Array = factors * self.first
        return shares

    def film(self) -> Film:
        """The pictures as a film of one frame."""
        return Film(
            "class images", [self.step or 0], self.array[None], axes=axes_of(self.array.shape), units="score per input"
        )

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write the pictures as a file whose suffix names the format (png, svg, npz, csv), as `Film.save` does."""
        return self.film().save(path, **how)

    def __repr__(self) -> str:
        at = "" if self.step is None else f" at step {self.step}"
        return f"<ClassImages {'×'.join(map(str, self.array.shape))}{at}, {self.caption}>"

    def _repr_html_(self) -> str:
        return self.film()._repr_html_()


def class_images(
    network: Network,
    inputs: Any = None,
    labels: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
) -> ClassImages:
    """A picture of what each class looks like to the network.

    A chain of linear layers needs no examples: the picture of class c is row c of WL···W1. Any other network needs
    `inputs` [N, *input_shape] with their `labels` [N], numbers of classes: the picture is the mean gradient of the
    class's score over its examples, NaN for a class without any. Where `labels` are left out, an example belongs to the
    class that the network gives it.

    `input_shape` folds a flat input, such as (28, 28) for 784 numbers. Raises UsageError where examples are needed or
    do not fit.
    """
    chain = network.chain
    if chain is not None and inputs is None:
        weights = chain_weights(chain, network.state())
        shape = fits(chain.input_shape, input_shape)
        array, hidden = back_project(weights)
        return ClassImages(
            array=array.reshape(len(array), *shape),
            method="back-projection",
            caption=BACK_PROJECTION,
            step=network.step,
            hidden=hidden,
            first=None if hidden is None else weights[0].reshape(-1, *shape),
        )
    return _mean_gradients(network, inputs, labels, input_shape)


def back_project(weights: Sequence[Array]) -> tuple[Array, Array | None]:
    """WL···W1 of weights [out, in] from input to output, as float64; and WL···W2, None where there is one layer."""
    product: Array | None = None
    # From the output on: there are fewest classes, so each product is as small as it can be.
    for weight in reversed(weights[1:]):
        wide = weight.astype(np.float64)
        product = wide if product is None else product @ wide
    first = weights[0].astype(np.float64)
    return (first if product is None else product @ first), product


def chain_weights(chain: Chain, state: Any) -> list[Array]:
    """The weights of a chain out of its parameters by name, each [outputs, inputs]."""
    found = [state[link.weight] for link in chain.links]
    return [w.transpose(link.layout) if link.layout else w for w, link in zip(found, chain.links, strict=True)]


def fits(known: Shape | None, wanted: Sequence[int] | None) -> Shape:
    """The shape to fold to: the one wanted where it has as many numbers as the known one."""
    if wanted is None:
        return known or ()
    shape = tuple(int(side) for side in wanted)
    if known is not None and prod(shape) != prod(known):
        raise UsageError(f"An input of {prod(known):,} numbers cannot be folded to {list(shape)}.")
    return shape


def axes_of(shape: Shape) -> tuple[str, ...]:
    """Names of the axes of a stack of class images."""
    inner = {1: ("input",), 2: ("row", "column"), 3: ("input", "row", "column")}.get(len(shape) - 1)
    return ("output", *inner) if inner is not None else ()


def _mean_gradients(network: Network, inputs: Any, labels: Any, input_shape: Sequence[int] | None) -> ClassImages:
    if inputs is None:
        raise UsageError(
            "This network is more than a chain of linear layers: its class images are mean gradients over examples.",
            hint="Give examples and their classes: class_images(network, inputs, labels).",
        )
    if not isinstance(network, Differentiable):
        raise UsageError("This network has no gradients.", hint="Leave the examples out: its weights say it exactly.")
    batch = np.asarray(inputs.detach().cpu().numpy() if hasattr(inputs, "detach") else inputs)
    scores = np.asarray(network(batch))
    if scores.ndim != 2:
        raise UsageError(f"The network puts out {list(scores.shape)}; class images need scores [N, classes].")
    given = labels is not None
    truth = np.asarray(labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels) if given else None
    truth = scores.argmax(axis=1) if truth is None else truth
    classes = scores.shape[1]
    if (
        truth.shape != (len(batch),)
        or truth.dtype.kind not in "iu"
        or (len(truth) and not 0 <= truth.min() <= truth.max() < classes)
    ):
        raise UsageError(f"labels must be {len(batch)} numbers of classes, 0 to {classes - 1}.")
    shape = fits(tuple(batch.shape[1:]), input_shape)
    sums = np.zeros((classes, prod(shape)))
    for first in range(0, len(batch), 256):
        part = slice(first, first + 256)
        gradients = network.input_gradients(batch[part], truth[part]).reshape(-1, prod(shape))
        np.add.at(sums, truth[part], gradients.astype(np.float64))
    counts = np.bincount(truth, minlength=classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        array = sums / counts[:, None]
    whose = "of the class" if given else "that the network gives the class"
    return ClassImages(
        array=array.reshape(classes, *shape),
        method="mean input gradient",
        caption=f"mean gradient of the class's score by the input, over {len(batch):,} examples {whose}",
        step=network.step,
    )
