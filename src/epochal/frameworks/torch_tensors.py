"""The tensors of a module as its state dict names them: where each lies, what can be stored, and whether that changed.

A tensor is known by its place (a module's dictionary and a key), never by itself: an optimizer, `load_state_dict`,
`to()` or the user may put another tensor there.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from epochal.record.probe import Bytes, TensorFact

Place = tuple[MutableMapping[str, Any], str]

_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
# Which of them there are depends on the version of PyTorch.
CODES: dict[torch.dtype, str] = {
    dtype: code for name, code in _NAMES.items() if isinstance(dtype := getattr(torch, name, None), torch.dtype)
}
_DTYPES = {code: dtype for dtype, code in CODES.items()}


def local(tensor: torch.Tensor) -> torch.Tensor:
    """A plain tensor: of one that is spread over processes (a DTensor), this process's part."""
    part = getattr(tensor, "_local_tensor", None)
    return part if isinstance(part, torch.Tensor) else tensor


def is_spread(root: nn.Module) -> bool:
    """Whether the parameters are spread over processes, which talk to each other when the module runs."""
    if isinstance(root, torch.jit.ScriptModule):
        return False
    return any(local(p) is not p for p in root.parameters()) or any(
        hasattr(m, "_fsdp_wrapped_module") for m in root.modules()
    )


class Tensors:
    """Places, facts and aliases of one module's tensors, as they were at the last `gather`."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.names: list[str] = []
        self.aliases: list[tuple[str, ...]] = []
        self.trainable: list[int] = []
        self.left_out: list[str] = []
        self.sharded = False
        # What makes `current` say no: tensors of other kinds, ties, tensors that were not there, modules.
        self._like: list[tuple[torch.Size, torch.dtype, bool]] = []
        self._ties: list[tuple[Place, int]] = []
        self._absent: list[Place] = []
        self._held: list[tuple[MutableMapping[str, Any], int]] = []
        self._children: list[tuple[MutableMapping[str, Any], list[int]]] = []

    def gather(self, root: nn.Module) -> list[TensorFact]:
        """Find all that the state dict holds and can be stored; a shared tensor once, under its first name."""
        self.left_out, self._ties, self._absent, self.sharded = [], [], [], False
        first: dict[int, int] = {}
        places: list[Place] = []
        names: list[str] = []
        aliases: list[list[str]] = []
        for name, holder, key in stored(root):
            tensor = holder[key]
            if tensor is None or nn.parameter.is_lazy(tensor) or local(tensor).is_meta:
                self._absent.append((holder, key))
                if tensor is not None and not nn.parameter.is_lazy(tensor):
                    self.left_out.append(f"{name} (meta)")
                continue
            if trouble := _trouble(local(tensor)):
                self.left_out.append(f"{name} ({trouble})")
                continue
            known = first.setdefault(id(tensor), len(places))
            if known < len(places):
                aliases[known].append(name)
                self._ties.append(((holder, key), known))
            else:
                self.sharded |= local(tensor) is not tensor
                places.append((holder, key))
                names.append(name)
                aliases.append([])
        self.left_out += _packed(root)
        self.places, self.names, self.aliases = places, names, [tuple(a) for a in aliases]
        tensors = [holder[key] for holder, key in places]
        self.trainable = [i for i, t in enumerate(tensors) if isinstance(t, nn.Parameter) and t.requires_grad]
        self._like = [_kind(local(t), t) for t in tensors]
        self._remember_modules(root)
        learning = set(self.trainable)
        return [
            TensorFact(
                name=name,
                shape=tuple(local(tensor).shape),
                code=CODES[tensor.dtype],
                itemsize=tensor.dtype.itemsize,
                trainable=i in learning,
                aliases=alias,
            )
            for i, (name, tensor, alias) in enumerate(zip(names, tensors, self.aliases, strict=True))
        ]

    def current(self) -> list[torch.Tensor] | None:
        """The tensors as they are now; None when they are no longer those that `gather` told of."""
        try:
            tensors = [holder[key] for holder, key in self.places]
            whole = tensors if not self.sharded else [local(t) for t in tensors]
            if [_kind(part, t) for part, t in zip(whole, tensors, strict=True)] != self._like:
                return None
            if self._ties and any(holder[key] is not tensors[known] for (holder, key), known in self._ties):
                return None
            if self._absent and any(not _missing(holder[key]) for holder, key in self._absent):
                return None
        except (KeyError, AttributeError):
            return None
        if any(len(held) != count for held, count in self._held):
            return None
        if any([*map(id, children.values())] != were for children, were in self._children):
            return None
        return whole

    def learning(self) -> list[torch.Tensor]:
        """The trainable tensors as they are now (DTensors as they are), in the order of the facts.

        None at all where one of them is no longer there.
        """
        try:
            found = [self.places[i][0][self.places[i][1]] for i in self.trainable]
        except KeyError:
            return []
        return [] if any(tensor is None for tensor in found) else found

    def _remember_modules(self, root: nn.Module) -> None:
        """How many tensors each module holds and which modules: what a layer added or exchanged changes.

        By identity alone: a module held here might hold the model, which must go when the user lets go of it.
        """
        modules = [m for m in root.modules() if not isinstance(m, torch.jit.ScriptModule)]
        self._held = [(held, len(held)) for m in modules for held in (m._parameters, m._buffers)]
        self._children = [(m._modules, [*map(id, m._modules.values())]) for m in modules if m._modules]

    def forget(self) -> None:
        """Let go of all."""
        self.places, self.names, self.aliases, self.trainable = [], [], [], []
        self._like, self._ties, self._absent, self._held, self._children = [], [], [], [], []


def bind(places: Sequence[Bytes], facts: Sequence[TensorFact]) -> list[torch.Tensor]:
    """Tensors over the given memory, shaped as the facts say."""
    return [
        torch.from_numpy(place).view(_DTYPES[fact.code]).view(fact.shape)
        if fact.size
        else torch.empty(fact.shape, dtype=_DTYPES[fact.code])
        for place, fact in zip(places, facts, strict=True)
    ]


def stored(root: nn.Module) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """Name, owner and key of everything that the state dict holds, shared modules under each of their names.

    What is declared but not there (`bias=None`) comes too.
    """
    yield from _walk(root, "")


def _walk(module: nn.Module, dot: str) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    if isinstance(module, torch.jit.ScriptModule):
        state = dict(module.state_dict(keep_vars=True))
        yield from ((dot + name, state, name) for name in state if isinstance(state[name], torch.Tensor))
        return
    for holder, skipped in ((module._parameters, ()), (module._buffers, module._non_persistent_buffers_set)):
        for key in holder:
            if key not in skipped:
                yield dot + key, holder, key
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(child, f"{dot}{name}.")


def _trouble(tensor: torch.Tensor) -> str:
    """Why a tensor cannot be stored; empty where it can."""
    if tensor.is_quantized or tensor.dtype not in CODES:
        return str(tensor.dtype)
    if tensor.is_nested:
        return "nested"
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    wrapped: bool = type(tensor) not in (torch.Tensor, nn.Parameter) and is_traceable_wrapper_subclass(tensor)
    if wrapped:
        return type(tensor).__name__
    return ""


def _packed(root: nn.Module) -> list[str]:
    """What modules write into the state dict by code of their own, such as the packed weights of quantised layers."""
    if isinstance(root, torch.jit.ScriptModule):
        return []
    found = []
    for prefix, module in root.named_modules():
        if type(module)._save_to_state_dict is nn.Module._save_to_state_dict or isinstance(
            module, torch.jit.ScriptModule
        ):
            continue
        own: dict[str, Any] = {}
        module._save_to_state_dict(own, prefix + "." if prefix else "", True)  # noqa: FBT003 - the way modules ask each other
        dot = len(prefix) + 1 if prefix else 0
        for name, value in own.items():
            if name[dot:] not in module._parameters and name[dot:] not in module._buffers:
                tensors = [v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, torch.Tensor)]
                found += [f"{name} ({t.dtype})" for t in tensors]
    return found


def _missing(tensor: torch.Tensor | None) -> bool:
    return tensor is None or nn.parameter.is_lazy(tensor) or local(tensor).is_meta


def _kind(part: torch.Tensor, whole: torch.Tensor) -> tuple[torch.Size, torch.dtype, bool]:
    return part.shape, part.dtype, whole.requires_grad
