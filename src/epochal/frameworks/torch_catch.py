"""Hooks that catch what layers put out, and what the network was given, in one training forward pass.

They are there only between `arm` and the end of the first training forward pass after it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from time import thread_time
from typing import Any

import torch
from torch import nn

from epochal.frameworks.torch_device import Delivery
from epochal.frameworks.torch_once import Once, Watching
from epochal.frameworks.torch_outputs import Kept, every_tensor, first_tensor, plain, unit_axis
from epochal.record.probe import Activation

ROWS = 8
"""Of a training batch so many rows are kept as the example that the network is drawn with."""
_MOST_LAYERS = 512
_MOST_CALLS = 1024
"""Where no forward pass of the network itself ends the catching, this many calls of a layer do."""
# Layers whose output says nothing that the layers beside them do not say.
_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class LayerCatch(Once):
    """Keeps one layer's outputs in training mode, of all its calls until the network's forward pass ends.

    It goes into the module's dictionary of hooks directly: that is all that `register_forward_hook` does in the end,
    at thirty times the cost. The key is negative, torch's own keys are not.
    """

    __slots__ = ("_hooks", "kept", "layer", "owner")

    def __init__(self, owner: Outputs, layer: str, module: nn.Module) -> None:
        super().__init__(owner.probe)
        self.owner, self.layer, self._hooks = owner, layer, module._forward_hooks
        self.kept: Kept | None = None

    def arm(self) -> None:
        """Wait for the layer's next outputs."""
        self._hooks[-id(self)] = self

    def disarm(self) -> None:
        """Take the hook away."""
        self._hooks.pop(-id(self), None)

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """Keep the output."""
        # What is compiled in here would run in every step from now on.
        if torch.compiler.is_compiling() or not (module.training or self.probe.training):
            return
        start = thread_time()
        try:
            self._keep(module, output)
        except Exception as error:  # noqa: BLE001 - inside the user's forward pass, which must not fail for us
            self.kept = None
            self.disarm()
            self.owner.trouble = (
                f"an output of {self.layer} could not be read and is left out: {type(error).__name__}: {error}"
            )
        self.probe.hook_seconds += thread_time() - start

    def _keep(self, module: nn.Module, output: object) -> None:
        found = first_tensor(output)
        tensor = None if found is None else plain(found)
        if tensor is None:
            return
        axis = unit_axis(module, tensor, self.owner.before)
        self.owner.before = None if axis is None else (tensor.shape, axis)
        if self.kept is None:
            self.kept = Kept()
        self.kept.add(tensor, axis)
        if self.kept.calls >= _MOST_CALLS:
            self.disarm()


class PassEnd(Once):
    """Hangs on the network and ends the catching when a training forward pass of it ends."""

    __slots__ = ("_hooks", "owner")

    def __init__(self, owner: Outputs, root: nn.Module) -> None:
        super().__init__(owner.probe)
        self.owner, self._hooks = owner, root._forward_hooks

    def arm(self) -> None:
        """Hang on the network, behind the catch of its own output where there is one."""
        self._hooks[-id(self)] = self

    def disarm(self) -> None:
        """Take the hook away."""
        self._hooks.pop(-id(self), None)

    def __call__(self, module: nn.Module, args: object, output: object) -> None:
        """The pass has ended."""
        if not torch.compiler.is_compiling() and (module.training or self.probe.training):
            start = thread_time()
            self.owner.disarm()
            self.probe.hook_seconds += thread_time() - start


class Outputs:
    """The layers' outputs in one training forward pass of `root`.

    Modules of whose ids `compiled` speaks are caught only by those who ask for them (`those_in`).
    """

    def __init__(self, probe: Watching, root: nn.Module, compiled: Collection[int]) -> None:
        self.probe = probe
        self.trouble = ""
        self.armed = False
        self.before: tuple[torch.Size, int] | None = None
        found = layers(root)
        self._catches = [LayerCatch(self, name, module) for name, module in found]
        self._ids = [id(module) for _, module in found]
        self._alone = [c for c, i in zip(self._catches, self._ids, strict=True) if i not in compiled]
        self._end = None if id(root) in compiled or isinstance(root, torch.jit.ScriptModule) else PassEnd(self, root)

    def __len__(self) -> int:
        return len(self._catches)

    def those_in(self, part: nn.Module) -> list[LayerCatch]:
        """The catches of a part's layers."""
        inside = {id(module) for module in part.modules()}
        return [c for c, i in zip(self._catches, self._ids, strict=True) if i in inside]

    def arm(self) -> None:
        """Catch outputs in the next training forward pass, and forget those caught before."""
        self.armed = True
        for catch in self._catches:
            catch.kept = None
        for catch in self._alone:
            catch.arm()
        if self._end is not None:
            self._end.disarm()  # to come after the catches
            self._end.arm()

    def disarm(self) -> None:
        """Take the hooks away; what was caught stays to be taken."""
        for catch in self._catches:
            catch.disarm()
        if self._end is not None:
            self._end.disarm()

    @property
    def caught(self) -> bool:
        """Whether any layer was caught."""
        return any(catch.kept is not None for catch in self._catches)

    def take(self) -> Callable[[], Sequence[Activation]]:
        """What was caught; the answer is read on the writer's thread."""
        self.armed = False
        kept = [(catch.layer, catch.kept) for catch in self._catches if catch.kept is not None]
        if not kept:
            # Hooks stay: taking away what was compiled in, and runs as nothing, would make it compile again.
            return tuple
        self.disarm()
        for catch in self._catches:
            catch.kept = None
        parts = [k.tensors() for _, k in kept]
        return _Reading(kept, [len(p) for p in parts], Delivery([t for p in parts for t in p]))


class _Reading:
    """Makes facts of what was caught, once it has come from the device."""

    __slots__ = ("_counts", "_delivery", "_kept")

    def __init__(self, kept: list[tuple[str, Kept]], counts: list[int], delivery: Delivery) -> None:
        self._kept, self._counts, self._delivery = kept, counts, delivery

    def __call__(self) -> Sequence[Activation]:
        read = self._delivery.read()
        found, at = [], 0
        for (layer, kept), count in zip(self._kept, self._counts, strict=True):
            found.append(kept.activation(layer, read[at : at + count]))
            at += count
        return found


def layers(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules whose outputs are kept: those without children, and those with parameters of their own."""
    found = [
        (name or "output", module)
        for name, module in root.named_modules()
        if not isinstance(module, (*_SILENT, torch.jit.ScriptModule))
        and (module._parameters or not any(True for _ in module.children()))
        and not isinstance(module, nn.ParameterList | nn.ParameterDict)
        # What a parametrised layer makes its weight with is no layer.
        and "parametrizations" not in name.split(".")
    ]
    if len(found) > _MOST_LAYERS:
        found = [(name, m) for name, m in found if m._parameters][:_MOST_LAYERS]
    return found


def copied_inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A few rows of the arguments of a forward pass."""
    batch = next((t.shape[0] for t in every_tensor((args, kwargs)) if t.dim() and not t.is_nested), 0)

    def small(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            rows = value.detach()
            return (rows[:ROWS] if rows.dim() and not rows.is_nested and rows.shape[0] == batch else rows).clone()
        if isinstance(value, Mapping):
            return {k: small(v) for k, v in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(map(small, value)) if type(value) in (tuple, list) else value
        return value

    return small(args), small(kwargs)


def as_example(args: tuple[Any, ...], kwargs: dict[str, Any], root: nn.Module) -> object:
    """Arguments of a forward pass as one example batch: a tuple, or by name where some came by name."""
    if not kwargs:
        return args
    if not args:
        return kwargs
    bound = inspect.signature(root.forward).bind(*args, **kwargs)
    return dict(bound.arguments)
