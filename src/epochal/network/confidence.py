"""What a network's outputs say of the classes, as confidences from 0 to 1."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.facts import Graph

__all__ = ["Meaning", "confidences"]

Array = npt.NDArray[Any]
Meaning = Literal["softmax", "probabilities", "independent", "logistic", "number"]
"""`softmax`: made of scores by softmax; `probabilities`: as the network gives them; `independent`: each from 0 to 1 by
itself, as sigmoid units give them; `logistic`: of one score, the second of two classes; `number`: no classes."""

_OFF = 1e-3


def confidences(outputs: Array, graph: Graph | None) -> tuple[Array, Meaning]:
    """Confidences [classes] of the outputs [classes] of one example, and what they are.

    The graph says what the last layer ends with; scores and logarithms of probabilities both become probabilities by
    softmax. One output that does not end in a sigmoid is a number, of which no confidence is known.
    """
    scores = np.asarray(outputs, np.float64)
    last = _last_function(graph)
    if scores.size == 1:
        if last != "sigmoid":
            return np.empty(0), "number"
        return np.array([1 - scores[0], scores[0]]), "logistic"
    if not np.isfinite(scores).all():
        return np.full(scores.shape, np.nan), "softmax"
    if last == "sigmoid":
        return scores, "independent"
    if scores.min() >= 0 and abs(scores.sum() - 1) <= _OFF:
        return scores, "probabilities"
    grown = np.exp(scores - scores.max())
    return grown / grown.sum(), "softmax"


def _last_function(graph: Graph | None) -> str:
    """The plain name of the activation that the network ends with, "" where there is none."""
    for layer in reversed(graph.layers if graph is not None else ()):
        if layer.role == "output":
            continue
        return (layer.activation or layer.kind).lower().replace("_", "")
    return ""
