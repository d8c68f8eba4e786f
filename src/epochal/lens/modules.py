"""What lenses read of modules: their kernels."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from epochal.errors import UsageError
from epochal.lens.layers import is_keras, named_layers

__all__ = ["kernels_of"]

Array = npt.NDArray[Any]


def kernels_of(module: Any) -> dict[str, Array]:
    """Layer -> copies of its kernels [outputs, inputs, height, width], in the order of the network."""
    if not isinstance(module, nn.Module):
        raise UsageError(f"A {type(module).__name__} is no network that the lens knows.")
    found: dict[str, Array] = {}
    for name, layer in named_layers(module).items():
        if is_keras(layer):
            kernel = getattr(layer, "kernel", None) if "Conv2D" in type(layer).__name__ else None
            if kernel is not None:
                # [h, w, inputs, outputs], and the other way round in a transposed convolution.
                order = (2, 3, 0, 1) if "Transpose" in type(layer).__name__ else (3, 2, 0, 1)
                found[name] = _copy(kernel.value).transpose(order)
            continue
        for own, weight in layer.named_parameters(recurse=False):
            if weight.ndim == 4 and own in ("weight", "kernel"):
                kernels = _copy(weight)
                found[name] = kernels.swapaxes(0, 1) if isinstance(layer, nn.ConvTranspose2d) else kernels
    return found


def _copy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().float().cpu().numpy().copy()
    return array
