"""Hooks that catch what layers put out, and what the network was given, in one training forward pass.

They are there only between `arm` and the end of the first training forward pass after it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from time import thread_time
from typing import Any

import torch
from torch import nn

from epochal.frameworks.torch_device import Delivery
from epochal.frameworks.torch_once import Once, Watching
from epochal.frameworks.torch_outputs import Kept, axis_of, every_tensor, first_tensor, is_small, plain, unit_axis
from epochal.record.probe import Activation

ROWS = 8
"""Of a training batch so many rows are kept as the example that the network is drawn with."""
_MOST_LAYERS = 512
_CALL_SECONDS = 8e-6
"""What a call of a hook takes where it is not measured, PyTorch's way to it and back included."""
_MOST_CALLS = 1024
"""Where no forward pass of the network itself ends the catching, this many calls of a layer do."""
# Layers whose output says nothing that the layers beside them do not say.
_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


_Found = tuple[str, Kept | None, torch.Tensor | None, int | None]


class LayerCatch(Once):
    """Keeps one layer's outputs in training mode, of all its calls until the network's forward pass ends.

    It goes into the module's dictionary of hooks directly: that is all that `register_forward_hook` does in the end,
    at thirty times the cost. The key is negative, torch's own keys are not.
    """

    __slots__ = ("_hooks", "_kind", "axis", "first", "kept", "layer", "owner")

    def __init__(self, owner: Outputs, layer: str, module: nn.Module) -> None:
        super().__init__(owner.probe)
        self.owner, self.layer, self._hooks = owner, layer, module._forward_hooks
        self._kind = unit_axis(module)
        # The first output where it is a small one, and along which dimension its units lie; else all are in `kept`.
        self.first: torch.Tensor | None = None
        self.axis: int | None = None
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
        start = 0.0
        try:
            if self.first is None and self.kept is None and is_small(output):
                # As little as can be, and not even the time is asked for: in a small network microseconds count.
                self.first = output.detach().clone()
                self.axis = self._axis_of(output)
                self.probe.hook_seconds += _CALL_SECONDS
                return
            start = thread_time()
            self._keep(output)
        except Exception as error:  # noqa: BLE001 - inside the user's forward pass, which must not fail for us
            self.forget()
            self.disarm()
            self.owner.trouble = (
                f"an output of {self.layer} could not be read and is left out: {type(error).__name__}: {error}"
            )
        self.probe.hook_seconds += thread_time() - start

    def _keep(self, output: object) -> None:
        found = output if isinstance(output, torch.Tensor) else first_tensor(output)
        tensor = None if found is None else plain(found)
        if tensor is None:
            return
        if self.kept is None:
            self.kept = Kept() if self.first is None else Kept.of(self.first, self.axis)
            self.first = None
        self.kept.add(tensor, self._axis_of(tensor))
        if self.kept.calls >= _MOST_CALLS:
            self.disarm()

    def _axis_of(self, output: torch.Tensor) -> int | None:
        axis = axis_of(output, self._kind, self.owner.before)
        self.owner.before = None if axis is None else (output.shape, axis)
        return axis

    @property
    def caught(self) -> bool:
        """Whether there is an output."""
        return self.first is not None or self.kept is not None

    def forget(self) -> None:
        """Let go of what was kept."""
        self.first = self.kept = None


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
            self.owner.disarm()
            self.probe.hook_seconds += _CALL_SECONDS


class Outputs:
    """The layers' outputs in one training forward pass of `root`.

    Modules of whose ids `compiled` speaks are caught only by those who ask for them (`those_in`).
    """

    def __init__(self, probe: Watching, root: nn.Module, compiled: Collection[int]) -> None:
        self.probe = probe
        self.trouble = ""
        self.armed = self._hanging = False
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
        self.armed = self._hanging = True
        for catch in self._catches:
            catch.forget()
        for catch in self._alone:
            catch.arm()
        if self._end is not None:
            self._end.disarm()  # to come after the catches
            self._end.arm()

    def disarm(self) -> None:
        """Take the hooks away; what was caught stays to be taken."""
        self._hanging = False
        for catch in self._catches:
            catch.disarm()
        if self._end is not None:
            self._end.disarm()

    @property
    def caught(self) -> bool:
        """Whether any layer was caught."""
        return any(catch.caught for catch in self._catches)

    def take(self) -> Callable[[], Sequence[Activation]]:
        """What was caught; the answer is read on the writer's thread."""
        self.armed = False
        found = [(c.layer, c.kept, c.first, c.axis) for c in self._catches if c.caught]
        if not found:
            # Hooks stay: taking away what was compiled in, and runs as nothing, would make it compile again.
            return tuple
        if self._hanging:
            self.disarm()
        for catch in self._catches:
            catch.forget()
        parts = [kept.tensors() for _, kept, _, _ in found if kept is not None]
        return _Reading(found, Delivery([t for p in parts for t in p]) if parts else None, [len(p) for p in parts])


class _Reading:
    """Makes facts of what was caught, once it has come from the device."""

    __slots__ = ("_counts", "_delivery", "_found")

    def __init__(self, found: list[_Found], delivery: Delivery | None, counts: list[int]) -> None:
        self._found, self._delivery, self._counts = found, delivery, counts

    def __call__(self) -> Sequence[Activation]:
        read = iter(() if self._delivery is None else self._delivery.read())
        counts = iter(self._counts)
        made = []
        for layer, kept, first, axis in self._found:
            if kept is not None:
                made.append(kept.activation(layer, [*islice(read, next(counts))]))
            elif first is not None:
                kept = Kept.of(first, axis)
                made.append(kept.activation(layer, kept.tensors()))
        return made


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
