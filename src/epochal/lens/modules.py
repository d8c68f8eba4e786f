"""What lenses read of modules: their kernels and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from epochal.errors import UsageError
from epochal.lens.layers import is_keras, named_layers

__all__ = ["kernels_of", "weights_of"]

Array = npt.NDArray[Any]


def kernels_of(module: Any) -> dict[str, Array]:
    """Layer -> copies of its kernels [outputs, inputs, height, width] (with the depth before these), in order."""
    if not isinstance(module, nn.Module):
        raise UsageError(f"A {type(module).__name__} is no network that the lens knows.")
    found: dict[str, Array] = {}
    for name, layer in named_layers(module).items():
        if is_keras(layer):
            plain = any(kind in type(layer).__name__ for kind in ("Conv2D", "Conv3D"))
            kernel = getattr(layer, "kernel", None) if plain else None
            if kernel is not None:
                # [places..., inputs, outputs], and the other way round in a transposed convolution.
                value = _copy(kernel.value)
                last = value.ndim - 1
                ends = (last - 1, last) if "Transpose" in type(layer).__name__ else (last, last - 1)
                found[name] = value.transpose(*ends, *range(last - 1))
            continue
        for own, weight in layer.named_parameters(recurse=False):
            if weight.ndim in (4, 5) and own in ("weight", "kernel"):
                kernels = _copy(weight)
                turned = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
                found[name] = kernels.swapaxes(0, 1) if turned else kernels
    return found


def weights_of(module: Any) -> dict[str, Array]:
    """Name -> copies of its weights of two or more axes, outputs first; `layer.name` where it is not the `weight`."""
    if not isinstance(module, nn.Module):
        raise UsageError(f"A {type(module).__name__} is no network that the lens knows.")
    found: dict[str, Array] = {}
    seen: set[int] = set()
    for name, layer in {**named_layers(module), "": module}.items():
        if is_keras(layer):
            for weight in getattr(layer, "_trainable_variables", ()):
                if len(weight.shape) < 2 or id(weight) in seen:
                    continue
                seen.add(id(weight))
                value = _copy(weight.value)
                first = value.ndim - (2 if "Transpose" in type(layer).__name__ else 1)
                plain = weight.name in ("kernel", "embeddings")
                found[name if plain else f"{name}/{weight.name}"] = np.moveaxis(value, first, 0)
            continue
        for own, weight in layer.named_parameters(recurse=False):
            if weight.ndim < 2 or not weight.dtype.is_floating_point or id(weight) in seen:
                continue
            seen.add(id(weight))
            value = _copy(weight)
            turned = "ConvTranspose" in type(layer).__name__ and own == "weight"
            whole = ".".join(part for part in (name, "" if own == "weight" else own) if part) or own
            found[whole] = value.swapaxes(0, 1) if turned else value
    return found


def _copy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().float().cpu().numpy().copy()
    return array
