"""What each class looks like to a network: its weights projected back to the input, or its mean gradient there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
_AT_ONCE = 1 << 21
"""So many numbers of examples are differentiated at once."""


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
    of each unit of the first hidden layer, and that unit's own weights. `counts` [classes] says over how many examples
    each mean gradient is. None where there are none.
    """

    array: Array
    method: Method
    caption: str
    step: int | None = None
    hidden: Array | None = None
    first: Array | None = None
    counts: npt.NDArray[np.int64] | None = None

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


Preview = Callable[[ClassImages, float], bool]


def class_images(
    network: Network,
    inputs: Any = None,
    labels: Any = None,
    *,
    input_shape: Sequence[int] | None = None,
    preview: Preview | None = None,
) -> ClassImages:
    """A picture of what each class looks like to the network.

    A chain of linear layers needs no examples: the picture of class c is row c of WL···W1. Any other network needs
    `inputs` [N, *input_shape] with their `labels` [N], numbers of classes: the picture is the mean gradient of the
    class's score over its examples, NaN for a class without any. Where `labels` are left out, an example belongs to the
    class that the network gives it.

    `input_shape` folds a flat input, such as (28, 28) for 784 numbers. `preview` is told the pictures over the examples
    so far and the share of them, from 0 to 1; where it returns False, these are the answer. Raises UsageError where
    examples are needed or do not fit.
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
    return _mean_gradients(network, inputs, labels, input_shape, preview)


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


def _mean_gradients(
    network: Network, inputs: Any, labels: Any, input_shape: Sequence[int] | None, preview: Preview | None
) -> ClassImages:
    if inputs is None:
        raise UsageError(
            "This network is more than a chain of linear layers: its class images are mean gradients over examples.",
            hint="Give examples and their classes: class_images(network, inputs, labels).",
        )
    if not isinstance(network, Differentiable):
        raise UsageError("This network has no gradients.", hint="Leave the examples out: its weights say it exactly.")
    batch = _numbers(inputs)
    if not len(batch):
        raise UsageError("There are no examples.")
    given = labels is not None
    truth = _numbers(labels) if given else np.zeros(len(batch), np.int64)
    shape = fits(tuple(batch.shape[1:]), input_shape)
    size, fixed = _batch_size(network, prod(shape))
    sums: Array | None = None
    for first in range(0, len(batch), size):
        last = min(first + size, len(batch))
        # A network of one size of batch is asked about the last example again and again.
        part = batch[np.minimum(np.arange(first, first + size), last - 1)] if fixed else batch[first:last]
        if sums is None or not given:
            scores = np.asarray(network(part))
            if scores.ndim != 2:
                raise UsageError(f"The network puts out {list(scores.shape)}; class images need scores [N, classes].")
        if sums is None:
            classes = scores.shape[1]
            _check_labels(truth, len(batch), classes)
            sums, counts = np.zeros((classes, prod(shape))), np.zeros(classes, np.int64)
        if not given:
            truth[first:last] = scores[: last - first].argmax(axis=1)
        asked = truth[np.minimum(np.arange(first, first + len(part)), last - 1)]
        gradients = network.input_gradients(part, asked)[: last - first].reshape(-1, prod(shape))
        np.add.at(sums, truth[first:last], gradients.astype(np.float64))
        counts += np.bincount(truth[first:last], minlength=classes)
        found = _mean(sums, counts, shape, given=given, step=network.step)
        if preview is not None and not preview(found, last / len(batch)):
            break
    return found


def _numbers(values: Any) -> Array:
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)


def _batch_size(network: Any, numbers: int) -> tuple[int, bool]:
    """How many examples are asked about at once, and whether it must be as many."""
    takes = getattr(network, "takes", ())
    if takes and takes[0].shape and takes[0].shape[0] > 0:
        return int(takes[0].shape[0]), True
    return max(1, min(256, _AT_ONCE // max(1, numbers))), False


def _check_labels(truth: Array, count: int, classes: int) -> None:
    fits_them = truth.shape == (count,) and truth.dtype.kind in "iu" and 0 <= truth.min() <= truth.max() < classes
    if not fits_them:
        raise UsageError(f"labels must be {count} numbers of classes, 0 to {classes - 1}.")


def _mean(sums: Array, counts: npt.NDArray[np.int64], shape: Shape, *, given: bool, step: int | None) -> ClassImages:
    """The pictures out of the sums of so many gradients."""
    with np.errstate(invalid="ignore", divide="ignore"):
        array = sums / counts[:, None]
    whose = "of the class" if given else "that the network gives the class"
    return ClassImages(
        array=array.reshape(len(counts), *shape),
        method="mean input gradient",
        caption=f"mean gradient of the class's score by the input, over {int(counts.sum()):,} examples {whose}",
        step=step,
        counts=counts.copy(),
    )
