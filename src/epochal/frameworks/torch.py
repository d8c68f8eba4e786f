"""How a PyTorch module is watched: its parameters, gradients and activations read in place, without standing hooks.

Hooks are there only while a look is near, and none is left when watching ends. What they do is told where they are:
`torch_gradients.py`, `torch_catch.py`, `torch_compiled.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from epochal.errors import NetworkError
from epochal.frameworks import torch_device
from epochal.frameworks.torch_catch import Outputs, as_example, copied_inputs
from epochal.frameworks.torch_compiled import CallCatch, Shadow, compiled_parts, unwrap, why_not
from epochal.frameworks.torch_gradients import Gradients, inverse
from epochal.frameworks.torch_tensors import Tensors, bind, is_spread
from epochal.record.probe import Activation, Bytes, Late, RecordedNetwork, TensorFact


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> TorchProbe | None:
    """Return a probe when `model` is a PyTorch module."""
    if not isinstance(model, nn.Module):
        return None
    return TorchProbe(model, activations=activations, gradients=gradients)


class TorchProbe:
    """One watched PyTorch module. Holds it weakly: a model that the user lets go of is freed."""

    framework = "torch"

    def __init__(self, model: nn.Module, *, activations: bool, gradients: bool) -> None:
        root = unwrap(model)
        self.hook_seconds = 0.0
        self._model = weakref.ref(root, lambda _: self.close())
        # What the user calls: the module itself, or what is wrapped around it.
        self._outer = weakref.ref(model)
        self._want_activations, self._want_gradients = activations, gradients
        self._tensors = Tensors()
        self._gradients = Gradients(self, self._tensors.learning)
        if gradients:
            self._gradients.scalers.search()
        self._outputs: Outputs | None = None
        self._shadows: list[Shadow] = []
        self._inputs: CallCatch | None = None
        self._input_values: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._ring: torch_device.Ring | None = None
        self._likes: list[tuple[torch.Size, torch.dtype]] = []
        self._late: Late | None = None
        self._told: set[str] = set()
        self._untold: list[str] = []

    @property
    def gone(self) -> bool:
        """Whether the user let go of the model."""
        return self._model() is None

    @property
    def left_out(self) -> Sequence[str]:
        """Names and types of tensors that cannot be stored."""
        return self._tensors.left_out

    def troubles(self) -> Sequence[str]:
        """What the user should be told of, once each, since the last call."""
        for part in (self._gradients, self._outputs, *self._shadows):
            if part is not None and part.trouble:
                self._tell(part.trouble)
                part.trouble = ""
        untold, self._untold = self._untold, []
        return untold

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._untold.append(message)

    def parameters(self) -> Sequence[TensorFact]:
        """Parameters and persistent buffers by their names in the state dict; a shared tensor once."""
        facts = self._tensors.gather(self._root())
        places = [holder[key] for holder, key in self._tensors.places]
        sizes = [torch.Size(fact.shape) for fact in facts]
        likes = [(size, tensor.dtype) for size, tensor in zip(sizes, places, strict=True)]
        self._likes = likes + [likes[i] for i in self._tensors.trainable]
        self._ring = None
        self._gradients.renew()
        if self._tensors.sharded:
            self._tell("the parameters are spread over several processes: each process records its own part of them")
        self._drop_outputs()
        return facts

    def _root(self) -> nn.Module:
        root = self._model()
        if root is None:
            raise NetworkError(
                "the watched model is no longer there", hint="call run.unwatch() before letting go of it"
            )
        return root

    def bind(self, places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[torch.Tensor]:
        """Tensors over the given memory, shaped as the facts say."""
        return bind(places, facts)

    def stage(self, into: object, gradients_into: object = None) -> Sequence[int] | None:
        """Copy all tensors, and the gradients that the optimizer gets, as far as they are there.

        None when shapes, types or names changed. What lies on an accelerator is copied there, and `late` brings it.
        """
        self._root()
        self._late = None
        sources = self._tensors.current()
        if sources is None:
            return None
        places: list[torch.Tensor] = [*into]  # type: ignore[misc] # what `bind` made
        count = len(places)
        numbers = list(range(count))
        there: Sequence[int] = ()
        scale = None
        if gradients_into is not None and self._tensors.trainable:
            there, grads, scale = self._gradients.read()
            places += [*gradients_into]  # type: ignore[misc]
            numbers += [count + k for k in there]
            sources = sources + grads
        factor = None if scale is None else inverse(scale, scale.device)
        far = [*map(torch_device.carried, sources)]
        with torch.no_grad():
            if not any(far):
                if sources:
                    torch._foreach_copy_([places[n] for n in numbers], sources)
                if factor is not None and there:
                    torch._foreach_mul_([places[n] for n in numbers[count:]], factor.cpu())
            else:
                self._send(places, numbers, sources, far, len(there) if factor is not None else 0, factor)
        return there

    def _send(
        self,
        places: list[torch.Tensor],
        numbers: list[int],
        sources: list[torch.Tensor],
        far: list[bool],
        scaled: int,
        factor: torch.Tensor | None,
    ) -> None:
        """Copy what is near, and send for what is far."""
        if self._ring is None:
            self._ring = torch_device.Ring(self._likes)
        first_scaled = len(sources) - scaled
        for k, (number, source, away) in enumerate(zip(numbers, sources, far, strict=True)):
            if not away:
                places[number].copy_(source)
                if k >= first_scaled and factor is not None:
                    places[number].mul_(factor.cpu())
        sent = [k for k, away in enumerate(far) if away]
        self._late = self._ring.send(
            [numbers[k] for k in sent],
            [sources[k] for k in sent],
            sum(k >= first_scaled for k in sent),
            factor,
        )

    def late(self) -> Late | None:
        """What brings the values of the last `stage` from the device, None where all are there."""
        late, self._late = self._late, None
        return late

    def prefer_hooks(self) -> None:
        """Copy gradients when they are made from now on: the training zeroes them before it logs."""
        self._gradients.prefer_hooks()

    def arm(self) -> None:
        """Catch each layer's output at the next training forward pass, and watch what happens to gradients."""
        root = self._root()
        if self._want_activations:
            if self._outputs is None:
                self._find_layers(root)
            if self._outputs is not None:
                self._outputs.arm()
            for shadow in self._shadows:
                shadow.arm()
        if self._want_gradients:
            self._gradients.arm()

    def rest(self) -> None:
        """No look is near: what stands at every step goes away until `arm`."""
        self._gradients.rest()

    def _find_layers(self, root: nn.Module) -> None:
        outer = self._outer()
        if outer is None:  # the user keeps the module alone, not what was wrapped around it; "or" would ask its length
            outer = root
        parts = compiled_parts(outer)
        reason = why_not(outer) if parts else ""
        if reason:
            self._tell(f"activations of compiled parts of the network are not recorded: {reason}")
        if isinstance(root, torch.jit.ScriptModule):
            self._tell("activations of a ScriptModule are not recorded: its layers cannot be looked at")
        inside = {id(m) for part in parts for m in part.modules()}
        self._outputs = outputs = Outputs(self, root, inside)
        if not reason:
            self._shadows = [Shadow(self, part, outputs.those_in(part)) for part in parts]

    def _drop_outputs(self) -> None:
        if self._outputs is not None:
            self._outputs.disarm()
        for shadow in self._shadows:
            shadow.disarm()
        self._outputs, self._shadows = None, []

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        root = self._model()
        return root is not None and root.training

    def activations(self) -> Callable[[], Sequence[Activation]]:
        """Outputs of the layers that ran since `arm`, in the order of the modules; read when called."""
        if self._outputs is None:
            return tuple
        outputs = self._outputs
        silent = outputs.armed and not outputs.caught and self.training and not self._shadows and not outputs.trouble
        if silent and self._gradients.passed and len(outputs):
            self._explain_silence()
        return outputs.take()

    def _explain_silence(self) -> None:
        """No layer ran by itself in a training step: catch it otherwise from now on, or say why not."""
        outer = self._outer()
        if outer is not None and compiled_parts(outer):  # compiled in place, after watching began
            self._drop_outputs()
            return
        self._tell(
            "no layer's output could be caught in a training step: the network runs inside a compiled function, was "
            "compiled after run.watch(), or its layers are not called; to record activations of a compiled network, "
            "watch what torch.compile(model) returned"
        )

    def network(self, inputs: object) -> RecordedNetwork:
        """Export the network and draw it; where it cannot be exported, from a forward pass, else its parameters."""
        from epochal.frameworks.torch_graph import build_graph, export_network, parameter_graph

        root = self._root()
        if inputs is None:
            return RecordedNetwork(graph=parameter_graph(root))
        if is_spread(root):
            # One process alone that ran it would wait for the others forever, and they for it.
            trouble = "its parameters are spread over several processes, and it cannot be run by one of them"
            return RecordedNetwork(graph=parameter_graph(root, note=trouble), trouble=trouble)
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

    def answers(self, inputs: object, rows: int) -> tuple[npt.NDArray[Any], float] | None:
        """What the network says of examples, and what that cost in seconds; None while it cannot be asked."""
        from epochal.frameworks.torch_answers import ask_network

        return ask_network(self._root(), inputs, rows)

    def await_inputs(self) -> None:
        """Keep a few rows of the next training batch."""
        outer = self._outer()
        if outer is not None and not isinstance(outer, torch.jit.ScriptModule):  # which takes no such hook
            self._inputs = CallCatch(self, outer, self._keep_inputs)
            self._inputs.arm()

    def _keep_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._input_values = copied_inputs(args, kwargs)

    def caught_inputs(self) -> object:
        """The inputs kept, as one example batch; None while none came."""
        if self._input_values is None:
            return None
        args, kwargs = self._input_values
        self._inputs = self._input_values = None
        return as_example(args, kwargs, self._root())

    def close(self) -> None:
        """Take all hooks away."""
        self._drop_outputs()
        self._gradients.close()
        if self._inputs is not None:
            self._inputs.disarm()
        self._inputs = self._input_values = self._ring = self._late = None
        self._tensors.forget()


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


__all__ = ["TorchProbe", "as_tensors", "probe", "unwrap"]
