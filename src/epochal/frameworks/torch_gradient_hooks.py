"""The hooks on parameters that `torch_gradients.py` learns from what happens to gradients."""

from __future__ import annotations

import weakref
from time import thread_time
from typing import Protocol

import torch

from epochal.frameworks.torch_once import Once, Watching
from epochal.frameworks.torch_tensors import local

HOOK_SECONDS = 3e-6
"""What PyTorch's way to a hook and back takes, which cannot be measured inside it."""


class Owner(Protocol):
    """Whom a sentinel tells."""

    probe: Watching

    def backward(self, sentinel: Sentinel, parameter: torch.Tensor) -> None:
        """A backward pass has come by."""
        ...


class Sentinel(Once):
    """Counts the gradients that backward passes leave in one parameter."""

    __slots__ = ("count", "index", "owner", "parameter", "passes", "version")

    def __init__(self, owner: Owner, index: int) -> None:
        super().__init__(owner.probe)
        self.owner, self.index = owner, index
        self.passes = self.count = 0
        self.version = -1
        self.parameter: weakref.ref[torch.Tensor] | None = None

    def arm(self, parameter: torch.Tensor) -> None:
        """Stand at this parameter."""
        self.parameter = weakref.ref(parameter)
        if parameter.requires_grad:
            self.handle = parameter.register_post_accumulate_grad_hook(self)  # type: ignore[no-untyped-call]

    def __call__(self, parameter: torch.Tensor) -> None:
        """A backward pass has left a gradient here."""
        if not torch.compiler.is_compiling():
            self.passes += 1
            self.count += 1
            self.version = parameter._version
            self.owner.backward(self, parameter)

    @property
    def mark(self) -> tuple[int, int] | None:
        """What tells the parameter's gradient from another one, and from itself changed; None where there is none."""
        parameter = None if self.parameter is None else self.parameter()
        return None if parameter is None else mark(parameter)


class Light(Once):
    """Notes at each backward pass which version of one parameter its gradient is for: every step makes a new one."""

    __slots__ = ("looks", "parameter", "passes", "version")

    def __init__(self, probe: Watching, parameter: torch.Tensor) -> None:
        super().__init__(probe)
        self.parameter = weakref.ref(parameter)
        self.looks = self.passes = 0
        self.version = -1

    @property
    def stands(self) -> bool:
        """Whether it stands there."""
        return self.handle is not None

    def arm(self) -> None:
        """Stand at the parameter."""
        parameter = self.parameter()
        if self.handle is None and parameter is not None and parameter.requires_grad:
            self.passes, self.version = 0, -1
            self.handle = parameter.register_post_accumulate_grad_hook(self)  # type: ignore[no-untyped-call]

    def __call__(self, parameter: torch.Tensor) -> None:
        """A backward pass has left a gradient here."""
        if not torch.compiler.is_compiling():
            self.version = parameter._version
            self.passes += 1

    def stepped(self) -> bool:
        """Whether a step came after the last backward pass; begins to count passes anew."""
        parameter, passes = self.parameter(), self.passes
        self.probe.hook_seconds += passes * HOOK_SECONDS
        self.looks += 1
        self.passes = 0
        return parameter is not None and passes > 0 and parameter._version != self.version


class GradientCatch(Once):
    """Copies one parameter's gradient right after a backward pass made it, once."""

    __slots__ = ("index", "value")

    def __init__(self, probe: Watching, index: int) -> None:
        super().__init__(probe)
        self.index = index
        self.value: torch.Tensor | None = None

    def arm(self, parameter: torch.Tensor) -> None:
        """Wait for the parameter's next gradient."""
        self.value = None
        self.disarm()
        if parameter.requires_grad:
            self.handle = parameter.register_post_accumulate_grad_hook(self)  # type: ignore[no-untyped-call]

    def __call__(self, parameter: torch.Tensor) -> None:
        """Copy the gradient: zeroing may change it in place."""
        if torch.compiler.is_compiling():
            return
        start = thread_time()
        self.disarm()
        if parameter.grad is not None:
            self.value = local(parameter.grad.detach()).clone()
        self.probe.hook_seconds += thread_time() - start


def mark(tensor: torch.Tensor) -> tuple[int, int] | None:
    """What tells a tensor's gradient from another one, and from itself changed; None where there is none."""
    gradient = tensor.grad
    return None if gradient is None else (id(gradient), gradient._version)
