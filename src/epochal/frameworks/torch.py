"""How a PyTorch module is watched: its parameters, gradients and activations read in place, without standing hooks.

A hook is there only between `arm` and the first training forward (or backward) pass after it, which takes it away.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from epochal.errors import NetworkError
from epochal.frameworks.torch_catch import ActivationCatch, GradientCatch, InputCatch, as_example, read_caught
from epochal.record.probe import Activation, Bytes, RecordedNetwork, TensorFact

_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64", torch.bool: "BOOL",
    torch.complex64: "C64", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
# Layers whose output says nothing that the layers beside them do not say.
_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_MOST_LAYERS = 512

Place = tuple[MutableMapping[str, Any], str]


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> TorchProbe | None:
    """Return a probe when `model` is a PyTorch module."""
    if not isinstance(model, nn.Module):
        return None
    return TorchProbe(model, activations=activations, gradients=gradients)


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside what data-parallel training and `torch.compile` wrapped around it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


class TorchProbe:
    """One watched PyTorch module. Holds it weakly: a model that the user lets go of is freed."""

    framework = "torch"

    def __init__(self, model: nn.Module, *, activations: bool, gradients: bool) -> None:
        root = unwrap(model)
        self.hook_seconds = 0.0
        self._model = weakref.ref(root, lambda _: self.close())
        # Hooks of a compiled module's wrapper run as usual, those of the module inside are compiled.
        self._outer = weakref.ref(model)
        self._want_activations = activations and not _compiled(model)
        self._want_gradients = gradients
        self._places: list[Place] = []
        self._aliases: list[tuple[str, ...]] = []
        self.left_out: list[str] = []
        self._lazy: list[Place] = []
        self._names: list[str] = []
        self._like: list[tuple[torch.Size, torch.dtype, bool]] = []
        self._trainable: list[int] = []
        self._late_gradients = False
        self._catches: list[ActivationCatch] = []
        self._gradient_catches: list[GradientCatch] = []
        self._input_catch: InputCatch | None = None

    @property
    def gone(self) -> bool:
        """Whether the user let go of the model."""
        return self._model() is None

    def parameters(self) -> Sequence[TensorFact]:
        """Parameters and persistent buffers by their names in the state dict; a shared tensor once."""
        self._gather()
        facts = []
        for name, place, aliases in zip(self._names, self._places, self._aliases, strict=True):
            tensor = place[0][place[1]]
            facts.append(
                TensorFact(
                    name=name,
                    shape=tuple(tensor.shape),
                    code=_CODES[tensor.dtype],
                    itemsize=tensor.dtype.itemsize,
                    trainable=isinstance(tensor, nn.Parameter) and tensor.requires_grad,
                    aliases=aliases,
                )
            )
        self._trainable = [i for i, fact in enumerate(facts) if fact.trainable]
        return facts

    def _gather(self) -> None:
        root = self._root()
        self._lazy, self.left_out = [], []
        first: dict[int, str] = {}
        places: dict[str, Place] = {}
        aliases: dict[str, list[str]] = {}
        for name, holder, key in _stored(root):
            tensor = holder[key]
            if nn.parameter.is_lazy(tensor):
                self._lazy.append((holder, key))
                continue
            if tensor.dtype not in _CODES or tensor.is_meta or tensor.is_quantized:
                self.left_out.append(f"{name} ({'meta' if tensor.is_meta else tensor.dtype})")
                continue
            if (known := first.setdefault(id(tensor), name)) != name:
                aliases[known].append(name)
            else:
                places[name], aliases[name] = (holder, key), []
        self._names, self._places = list(places), list(places.values())
        self._aliases = [tuple(aliases[name]) for name in self._names]
        tensors = self._live()
        self._like = [(t.shape, t.dtype, t.requires_grad) for t in tensors]

    def _live(self) -> list[torch.Tensor]:
        """The tensors as they are now: a parameter may have been replaced by another object of the same name."""
        return [holder[key] for holder, key in self._places]

    def _root(self) -> nn.Module:
        root = self._model()
        if root is None:
            raise NetworkError(
                "the watched model is no longer there", hint="call run.unwatch() before letting go of it"
            )
        return root

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[torch.Tensor]:
        """Tensors over the given memory, shaped as the facts say."""
        types = {code: dtype for dtype, code in _CODES.items()}
        return [
            torch.from_numpy(place).view(types[fact.code]).view(fact.shape)
            if fact.size
            else torch.empty(fact.shape, dtype=types[fact.code])
            for place, fact in zip(places, facts, strict=True)
        ]

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all tensors, and the gradients that are there; where zeroing removed all, those that hooks caught.

        None when shapes, types or names changed.
        """
        self._root()
        try:
            sources = self._live()
        except KeyError:
            return None
        if [(t.shape, t.dtype, t.requires_grad) for t in sources] != self._like:
            return None
        if self._lazy and any(not nn.parameter.is_lazy(holder[key]) for holder, key in self._lazy):
            return None
        targets: list[torch.Tensor] = into  # type: ignore[assignment]
        there: Sequence[int] = ()
        if gradients_into is not None and self._trainable:
            there, grads = self._gradients(sources)
            places: list[torch.Tensor] = gradients_into  # type: ignore[assignment]
            targets = targets + (places if len(there) == len(places) else [places[k] for k in there])
            sources = sources + grads
        if targets:
            with torch.no_grad():
                torch._foreach_copy_(targets, sources)
        return there

    def _gradients(self, tensors: list[torch.Tensor]) -> tuple[Sequence[int], list[torch.Tensor]]:
        """Which trainable tensors have a gradient, and these."""
        caught = {c.index: c.value for c in self._gradient_catches if c.value is not None}
        if caught:
            grads = [caught.get(k) for k in range(len(self._trainable))]
        else:
            grads = [tensors[i].grad for i in self._trainable]
        there = [k for k, grad in enumerate(grads) if grad is not None]
        if not there:
            self._late_gradients = True
        found = [g if g.layout is torch.strided else g.to_dense() for g in grads if g is not None]
        return there, found

    def prefer_hooks(self) -> None:
        """Catch gradients in the backward pass from now on: the training zeroes them before it logs."""
        self._late_gradients = True

    def arm(self) -> None:
        """Catch each layer's output at the next training forward pass, and gradients if they are gone at log time."""
        root = self._root()
        if self._want_activations:
            for catch in self._catches:
                catch.disarm()
            if not self._catches:
                self._catches = [ActivationCatch(self, name, m) for name, m in _layers(root)]
            for catch in self._catches:
                catch.arm()
        if self._want_gradients and self._late_gradients:
            live = [self._places[i][0][self._places[i][1]] for i in self._trainable]
            known = {c.index: c for c in self._gradient_catches}
            self._gradient_catches = [known.get(k) or GradientCatch(self, k) for k in range(len(live))]
            for gradient_catch, parameter in zip(self._gradient_catches, live, strict=True):
                gradient_catch.arm(parameter)

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        root = self._model()
        return root is not None and root.training

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """Outputs of the layers that ran since `arm`, in the order of the modules; read when called."""
        caught = [(c.layer, c.value, c.size) for c in self._catches if c.value is not None]
        for catch in self._catches:
            catch.value = None
        return partial(read_caught, caught)

    def network(self, inputs: object) -> RecordedNetwork:
        """Export the network and draw it; where it cannot be exported, from a forward pass, else its parameters."""
        from epochal.frameworks.torch_graph import build_graph, export_network, parameter_graph

        root = self._root()
        if inputs is None:
            return RecordedNetwork(graph=parameter_graph(root))
        inputs = as_tensors(inputs, root)
        try:
            program, graph = export_network(root, inputs)
            return RecordedNetwork(graph=graph, program=program)
        except NetworkError as error:
            trouble = error.message
        try:
            return RecordedNetwork(graph=build_graph(root, inputs, note=trouble), trouble=trouble)
        except NetworkError as error:
            return RecordedNetwork(graph=parameter_graph(root, note=trouble), trouble=f"{trouble}; {error.message}")

    def await_inputs(self) -> None:
        """Keep a few rows of the next training batch."""
        outer = self._outer()
        if outer is not None and not isinstance(outer, torch.jit.ScriptModule):  # which takes no such hook
            self._input_catch = InputCatch(self, outer)

    def caught_inputs(self) -> object:
        """The inputs kept, as one example batch; None while none came."""
        catch = self._input_catch
        if catch is None or catch.inputs is None:
            return None
        self._input_catch = None
        args, kwargs = catch.inputs
        return as_example(args, kwargs, self._root())

    def close(self) -> None:
        """Take all hooks away."""
        for catch in (*self._catches, *self._gradient_catches):
            catch.disarm()
        if self._input_catch is not None:
            self._input_catch.disarm()
        self._catches, self._gradient_catches, self._input_catch = [], [], None
        self._places, self._aliases, self._names = [], [], []


def as_tensors(inputs: object, root: nn.Module) -> object:
    """One example batch with numpy arrays made tensors, on the model's device."""
    import numpy as np

    device = next((t.device for t in root.parameters()), torch.device("cpu"))
    if isinstance(inputs, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(inputs))
        wanted = next((t.dtype for t in root.parameters() if t.is_floating_point()), torch.float32)
        return tensor.to(device, wanted if tensor.is_floating_point() else tensor.dtype)
    if isinstance(inputs, torch.Tensor):
        return inputs.detach().to(device)
    if isinstance(inputs, dict):
        return {k: as_tensors(v, root) for k, v in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(as_tensors(v, root) for v in inputs)
    return inputs


def _stored(root: nn.Module) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """Name, owner and key of everything that the state dict holds, shared modules under each of their names."""
    if isinstance(root, torch.jit.ScriptModule):
        state = dict(root.state_dict(keep_vars=True))
        yield from ((name, state, name) for name in state if isinstance(state[name], torch.Tensor))
        return
    for prefix, module in root.named_modules(remove_duplicate=False):
        dot = prefix + "." if prefix else ""
        for holder, skipped in ((module._parameters, ()), (module._buffers, module._non_persistent_buffers_set)):
            for key, tensor in holder.items():
                if tensor is not None and key not in skipped:
                    yield dot + key, holder, key


def _layers(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules whose outputs are kept: those without children, and those with parameters of their own."""
    found = [
        (name or "output", module)
        for name, module in root.named_modules()
        if not isinstance(module, (*_SILENT, torch.jit.ScriptModule))
        and (module._parameters or not any(True for _ in module.children()))
        and not isinstance(module, nn.ParameterList | nn.ParameterDict)
    ]
    if len(found) > _MOST_LAYERS:
        found = [(name, m) for name, m in found if m._parameters][:_MOST_LAYERS]
    return found


def _compiled(model: nn.Module) -> bool:
    """Whether calls run as one compiled program, in which a layer's hook would start a new compilation."""
    return hasattr(model, "_orig_mod") or any(getattr(m, "_compiled_call_impl", None) for m in model.modules())


__all__ = ["TorchProbe", "as_tensors", "probe", "unwrap"]
