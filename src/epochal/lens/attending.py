"""Attention: which tokens each head of a transformer looks at, and what reaches the output by way of all layers.

The rollout is that of S. Abnar and W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.

What is caught is the operation, whoever calls it: the output of a softmax that then weighs something in a matrix
product. So it is the same for `nn.MultiheadAttention`, `scaled_dot_product_attention`, the models of Hugging Face, a
transformer of one's own and an exported program. Fused kernels are asked for in their plain form meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from epochal.errors import NetworkError, NotFoundError, UsageError
from epochal.lens.asking import Subject
from epochal.lens.heads import Attention
from epochal.lens.layers import named_layers

__all__ = ["attention"]

Array = npt.NDArray[Any]

_SOFTMAX = frozenset({"aten::_softmax", "aten::_safe_softmax", "aten::softmax"})
_PRODUCTS = frozenset({"aten::bmm", "aten::mm", "aten::baddbmm", "aten::matmul"})
_CARRIES = frozenset({"aten::clone", "aten::_to_copy", "aten::contiguous", "aten::copy_"})
"""Operations that hand the same numbers on in another place."""
_CHANGES = frozenset({"aten::mul", "aten::mul_", "aten::masked_fill", "aten::masked_fill_", "aten::where",
                      "aten::nan_to_num", "aten::native_dropout", "aten::div"})  # fmt: skip
"""Operations that change them on the way: masks of heads, for instance."""
_MOST_NUMBERS = 1 << 28
_SPECIAL = 8
"""So many tokens may stand before the patches of a picture: of the class, of distillation, registers."""


def attention(
    network: Any, image: Any, *, layers: Sequence[str] | None = None, tokens: Sequence[str] | None = None
) -> Attention:
    """What each head of each attention looks at, for one input: an image [C, H, W], or whole numbers of tokens [T].

    A model of Hugging Face may be given a mapping of its inputs instead (`input_ids`, `attention_mask`, ...), each of
    one example. `layers` names the modules whose attention is wanted, as they stand in the network or one that holds
    them; all where None. `tokens` are names for the tokens. The result has the weights [heads, T, S] of each attention,
    the rollout over all of them, and maps over the picture where the tokens are its patches.

    Raises UsageError where nothing in the network attends, NotFoundError for a layer that does not.
    """
    subject = Subject(network, whole=True)
    given: Mapping[str, Tensor] | Tensor
    if isinstance(image, Mapping):
        given = {name: _one(value, subject) for name, value in image.items()}
        shape: tuple[int, ...] = ()
    else:
        given = subject.example(_unbatched(image))
        shape = tuple(given.shape[1:]) if given.dtype.is_floating_point else ()
    count = 1
    if isinstance(given, Tensor) and subject.fixed not in (None, 1):
        count = int(subject.fixed or 1)
        given = given.expand(count, *given.shape[1:]).contiguous()
    catching = _Catching(count, layers)
    with _plain(), subject.asking(gradients=False), catching.among(subject.module):
        if isinstance(given, Tensor):
            subject.run(given)
        else:
            _called(subject.module, given)
    found = catching.found(subject.module)
    names, weights, windows = zip(*found, strict=True) if found else ((), (), ())
    if not found:
        raise UsageError(
            "Nothing in this network attends: no softmax was found that weighs values in a matrix product.",
            hint="Attention of compiled kernels of one's own cannot be seen; linear attention has no weights.",
        )
    size = weights[-1].shape[-1]
    grid, special = _patches(shape, size, channels_last=subject.channels_last)
    if tokens is not None and len(tokens) != size:
        raise UsageError(f"There are {size} tokens and {len(tokens)} names.")
    notes = []
    if any(windows):
        notes.append("it attends within windows: heads and windows are counted together, and there is no rollout")
    return Attention(
        layers=names,
        weights=weights,
        tokens=tuple(tokens or ()),
        grid=grid,
        special=special,
        windowed=any(windows),
        notes=tuple(notes),
        numbers={"layers": len(names), "heads": sum(len(w) for w in weights), "tokens": size},
        step=subject.step,
    )


def _unbatched(image: Any) -> Any:
    """Tokens [1, T] without their batch."""
    value = image if isinstance(image, Tensor) else np.asarray(image)
    floating = value.dtype.is_floating_point if isinstance(value, Tensor) else value.dtype.kind == "f"
    return value[0] if not floating and value.ndim == 2 and len(value) == 1 else value


def _one(value: Any, subject: Subject) -> Tensor:
    """One example with its batch; a [T] gets one, a [1, ...] has it."""
    tensor = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    tensor = tensor[None] if tensor.ndim == 1 else tensor
    if tensor.ndim == 0 or len(tensor) != 1:
        raise UsageError(f"One example at a time; this input is {list(tensor.shape)}.")
    return tensor.to(subject.device)


def _called(module: nn.Module, given: Mapping[str, Tensor]) -> None:
    try:
        module(**given)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        first = (str(error).strip().splitlines() or [""])[0][:300]
        what = ", ".join(given)
        raise NetworkError(f"The network could not run on {what}: {type(error).__name__}: {first}") from error


@contextmanager
def _plain() -> Iterator[None]:
    """Within the block attention is worked out step by step, not by kernels in which nothing can be seen."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Catch:
    """The output of one softmax."""

    def __init__(self, name: str, weights: Tensor, sequences: int | None) -> None:
        self.name, self.weights, self.weighs = name, weights, False
        self.sequences = sequences


class _Catching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operation, and keeps the softmaxes that weigh something."""

    def __init__(self, count: int, layers: Sequence[str] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._count = count
        self._layers = None if layers is None else list(layers)
        self._inside: list[tuple[str, nn.Module, tuple[int, ...]]] = []
        self._caught: list[_Catch] = []
        self._lying: dict[int, _Catch] = {}
        self._held: list[Tensor] = []
        self._numbers = 0

    @contextmanager
    def among(self, module: nn.Module) -> Iterator[None]:
        """Within the block operations are seen, and by whom they are called."""
        handles = []
        for name, layer in named_layers(module).items():
            enter = partial(self._enter, name)
            handles.append(layer.register_forward_pre_hook(enter, with_kwargs=True))
            # Also after an error, so that names do not stay.
            handles.append(layer.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._lying.clear()
            self._held.clear()

    def _enter(self, name: str, layer: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        first = next((one for one in (*given, *named.values()) if isinstance(one, Tensor)), None)
        self._inside.append((name, layer, () if first is None else tuple(first.shape)))

    def _leave(self) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it did."""
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name in _SOFTMAX:
            self._softmax(out, args)
        elif self._lying:
            if name in _PRODUCTS:
                for value in args:
                    if isinstance(value, Tensor) and (known := self._known(value)) is not None:
                        known.weighs = True
            elif name in _CARRIES or name in _CHANGES:
                self._carry(out[0] if isinstance(out, tuple) else out, args, changed=name in _CHANGES)
        return out

    def _softmax(self, out: Tensor, args: Any) -> None:
        axis = args[1] if len(args) > 1 else -1
        if out.ndim < 2 or axis not in (-1, out.ndim - 1):
            return
        name = self._inside[-1][0] if self._inside else ""
        wanted = self._layers is None or any(name == one or name.startswith(f"{one}.") for one in self._layers)
        if not wanted:
            return
        catch = _Catch(name, out, self._sequences(out))
        self._caught.append(catch)
        self._lying[out.untyped_storage().data_ptr()] = catch
        self._numbers += out.numel()
        if self._numbers > _MOST_NUMBERS:
            raise UsageError(
                f"There are more than {_MOST_NUMBERS >> 20} million attention weights.",
                hint="Name some layers, or give a shorter input.",
            )

    def _sequences(self, weights: Tensor) -> int | None:
        """How many sequences attend within themselves: more than the examples where there are windows; or unknown."""
        lead = tuple(weights.shape[:-2])
        if len(lead) == 2:
            return lead[0]
        if len(lead) > 2:
            return prod(lead[:-1])
        if not self._inside or not lead:
            return None
        # Heads and sequences lie in one axis: the module that attends tells them apart.
        _, layer, shape = self._inside[-1]
        heads = getattr(layer, "num_heads", None)
        if isinstance(heads, int) and heads > 0 and lead[0] % heads == 0:
            return lead[0] // heads
        if len(shape) != 3:
            return None
        first = shape[0] if shape[1] == weights.shape[-2] else shape[1] if shape[0] == weights.shape[-2] else 0
        return first if first and lead[0] % first == 0 else None

    def _known(self, value: Tensor) -> _Catch | None:
        return self._lying.get(value.untyped_storage().data_ptr())

    def _carry(self, out: Any, args: Any, *, changed: bool) -> None:
        for value in args:
            catch = self._known(value) if isinstance(value, Tensor) else None
            if catch is None or not isinstance(out, Tensor) or out.numel() != catch.weights.numel():
                continue
            if changed and out.shape == catch.weights.shape:
                catch.weights = out
            self._lying[out.untyped_storage().data_ptr()] = catch
            self._held.append(out)  # what is let go of would give its place in memory to others

    def found(self, module: nn.Module) -> list[tuple[str, Array, bool]]:
        """Name, weights [heads, T, S], and whether they are of windows, of each attention as they ran."""
        weighing = [catch for catch in self._caught if catch.weighs]
        if self._layers is not None:
            for wanted in self._layers:
                if not any(c.name == wanted or c.name.startswith(f"{wanted}.") for c in weighing):
                    known = list(named_layers(module))
                    hint = "It is a layer, but nothing in it attends." if wanted in known else ""
                    raise NotFoundError(f"There is no attention in a layer {wanted!r}.", hint=hint)
        times: dict[str, int] = {}
        answer = []
        for catch in weighing:
            weights = catch.weights.detach().float().cpu()
            windowed = catch.sequences not in (None, self._count)
            heads = weights.reshape(-1, *weights.shape[-2:])
            heads = heads[: max(1, len(heads) // self._count)]
            times[catch.name] = uses = times.get(catch.name, 0) + 1
            name = catch.name or "attention"
            array = heads.numpy().copy()
            array.flags.writeable = False
            answer.append((name if uses == 1 else f"{name}@{uses}", array, windowed))
        return answer


def _patches(shape: tuple[int, ...], tokens: int, *, channels_last: bool) -> tuple[tuple[int, int] | None, int]:
    """The grid of patches that the tokens of a picture stand for, and how many tokens come before them."""
    if len(shape) != 3:
        return None, 0
    high, wide = shape[:2] if channels_last else shape[1:]
    sides = [side for side in range(1, min(high, wide) + 1) if high % side == 0 and wide % side == 0]
    for special in range(min(_SPECIAL, tokens - 1) + 1):
        for side in sides:
            if (high // side) * (wide // side) == tokens - special:
                return (high // side, wide // side), special
    return None, 0
