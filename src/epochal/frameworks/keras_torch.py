"""Keras on the torch backend: variables are torch parameters, gradients lie in their `.grad` when a step is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from epochal.frameworks import torch_device
from epochal.frameworks.keras_names import calls_seen
from epochal.frameworks.keras_outputs import first_tensor, unit_axis
from epochal.frameworks.keras_steps import Listened, RootCall, Steps, batch_of, described, said, timed
from epochal.frameworks.torch_outputs import Kept, plain
from epochal.frameworks.torch_tensors import bind
from epochal.record.probe import Activation, Late

__all__ = ["TorchBackend"]


class TorchBackend:
    """See keras_steps.Backend."""

    def __init__(self) -> None:
        self.hook_seconds = 0.0
        self.trouble = ""
        self.inputs: Any = None
        self.steps = Steps(self._catch)
        self.late: Late | None = None
        self._root = RootCall(self._hear)
        self._layers: Listened = ()
        self._compiled = False
        self._outputs: dict[str, Kept] = {}
        self._before: tuple[tuple[int, ...], int] | None = None
        self._scaler: Any = None
        self._scale: torch.Tensor | float | None = None
        self._heard = False
        self._hooked = False
        self._caught: dict[int, torch.Tensor] = {}
        self._handles: dict[int, Any] = {}
        self._ring: torch_device.Ring | None = None

    def bind(self, places: Sequence[Any], facts: Sequence[Any]) -> list[torch.Tensor]:
        """Tensors over the given memory."""
        self._ring = None
        return bind(places, facts)

    def prepare(self, model: Any) -> None:
        """Nothing to do: the variables are what training changes."""

    def stage(self, targets: Any, variables: Sequence[Any], slopes_into: Any, trained: Sequence[Any]) -> list[int]:
        """Copy the variables and gradients; gradients of a scaled loss are divided by the scale."""
        self.late = None
        sources = [variable._value.detach() for variable in variables]
        places, numbers, there, factor = list(targets), list(range(len(targets))), [], None
        if slopes_into is not None:
            slopes = [self._caught.get(id(v), v._value.grad) for v in trained]
            there = [k for k, slope in enumerate(slopes) if slope is not None]
            # A loop of the user's own may zero them before it logs.
            self._hooked |= self._heard and bool(trained) and not there
            sources += [s if s.layout is torch.strided else s.to_dense() for s in slopes if s is not None]
            numbers += [len(places) + k for k in there]
            places += slopes_into
            factor = self._factor() if there else None
        with torch.no_grad():
            if any(torch_device.carried(source) for source in sources):
                if self._ring is None:
                    likes = [(v._value.shape, v._value.dtype) for v in (*variables, *trained)]
                    self._ring = torch_device.Ring(likes)
                self.late = self._ring.send(numbers, sources, len(there) if factor is not None else 0, factor)
            elif sources:
                torch._foreach_copy_([places[n] for n in numbers], sources)
                if factor is not None:
                    torch._foreach_mul_([places[n] for n in numbers[len(targets) :]], factor)
        return there

    def _factor(self) -> torch.Tensor | None:
        scale = self._scale
        if scale is None and self._scaler is not None:
            scale = self._scaler._value.detach()
        if scale is None:
            return None
        # Kept as the scale was in the step that made the gradients: the optimizer may have changed it since.
        return torch.as_tensor(scale).reciprocal()

    def arm(self, model: Any, layers: Listened) -> None:
        """See inside the next training step."""
        self._layers = layers
        self._compiled = bool(getattr(model, "jit_compile", False)) and getattr(model, "compiled", False)
        self._outputs.clear()
        optimizer = getattr(model, "optimizer", None)
        self._scaler = getattr(optimizer, "dynamic_scale", None)
        self._scale = getattr(optimizer, "loss_scale_factor", None)
        if self._scaler is not None:
            self.steps.before = self._note_scale
        if self.steps.install(model):
            self._root.disarm()
            self.steps.armed = True
        else:
            self._root.arm(model)
        if self._hooked:
            self._hook(model)

    def _note_scale(self, args: tuple[Any, ...]) -> None:
        """Before each step: with which scale its gradients will be made."""
        if self._scaler is not None:
            self._scale = self._scaler._value.detach().clone()
            self.steps.before = self._note_scale

    def _hook(self, model: Any) -> None:
        self._unhook()
        self._caught.clear()
        for variable in model.trainable_weights:
            keep = partial(self._keep_slope, id(variable))
            self._handles[id(variable)] = variable._value.register_post_accumulate_grad_hook(keep)

    def _keep_slope(self, key: int, parameter: torch.Tensor) -> None:
        """Once: the next backward pass is another step's."""
        with timed(self):
            self._handles.pop(key).remove()
            if parameter.grad is not None:
                self._caught[key] = parameter.grad.detach().clone()

    def _unhook(self) -> None:
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}

    def _catch(self, plain_step: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.inputs is None:
            self.inputs = described(batch_of(args[0][0]))
        if self._compiled:
            self.trouble = "activations of a model compiled with jit_compile=True are not recorded on the torch backend"
            return plain_step(*args)
        with self._listening():
            return plain_step(*args)

    def _hear(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return call(*args, **kwargs)
        self._heard = True
        if self.inputs is None:
            self.inputs = described(args[0] if len(args) == 1 else args)
        with self._listening():
            return call(*args, **kwargs)

    def _listening(self) -> Any:
        self._before = None
        self._outputs = {}
        names = {id(layer): name for name, layer in self._layers}

        def note(layer: Any, args: Any, kwargs: Any, result: Any) -> None:
            with timed(self), torch.no_grad():
                try:
                    self._keep(names[id(layer)], layer, result)
                except Exception as error:  # noqa: BLE001 - inside the user's step, which must not fail for us
                    self.trouble = f"an output of {names[id(layer)]} is left out: {said(error)}"

        return calls_seen([layer for _, layer in self._layers], note)

    def _keep(self, name: str, layer: Any, result: Any) -> None:
        found = first_tensor(result)
        tensor = plain(found) if isinstance(found, torch.Tensor) else None
        if tensor is None:
            return
        shape = tuple(tensor.shape)
        axis = unit_axis(layer, shape, self._before)
        self._before = None if axis is None else (shape, axis)
        self._outputs.setdefault(name, Kept()).add(tensor, axis)

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """What the layers put out in the last step that was seen inside."""
        kept, self._outputs = self._outputs, {}
        parts = [k.tensors() for k in kept.values()]
        return partial(_read, kept, [len(p) for p in parts], torch_device.deliver([t for p in parts for t in p]))

    def prefer_hooks(self) -> None:
        """Copy gradients when they are made from now on."""
        self._hooked = True

    def close(self) -> None:
        """Leave no trace in the model."""
        self.steps.remove()
        self._root.disarm()
        self._unhook()
        self._caught.clear()


def _read(kept: dict[str, Kept], counts: list[int], delivery: torch_device.Delivery) -> list[Activation]:
    read = delivery.read()
    found, at = [], 0
    for (layer, one), count in zip(kept.items(), counts, strict=True):
        found.append(one.activation(layer, read[at : at + count]))
        at += count
    return found
