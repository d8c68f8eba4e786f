"""A network that a trainer object trains, for Lightning and Transformers: where its inputs come in, when a step ends.

A training step of such a trainer does more than call the network: a LightningModule may only hold the network that its
`training_step` calls, and batches hold labels, which the network needs in training alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import nn

from epochal.frameworks.torch import TorchProbe
from epochal.frameworks.torch_catch import as_example, copied_inputs
from epochal.frameworks.torch_compiled import CallCatch
from epochal.record.probe import RecordedNetwork

_UNWRITTEN = ("LightningModule.forward", "_forward_unimplemented", "Module._forward_unimplemented")


class Watched:
    """What a trainer's callback hands to `Run.watch` instead of the module itself, and tells of the training's course.

    Inputs called as one of `targets` are no inputs of the network that is drawn. A call for which `outside` says yes
    is none of the network: it comes from the trainer around it.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        targets: Collection[str] = (),
        outside: Callable[[nn.Module], bool] = lambda _: False,
    ) -> None:
        self._module: nn.Module | None = module
        self._targets, self._outside = frozenset(targets), outside
        self._probe: TrainedProbe | None = None

    def epochal_probe(self, *, activations: bool, gradients: bool) -> TrainedProbe:
        """Look at the module as it is trained."""
        module, self._module = self._module, None  # it belongs to the user
        if module is None:
            raise RuntimeError("a module is watched once")
        self._probe = TrainedProbe(
            module, activations=activations, gradients=gradients, targets=self._targets, outside=self._outside
        )
        return self._probe

    def expect_look(self) -> None:
        """The next step is one that will be looked at: catch what layers put out in it, not in one long before."""
        if self._probe is not None and not self._probe.gone:
            self._probe.arm()

    def end_step(self) -> None:
        """A batch is done: what layers put out later belongs to another."""
        if self._probe is not None:
            self._probe.end_step()


class TrainedProbe(TorchProbe):
    """A PyTorch module inside a trainer."""

    def __init__(
        self,
        model: nn.Module,
        *,
        activations: bool,
        gradients: bool,
        targets: frozenset[str],
        outside: Callable[[nn.Module], bool],
    ) -> None:
        super().__init__(model, activations=activations, gradients=gradients)
        self._targets, self._outside = targets, outside
        self._entrances: dict[str, CallCatch] = {}
        self._entered: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._path = ""
        self._whole: object = None

    def end_step(self) -> None:
        """Catch no more outputs, if any were."""
        if self._outputs is not None and self._outputs.caught:
            self._outputs.disarm()

    def await_inputs(self) -> None:
        """Keep a few rows of what the network gets in the next training batch, or the part that holds all of it."""
        outer = self._outer()
        for path, module in holders(self._root()):
            caller = module if path or outer is None else outer
            self._entrances[path] = CallCatch(self, caller, partial(self._enter, path, module))
            self._entrances[path].arm()

    def _enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._outside(module):
            self._entrances[path].arm()
        else:
            self._entered[path] = copied_inputs(args, kwargs)

    def caught_inputs(self) -> object:
        """The inputs of the outermost part that was called, as one example batch; None while there are none."""
        if not self._entered:
            return None
        self._path = min(self._entered, key=len)
        args, kwargs = self._entered[self._path]
        self._leave()
        module = self._root().get_submodule(self._path)
        fewer = {name: value for name, value in kwargs.items() if name not in self._targets}
        self._whole = as_example(args, kwargs, module) if len(fewer) < len(kwargs) else None
        return as_example(args, fewer, module)

    def _leave(self) -> None:
        for catch in self._entrances.values():
            catch.disarm()
        self._entrances, self._entered = {}, {}

    def network(self, inputs: object) -> RecordedNetwork:
        """Export and draw the network, or the part of it that is called; with its targets, where it needs them."""
        root = self._root()
        if inputs is not None and not self._path and _is_unwritten(root):
            self._path = next((path for path, m in holders(root) if not _is_unwritten(m)), "")
        found = self._network(root, inputs)
        whole, self._whole = self._whole, None
        if whole is not None and found.graph.source == "parameters":
            found = self._network(root, whole)
        return found

    def _network(self, root: nn.Module, inputs: object) -> RecordedNetwork:
        if not self._path or inputs is None:
            return super().network(inputs)
        around = within(root, self._path)  # held here: probes hold modules weakly
        return TorchProbe(around, activations=False, gradients=False).network(inputs)

    def close(self) -> None:
        """Take all hooks away."""
        super().close()
        self._leave()
        self._whole = None


def holders(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """The module and the parts of it, each inside the one before, that hold all of its parameters."""
    found = [("", root)]
    wanted = {id(p) for p in root.parameters()}
    inner: tuple[str, nn.Module] | None = ("", root)
    while wanted and inner is not None:
        path, module = inner
        inner = next(
            (
                (f"{path}.{name}" if path else name, child)
                for name, child in module.named_children()
                if wanted <= {id(p) for p in child.parameters()}
            ),
            None,
        )
        if inner is not None:
            found.append(inner)
    return found


def within(root: nn.Module, path: str) -> nn.Module:
    """A module that calls the part of `root` at `path`, whose tensors have the names that they have in `root`."""
    part = root.get_submodule(path)

    def forward(_: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return part(*args, **kwargs)

    inputs = inspect.signature(part.forward)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    forward.__signature__ = inputs.replace(parameters=[itself, *inputs.parameters.values()])  # type: ignore[attr-defined]
    around: nn.Module = type(type(root).__name__, (nn.Module,), {"forward": forward})()
    holder = around
    *outer, last = path.split(".")
    for name in outer:
        holder.add_module(name, nn.Module())
        holder = holder.get_submodule(name)
    holder.add_module(last, part)
    around.training = part.training
    return around


def _is_unwritten(module: nn.Module) -> bool:
    return getattr(type(module).forward, "__qualname__", "") in _UNWRITTEN


__all__ = ["TrainedProbe", "Watched", "holders", "within"]
