"""Layers of a network by name: the names of its graph, in a module and in an exported program alike.

A module that runs several times in one forward is the layer `name` at its first use, `name@2` at its second and so on,
as the graph of a recorded network calls it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from epochal.errors import NetworkError, NotFoundError, UsageError

__all__ = ["Kept", "find_layer", "is_keras", "keeping", "last_useful_layer", "named_layers", "weighted_layers"]

_FAR = 8
"""So many layers with weights may come after the last convolution for it to be a good place to look by default."""


@dataclass(slots=True)
class Kept:
    """What layers put out in one forward: the first tensor of each by its name, in the order in which they ended.

    `uses` says how often each asked layer ran; `several` are those that put out more than one tensor.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Tensor:
        """The output of a layer; raises NetworkError where it did not run or puts out no tensor of numbers."""
        if name not in self.outputs:
            often = self.uses.get(_use_of(name)[0], 0)
            why = f"it ran {often} times" if often and _use_of(name)[1] > 1 else "it did not run in this forward"
            raise NetworkError(f"Layer {name!r} put out no tensor: {why}.")
        return self.outputs[name]


def is_keras(module: object) -> bool:
    """Whether something is a layer or model of Keras."""
    return any(kind.__module__.split(".")[0] == "keras" for kind in type(module).__mro__)


def named_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Its modules by name, without itself; a Keras model's layers, `block/dense` for `dense` inside `block`."""
    if is_keras(module):
        return dict(_keras_layers(module))
    return {name: inner for name, inner in module.named_modules() if name}


def weighted_layers(module: nn.Module) -> list[str]:
    """The names of the layers that have a matrix or kernel of their own, in the order of the network."""
    return [name for name, inner in named_layers(module).items() if _has_weight(inner)]


def find_layer(module: nn.Module, name: str) -> tuple[nn.Module, int]:
    """The module of a layer, and which of its uses in a forward is meant, from 1.

    Raises NotFoundError, with the nearest names, where there is none of this name.
    """
    if not isinstance(name, str):
        raise UsageError(f"A layer is named by a text such as 'layer3.2'; this is a {type(name).__name__}.")
    known = named_layers(module)
    base, use = _use_of(name)
    # An exported program holds the second use of a module as a module of its own where it cannot be the same.
    later = f"{base}@{use - 1}"
    for place, nth in ((later, 1), (base, use)) if use > 1 else ((name, 1),):
        if place in known:
            return known[place], nth
    near = difflib.get_close_matches(name, known, 3, 0.5)
    last = ", ".join(list(known)[-8:])
    raise NotFoundError(
        f"There is no layer {name!r}.",
        hint=f"Did you mean {' or '.join(near)}?" if near else f"The last ones: {last or '(none)'}.",
    )


@contextmanager
def keeping(module: nn.Module, names: Sequence[str] | None) -> Iterator[Kept]:
    """Within the block, a forward of `module` leaves the outputs of the named layers (None: of all) in `Kept`.

    What is kept is what the layer put out, also where a later operation would write over it, and gradients reach it.
    """
    wanted = {name: find_layer(module, name) for name in (named_layers(module) if names is None else names)}
    of_module: dict[nn.Module, dict[int, str]] = {}
    for name, (inner, use) in wanted.items():
        of_module.setdefault(inner, {}).setdefault(use, name)
    kept = Kept()
    if any(isinstance(inner, torch.jit.ScriptModule) for inner in of_module):
        raise NetworkError("The layers of TorchScript cannot be looked at.", hint="Give the module that was scripted.")
    handles = [inner.register_forward_hook(_keep(kept, uses)) for inner, uses in of_module.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def last_useful_layer(module: nn.Module, forward: Any) -> str:
    """The layer at which a class activation map says most: the last convolution, with what follows in its shape.

    That is its activation or the block around it, before anything is pooled. `forward` runs the module once. Raises
    UsageError where there is none, so that the caller names a layer.
    """
    weighted = weighted_layers(module)
    with keeping(module, None) as kept:
        forward()
    order = [name for name in kept.outputs if name not in kept.several]
    ran = [name for name in order if name in weighted]
    convolutions = [name for name in ran if _is_convolution(named_layers(module)[name], kept.outputs[name])]
    if not convolutions or len(ran) - 1 - ran.index(convolutions[-1]) > _FAR:
        raise UsageError(
            "Which layer to look at is not clear: the network does not end in convolutions.",
            hint=f"Name one with layer=. The last that ran: {', '.join(order[-6:])}.",
        )
    shape = kept.outputs[convolutions[-1]].shape
    after = order[order.index(convolutions[-1]) :]
    return [name for name in after if kept.outputs[name].shape == shape and not _is_pooling(module, name)][-1]


def _keep(kept: Kept, wanted: Mapping[int, str]) -> Any:
    count = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal count
        count += 1
        for name in wanted.values():
            kept.uses[_use_of(name)[0]] = count
        if (now := wanted.get(count)) is None:
            return None
        if isinstance(output, Tensor):
            kept.outputs[now] = output
            # An operation that writes in place, such as ReLU(inplace=True), gets a copy to write on.
            return output.clone()
        first = next((value for value in _values(output) if isinstance(value, Tensor)), None)
        if first is not None:
            kept.outputs[now] = first
            kept.several.add(now)
        return None

    return hook


def _values(output: Any) -> Sequence[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    return output if isinstance(output, list | tuple) else []


def _use_of(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)@(\d+)", name)
    return (found[1], int(found[2])) if found and int(found[2]) > 1 else (name, 1)


def _keras_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    seen: set[int] = set()
    taken: set[str] = set()
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        name, n = f"{prefix}{layer.name}", 2
        while name in taken:
            name, n = f"{prefix}{layer.name}_{n}", n + 1
        taken.add(name)
        yield name, layer
        yield from _keras_layers(layer, f"{name}/")


def _has_weight(module: nn.Module) -> bool:
    """Whether a layer has a matrix or kernel of its own."""
    own: Any = module.weights if is_keras(module) and not _inside(module) else module.parameters(recurse=False)
    return any(len(weight.shape) >= 2 for weight in own)


def _inside(layer: Any) -> bool:
    return bool(list(layer._flatten_layers(include_self=False, recursive=False)))


def _is_convolution(module: nn.Module, output: Tensor) -> bool:
    """A kernel over places, with more than one place left."""
    if output.ndim < 3 or "Embedding" in type(module).__name__:
        return False
    if is_keras(module):
        return "Conv" in type(module).__name__ and output[0, ..., 0].numel() > 1
    kernels = [weight for weight in module.parameters(recurse=False) if weight.ndim == output.ndim]
    return bool(kernels) and output[0, 0].numel() > 1


def _is_pooling(module: nn.Module, name: str) -> bool:
    return "Pool" in type(named_layers(module)[name]).__name__
