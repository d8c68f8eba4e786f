"""Does a map depend on what the network has learnt? Its weights are made random, and the map is drawn again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from epochal.errors import NetworkError, UsageError
from epochal.film import Film
from epochal.lens.asking import Part, Subject
from epochal.lens.attribution import Attribution
from epochal.lens.layers import is_keras, named_layers
from epochal.network.dense import DenseNetwork
from epochal.network.module import ModuleNetwork

__all__ = ["SanityCheck", "rank_correlation", "sanity_check"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SanityCheck:
    """A map, and the same map of the network with random weights.

    `stages` say what was made random, `correlations` [stages] how alike the map was then: Spearman's rank correlation
    of absolute values, 1 for the same order of places, about 0 for no likeness, NaN where a map is the same everywhere.
    `maps` are those of the stages.
    """

    original: Attribution
    stages: tuple[str, ...]
    correlations: Array
    maps: tuple[Attribution, ...]
    caption: str = "Sanity check: the map with random weights (Adebayo et al. 2018)"

    @property
    def correlation(self) -> float:
        """The rank correlation at the last stage, where all weights are random."""
        return float(self.correlations[-1])

    def film(self) -> Film:
        """The map, then that of each stage, each divided by its own largest value."""
        frames = np.stack([_scaled(one.map) for one in (self.original, *self.maps)])
        axes = {1: ("input",), 2: ("row", "column"), 3: ("slice", "row", "column")}.get(frames.ndim - 1, ())
        return Film(
            f"{self.original.method.replace('_', ' ')}, weights made random", range(len(frames)), frames, axes=axes
        )

    def save(self, path: str | os.PathLike[str], **how: Any) -> Path:
        """Write the maps as a file whose suffix names the format, as `Film.save` does."""
        return self.film().save(path, **how)

    def __repr__(self) -> str:
        return f"<SanityCheck of {self.original.method}: rank correlation {self.correlation:.2f} with random weights>"


def sanity_check(
    method: Callable[..., Attribution],
    network: Any,
    image: Any,
    *,
    target: Any = None,
    stages: Literal["all", "cascade"] = "all",
    seed: int = 0,
    **how: Any,
) -> SanityCheck:
    """Draw a map again with random weights, and say how alike the two are.

    A map that stays as it was does not tell of what was learnt. `method` is one of the lens, such as
    `epochal.lens.saliency`, `how` its further arguments. `stages="all"` makes all weights random at once, `cascade` one
    layer after the other, from the output on. Matrices and kernels are drawn anew from a normal distribution of their
    own spread, vectors (biases, scales) are shuffled; afterwards the network has its own weights again, also after an
    error. J. Adebayo and others: Sanity Checks for Saliency Maps (2018).
    """
    if stages not in ("all", "cascade"):
        raise UsageError(f"stages is 'all' or 'cascade'; it is {stages!r}.")
    subject = Subject(network)
    asked = network
    if isinstance(subject.network, DenseNetwork):
        module = ModuleNetwork(subject.module, input_shape=subject.shape)
        asked = network.of(module) if isinstance(network, Part) else module
    groups = _weights(subject.module)
    if not groups:
        raise NetworkError("This network has no weights that could be made random.")
    original = method(asked, image, target=target, **how)
    if "layer" not in how and original.layer is not None:
        how = how | {"layer": original.layer}
    names, maps = [], []
    with _restored([tensor for _, tensors in groups for tensor in tensors]):
        generator = torch.Generator().manual_seed(int(seed))
        for name, tensors in reversed(groups):
            for tensor in tensors:
                tensor.data = _random(tensor, generator)
            if stages == "cascade" or name == groups[0][0]:
                names.append(f"from {name} on" if stages == "cascade" else "all weights")
                maps.append(method(asked, image, target=original.target, **how))
    found = np.array([rank_correlation(np.abs(original.map), np.abs(one.map)) for one in maps])
    return SanityCheck(original=original, stages=tuple(names), correlations=found, maps=tuple(maps))


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's correlation of two arrays' values; equal values share their mean rank, NaN where all are equal."""
    first, second = _ranks(one.ravel()), _ranks(other.ravel())
    spread = first.std() * second.std()
    if not spread:
        return float("nan")
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[place]
    return ranks


def _scaled(values: Array) -> Array:
    largest = float(np.abs(values).max())
    return values / largest if largest else values


def _weights(module: nn.Module) -> list[tuple[str, list[Tensor]]]:
    """The parameters of each layer, each tensor once, in the order of the network."""
    seen: set[int] = set()
    groups: list[tuple[str, list[Tensor]]] = []
    layer: Any
    for name, layer in named_layers(module).items() or [("the network", module)]:
        own: Sequence[Any]
        if is_keras(layer):
            own = [] if list(layer._flatten_layers(include_self=False)) else [w.value for w in layer.trainable_weights]
        else:
            own = list(layer.parameters(recurse=False))
        fresh = [tensor for tensor in own if id(tensor) not in seen and tensor.dtype.is_floating_point]
        seen |= {id(tensor) for tensor in fresh}
        if fresh:
            groups.append((name, fresh))
    loose: list[Tensor] = [tensor for tensor in module.parameters(recurse=False) if id(tensor) not in seen]
    return [("the network itself", loose), *groups] if loose and not is_keras(module) else groups


def _random(tensor: Tensor, generator: torch.Generator) -> Tensor:
    value = tensor.detach().cpu()
    if value.ndim < 2:
        drawn = value[torch.randperm(len(value), generator=generator)] if value.ndim else value
    else:
        spread = value.double().std() if value.numel() > 1 else value.double().abs().max()  # one number has no spread
        drawn = torch.randn(value.shape, generator=generator) * spread.float()
    return drawn.to(tensor.device, tensor.dtype)


@contextmanager
def _restored(tensors: Sequence[Tensor]) -> Iterator[None]:
    """What the tensors hold before the block, they hold after it."""
    before = [tensor.data for tensor in tensors]
    try:
        yield
    finally:
        for tensor, data in zip(tensors, before, strict=True):
            tensor.data = data
