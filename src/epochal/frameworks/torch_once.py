"""The common part of hooks that stand in a watched model.

A model must pickle and copy while it is watched, also to where Epochal is not installed. So a hook pickles as a method
of the standard library that takes any arguments and does nothing.
"""

from __future__ import annotations

import contextlib
from typing import Any, Protocol


class Watching(Protocol):
    """What a hook asks of the probe that it works for."""

    hook_seconds: float

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        ...


class Once:
    """A hook: `handle` while it hangs on something."""

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
