"""Hooks that work once: they catch a layer's output, a gradient or the network's inputs, and take themselves away.

A model must pickle and copy while it is watched, also to where Epochal is not installed. So a hook pickles as a method
of the standard library that takes any arguments and does nothing.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import nn

from epochal.record.probe import Activation

SAMPLE = 16_384
"""Of a larger output so many values, evenly spread, are kept."""
ROWS = 8
_WIDE = (torch.int64, torch.int32)
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Watching(Protocol):
    """What a hook asks of the probe that it works for."""

    hook_seconds: float

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        ...


class _Once:
    """A hook's common part: `handle` while it hangs on something."""

    __slots__ = ("handle", "probe")

    def __init__(self, probe: Watching) -> None:
        self.probe = probe
        self.handle: Any = None

    def disarm(self) -> None:
        """Take the hook away."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


class ActivationCatch(_Once):
    """Catches one layer's output in training mode.

    It goes into the module's dictionary of hooks directly: that is all that `register_forward_hook` does in the end,
    at thirty times the cost. The key is negative, torch's own keys are not.
    """

    __slots__ = ("_hooks", "layer", "size", "value")

    def __init__(self, probe: Watching, layer: str, module: nn.Module) -> None:
        super().__init__(probe)
        self.layer, self._hooks = layer, module._forward_hooks
        self.value: torch.Tensor | None = None
        self.size = 0

    def arm(self) -> None:
        """Wait for the layer's next output."""
        self.value = None
        self._hooks[-id(self)] = self

    def disarm(self) -> None:
        """Take the hook away."""
        self._hooks.pop(-id(self), None)

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """Copy the output at once (or, of a large one, a sample): the next layer may change it in place."""
        if torch.compiler.is_compiling() or not (module.training or self.probe.training):
            return  # what is compiled in here would run in every step from now on
        start = perf_counter()
        self._hooks.pop(-id(self), None)
        tensor = output if type(output) is torch.Tensor else _first_tensor(output)
        if tensor is not None:
            tensor = tensor.detach()
            self.size = tensor.numel()
            self.value = tensor.clone() if self.size <= SAMPLE else _sample(tensor)
        self.probe.hook_seconds += perf_counter() - start


def read_caught(caught: Sequence[tuple[str, torch.Tensor, int]]) -> list[Activation]:
    """Caught outputs (layer, values, how many there were) as arrays."""
    found = []
    for layer, value, size in caught:
        if value.layout is not torch.strided or value.is_complex():
            continue
        if value.dtype not in (torch.float32, torch.float64) or value.device.type != "cpu":
            value = value.to("cpu", torch.float64 if value.dtype in _WIDE else torch.float32)
        found.append(Activation(layer=layer, values=value.numpy().reshape(-1), size=size))
    return found


class GradientCatch(_Once):
    """Catches one parameter's gradient right after the backward pass made it."""

    __slots__ = ("index", "value")

    def __init__(self, probe: Watching, index: int) -> None:
        super().__init__(probe)
        self.index = index
        self.value: torch.Tensor | None = None

    def arm(self, parameter: torch.Tensor) -> None:
        """Wait for the parameter's next gradient."""
        self.value = None
        self.disarm()
        self.handle = parameter.register_post_accumulate_grad_hook(self)  # type: ignore[no-untyped-call]

    def __call__(self, parameter: torch.Tensor) -> None:
        """Copy the gradient: zeroing may change it in place."""
        start = perf_counter()
        self.disarm()
        if parameter.grad is not None:
            self.value = parameter.grad.detach().clone()
        self.probe.hook_seconds += perf_counter() - start


class InputCatch(_Once):
    """Catches the arguments of the network's next forward pass in training mode."""

    __slots__ = ("inputs",)

    def __init__(self, probe: Watching, root: nn.Module) -> None:
        super().__init__(probe)
        self.inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.handle = root.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Copy a few rows of the arguments."""
        if module.training and not torch.compiler.is_compiling():
            self.disarm()
            self.inputs = _copied(args, kwargs)


def _first_tensor(output: object) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


def _sample(values: torch.Tensor) -> torch.Tensor:
    """A copy of about SAMPLE values, evenly spread.

    They are taken in memory order, whatever that is. Their distance shares no factor with a dimension: one that did
    would look at the same channel or column again and again.
    """
    if values.layout is not torch.strided:
        return values
    dense = values.is_contiguous() or values.is_contiguous(
        memory_format=_LAST.get(values.dim(), torch.contiguous_format)
    )
    flat = values.as_strided((values.numel(),), (1,)) if dense else values.reshape(-1)
    distance = -(-values.numel() // SAMPLE)
    while any(math.gcd(distance, n) > 1 for n in values.shape):
        distance += 1
    return flat[::distance].clone()


def _copied(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    batch = next((t.shape[0] for t in _tensors((args, kwargs)) if t.dim()), 0)

    def small(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            rows = value.detach()
            return (rows[:ROWS] if rows.dim() and rows.shape[0] == batch else rows).clone()
        if isinstance(value, Mapping):
            return {k: small(v) for k, v in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(map(small, value)) if type(value) in (tuple, list) else value
        return value

    return small(args), small(kwargs)


def _tensors(value: object) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return [found for part in parts for found in _tensors(part)]


def as_example(args: tuple[Any, ...], kwargs: dict[str, Any], root: nn.Module) -> object:
    """Arguments of a forward pass as one example batch: a tuple, or by name where some came by name."""
    if not kwargs:
        return args
    if not args:
        return kwargs
    bound = inspect.signature(root.forward).bind(*args, **kwargs)
    return dict(bound.arguments)
