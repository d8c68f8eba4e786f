"""Asking a Keras network about examples while it trains, and what its own last layer says of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.examined import Outputs

__all__ = ["ask_network", "stated_outputs"]

ROWS = 1024


def stated_outputs(model: Any) -> Outputs | None:
    """What the activation of the network's last layer makes of its outputs; None where that cannot be read."""
    layers = [layer for layer in getattr(model, "layers", ()) if getattr(layer, "activation", None) is not None]
    outputs = getattr(model, "outputs", None)
    last = layers[-1] if layers else None
    if isinstance(outputs, list) and len(outputs) == 1:
        history = getattr(outputs[0], "_keras_history", None)
        last = getattr(history, "operation", last)
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax:
        return "softmax"
    if activation is keras.activations.sigmoid:
        return "sigmoid"
    if activation is keras.activations.linear:
        return "raw"
    return None


def ask_network(model: Any, inputs: Any, rows: int) -> tuple[npt.NDArray[Any], float] | None:
    """What the network says of `rows` examples with `training=False`, [rows, ...], and what that cost in seconds.

    None while the network has no variables yet. Raises UsageError where it has several outputs.
    """
    if not getattr(model, "built", True):
        return None
    start = perf_counter()
    found = []
    with _quiet(model):
        for first in range(0, rows, ROWS):
            said = model(_part(inputs, first, min(rows, first + ROWS)), training=False)
            if isinstance(said, tuple | list | Mapping):
                raise UsageError(
                    "a network with several outputs cannot be asked for one", hint="log one with run.log_predictions()"
                )
            found.append(keras.ops.convert_to_numpy(said))
    values: npt.NDArray[Any] = np.concatenate(found) if found else np.empty((0, 0))
    return values, perf_counter() - start


def _part(inputs: Any, first: int, last: int) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _part(part, first, last) for name, part in inputs.items()}
    if isinstance(inputs, tuple):
        return [_part(part, first, last) for part in inputs]
    return keras.ops.convert_to_tensor(inputs[first:last])


def _quiet(model: Any) -> AbstractContextManager[Any]:
    """On the torch backend no gradients, and the modules left as they were; the others keep no traces of a call."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    from contextlib import ExitStack

    import torch

    from epochal.frameworks.torch_quiet import untouched

    stack = ExitStack()
    stack.enter_context(untouched(model))
    stack.enter_context(torch.no_grad())
    return stack
