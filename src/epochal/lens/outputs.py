"""What all layers put out in one forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from epochal.errors import NetworkError, NotFoundError
from epochal.lens.asking import Subject
from epochal.lens.layers import find_layer, is_keras, named_layers

__all__ = ["as_array", "channel_axis", "first_tensor", "layer_outputs", "reach"]

Array = npt.NDArray[Any]


def layer_outputs(subject: Subject, batch: Tensor, layers: Sequence[str] | None) -> dict[str, Tensor]:
    """The output of each named layer (None: of all) for a batch, in the order in which they ended; no gradients.

    A module that runs several times is `name`, `name@2` and so on. What a layer put out is kept as it was, also where
    a later operation writes over it. Raises NotFoundError for a layer that there is not, NetworkError for one that did
    not run or puts out no tensor.
    """
    known = named_layers(subject.module)
    wanted = {name: (known[name], 1) if name in known else find_layer(subject.module, name) for name in layers or known}
    several = layers is None
    with subject.asking(gradients=False):
        kept = _listen(subject, batch, wanted, several=several, copied=frozenset())
        # What was written on by a way that is not seen: those are copied as they come, in a second forward.
        if spoilt := kept.spoilt():
            kept = _listen(subject, batch, wanted, several=several, copied=spoilt)
    if layers is not None and (missing := [name for name in layers if name not in kept.found]):
        raise NetworkError(f"Layer {missing[0]!r} put out no tensor: it did not run in this forward, or so often.")
    if not kept.found:
        raise NotFoundError("The network has no layers that put out tensors.")
    return {name: kept.found[name] for name in layers} if layers is not None else kept.found


class _Kept(TorchFunctionMode):
    """Outputs by name; while it is entered, one that is about to be written on is copied first."""

    def __init__(self, copied: frozenset[str]) -> None:
        super().__init__()
        self.found: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}
        self._lying: dict[int, list[str]] = {}
        self._copied = copied

    def keep(self, name: str, tensor: Tensor) -> None:
        """Keep what a layer has just put out."""
        self.found[name] = kept = tensor.clone() if name in self._copied else tensor
        self._versions[name] = kept._version
        if kept is tensor:
            self._lying.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)

    def spoilt(self) -> frozenset[str]:
        """Those that were written on nevertheless."""
        return frozenset(name for name, tensor in self.found.items() if tensor._version != self._versions[name])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Copy before a function that writes, then call it."""
        named = kwargs or {}
        if _writes(func, named):
            for value in (args[0] if args else None, named.get("input"), named.get("out")):
                if isinstance(value, Tensor):
                    for name in self._lying.pop(value.untyped_storage().data_ptr(), ()):
                        self.found[name] = self.found[name].clone()
                        self._versions[name] = self.found[name]._version
        return func(*args, **named)


def _writes(func: Any, named: Mapping[str, Any]) -> bool:
    """Whether a call changes its first argument (or `out`): `relu_`, `+=`, `x[i] = y`, `inplace=True`."""
    name = getattr(func, "__name__", "")
    if named.get("inplace") is True or named.get("out") is not None or name in ("__setitem__", "__set__"):
        return True
    return (name.endswith("_") and not name.endswith("__")) or (name.startswith("__i") and name not in _READING)


_READING = frozenset({"__init__", "__index__", "__int__", "__invert__", "__iter__"})


def _listen(
    subject: Subject,
    batch: Tensor,
    wanted: Mapping[str, tuple[nn.Module, int]],
    *,
    several: bool,
    copied: frozenset[str],
) -> _Kept:
    of_module: dict[nn.Module, dict[int, str]] = {}
    for name, (module, use) in wanted.items():
        of_module.setdefault(module, {}).setdefault(use, name)
    kept = _Kept(copied)

    def listener(uses: dict[int, str]) -> Any:
        count = 0

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            nonlocal count
            count += 1
            name = uses.get(count) or (f"{uses[1]}@{count}" if several and 1 in uses else None)
            tensor = None if name is None else first_tensor(output)
            if name is not None and tensor is not None:
                kept.keep(name, tensor)

        return hook

    handles = [module.register_forward_hook(listener(uses)) for module, uses in of_module.items()]
    try:
        with kept:
            subject.outputs(batch)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def reach(subject: Subject, batch: Tensor, layer: str) -> Tensor:
    """One layer's output [N, ...] for a batch, with gradients where they are on; what comes after it is not run.

    Raises NotFoundError for a layer that there is not, NetworkError for one that did not run or puts out no tensor of
    floating numbers. A batch must be as large as the network takes it.
    """
    module, use = find_layer(subject.module, layer)
    count = 0

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal count
        count += 1
        if count == use:
            raise _Reached(first_tensor(output))

    handle = module.register_forward_hook(hook)
    try:
        subject.outputs(batch)
    except _Reached as reached:
        found = reached.output
        if found is None or not found.dtype.is_floating_point or found.ndim < 2:
            raise NetworkError(f"Layer {layer!r} puts out no tensor of floating numbers.") from None
        return found
    finally:
        handle.remove()
    raise NetworkError(f"Layer {layer!r} did not run in this forward.")


class _Reached(BaseException):
    """The layer has run. No `except Exception` of a network's code shall take it for a failure."""

    def __init__(self, output: Tensor | None) -> None:
        super().__init__()
        self.output = output


def channel_axis(module: nn.Module | None, example: tuple[int, ...]) -> int:
    """Which axis of one example's output [...] holds its channels: the first of maps, the last of tokens.

    Keras' layers, that have channels last, say so themselves.
    """
    if module is not None and is_keras(module):
        layout = getattr(module, "data_format", None)
        return 0 if layout == "channels_first" else len(example) - 1
    if len(example) == 2:
        kind = "" if module is None else type(module).__name__
        return 0 if "1d" in kind else 1
    return 0


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor of what a module puts out, None where there is none."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return next((value for value in output if isinstance(value, Tensor)), None)
    return output if isinstance(output, Tensor) else None


def as_array(tensor: Tensor) -> Array:
    """A tensor of our own as an array that cannot be written to, not copied where it can be; bfloat16 as float32."""
    value = tensor.detach().cpu()
    array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    array.flags.writeable = False
    return array
