"""What a network says of one example, whatever kind of network it is and whatever size of batch it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.network import Network
from epochal.network.dense import DenseNetwork

__all__ = ["scores_of"]


def scores_of(network: Network, example: Any) -> npt.NDArray[Any]:
    """The scores [1, ...] of one example, an array as the network takes it without its batch.

    A program that was recorded with batches of one size is given the example so many times. Raises NetworkError for a
    network that puts out more than one tensor, UsageError for an example that does not fit.
    """
    array = np.asarray(example)
    if isinstance(network, DenseNetwork):
        return np.asarray(network(array.reshape(1, *network.input_shape)))
    from epochal.lens.asking import Subject, to_array

    subject = Subject(network, whole=True)
    shape = network.input_shape
    with subject.asking(gradients=False):
        return to_array(subject.outputs(subject.example(array if shape is None else array.reshape(shape))))
