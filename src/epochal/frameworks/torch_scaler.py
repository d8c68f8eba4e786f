"""Which GradScaler, if any, has scaled a gradient: recorded gradients are what they would be without it.

A scaler multiplies the loss, so what the backward pass leaves in `.grad` is scaled until `unscale_` (called by the user
or by `scaler.step`). Nothing in a tensor says so. What is known here:

- a scaler is found among the live objects when watching begins, and in the call stack of `optimizer.step()`, which
  `scaler.step` calls: that also says which optimizer it serves;
- `scaler.update()` writes its scale in place, so the version of that tensor counts updates without reading its value
  from the device. An update after the last backward pass means that `scaler.step` came in between, and that has
  unscaled, also where it skipped the optimizer because of infinities.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from types import CodeType
from typing import Any

import torch

_DEEP = 16
"""So many calls lie at most between `scaler.step` and the hook of the optimizer's step (schedulers wrap it too)."""


class UnknownScaleError(Exception):
    """Several scalers could have scaled these gradients, by different factors."""


class Scalers:
    """The scalers of this process, and which optimizer each serves."""

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        # By the optimizer's id, with a weak reference to it: ids are used again.
        self._of: dict[int, tuple[weakref.ref[Any], weakref.ref[Any] | None]] = {}

    def search(self) -> None:
        """Find scalers among all objects: some tens of milliseconds, so this is done once or twice, not at a look."""
        classes = list(_classes(torch.amp.GradScaler))
        for found in gc.get_referrers(*classes):
            if isinstance(found, torch.amp.GradScaler):
                self._known.add(found)

    @property
    def known(self) -> bool:
        """Whether there is any scaler."""
        return len(self._known) > 0

    def learn(self, optimizer: Any) -> None:
        """Note who steps this optimizer; to be called from inside its step."""
        known = self._of.get(id(optimizer))
        if known is not None and known[0]() is optimizer and known[1] is not None and known[1]() is not None:
            return
        scaler = _in_the_stack()
        if scaler is not None:
            self._known.add(scaler)
        self._of[id(optimizer)] = (weakref.ref(optimizer), None if scaler is None else weakref.ref(scaler))

    def versions(self) -> dict[int, int]:
        """How often each scaler's scale was written so far."""
        return {id(s): s._scale._version for s in self._active()} if self._known else {}

    def scale(self, optimizers: set[int], at_backward: dict[int, int]) -> torch.Tensor | None:
        """The factor that gradients carry which lie there since the last backward pass, None where they carry none.

        `optimizers` are the ids of those that are known to use them; `at_backward` is what `versions` said during that
        pass. Raises UnknownScaleError.
        """
        served = [self._of[i][1] for i in optimizers if i in self._of and self._of[i][0]() is not None]
        if served:
            found = {id(s): s for ref in served if ref is not None and (s := ref()) is not None}
            candidates = [s for s in self._active() if id(s) in found]
        else:
            candidates = list(self._active())
        scaling = [s for s in candidates if not _unscaled(s, optimizers, at_backward.get(id(s)))]
        if not scaling:
            return None
        if len(scaling) > 1 and len({float(s._scale) for s in scaling}) > 1:
            raise UnknownScaleError
        scale: torch.Tensor = scaling[0]._scale
        return scale

    def _active(self) -> Iterator[Any]:
        for scaler in list(self._known):
            if scaler.is_enabled() and isinstance(getattr(scaler, "_scale", None), torch.Tensor):
                yield scaler


def _unscaled(scaler: Any, optimizers: set[int], at_backward: int | None) -> bool:
    """Whether the gradients of the last backward pass have been unscaled by this scaler."""
    updates = scaler._scale._version
    if updates != (0 if at_backward is None else at_backward):
        return True
    states = getattr(scaler, "_per_optimizer_states", {})
    stages = [state.get("stage") for i, state in states.items() if not optimizers or i in optimizers]
    return any(getattr(stage, "name", "READY") != "READY" for stage in stages)


def _in_the_stack() -> Any:
    """The scaler whose `step` is being called, None when there is none."""
    code: CodeType = torch.amp.GradScaler.step.__code__
    frame = sys._getframe(1)
    for _ in range(_DEEP):
        if frame is None or frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_code is code or frame.f_code.co_name == "step":
            owner = frame.f_locals.get("self")
            if isinstance(owner, torch.amp.GradScaler):
                return owner if owner.is_enabled() else None
    return None


def _classes(cls: type) -> Iterator[type]:
    yield cls
    further: type
    for further in cls.__subclasses__():
        yield from _classes(further)


__all__ = ["Scalers", "UnknownScaleError"]
