"""How gradients flow back through each operation: PyTorch's own way, and the rules of guided back-propagation and
deconvolution.

A rule acts on the operations that autograd has recorded, not on the modules they came from. So it is the same for
`nn.ReLU`, `F.relu`, ReLU6, an in-place one, a Keras activation and an exported program, and one forward serves all
rules. Operations that hide what is inside them (compiled code, TorchScript, checkpoints, functions of one's own) are
refused: a rectifier could be among them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from epochal.errors import NetworkError

__all__ = ["Rule", "deconvolution", "guided", "operations", "plain", "rectifier_remarks"]

Rule = Callable[[Tensor], AbstractContextManager[None]]
"""Takes the score and changes, within the block, how its gradients flow back."""

_SMOOTH = {
    "Silu": "SiLU",
    "Gelu": "GELU",
    "LeakyRelu": "leaky ReLU",
    "RreluWithNoise": "RReLU",
    "PreluKernel": "PReLU",
    "Elu": "ELU",
    "Celu": "CELU",
    "Hardswish": "hard swish",
    "Hardsigmoid": "hard sigmoid",
    "Mish": "Mish",
    "Softplus": "softplus",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
"""Operations that bend numbers but are no rectifiers, and how people call them."""

_OPEN = re.compile(r"\w+Backward\d+|(torch::autograd::)?(AccumulateGrad|CopyBackwards)")


@contextmanager
def plain(score: Tensor) -> Iterator[None]:
    """The gradient as it is."""
    yield


@contextmanager
def guided(score: Tensor) -> Iterator[None]:
    """Springenberg, Dosovitskiy, Brox, Riedmiller 2014: what comes back through a rectifier must be positive, too."""
    with _ruled(score, lambda through, _: through.clamp(min=0)):
        yield


@contextmanager
def deconvolution(score: Tensor) -> Iterator[None]:
    """Zeiler, Fergus 2013: a rectifier rectifies what comes back, whatever it let through."""
    with _ruled(score, lambda _, back: back.clamp(min=0)):
        yield


def operations(score: Tensor) -> list[Any]:
    """Every operation that a score was made by, as autograd has recorded it, the last first."""
    found: dict[Any, None] = {}
    waiting = [score.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        found[node] = None
        waiting += [before for before, _ in node.next_functions]
    return list(found)


def rectifier_remarks(score: Tensor) -> tuple[str, ...]:
    """What a rule found to act on, and what it left as it is."""
    nodes = operations(score)
    count = sum(_rectified(node) is not None for node in nodes)
    smooth = Counter(word for node in nodes if (word := _SMOOTH.get(re.sub(r"Backward\d+$", "", node.name()))))
    if not count:
        others = f"; it has {', '.join(smooth)}" if smooth else ""
        return (f"no rectifier was found{others}: this is the plain gradient",)
    if not smooth:
        return ()
    told = ", ".join(f"{times} × {word}" for word, times in smooth.items())
    return (f"the rule acts on {count} rectifier{'s' if count > 1 else ''}; {told} keep their own gradient",)


@contextmanager
def _ruled(score: Tensor, rule: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """`rule(what comes through as a gradient, what came back to it)` at every rectifier."""
    nodes = operations(score)
    refuse_hidden(nodes, "Guided back-propagation and deconvolution")
    handles = []
    try:
        for node in nodes:
            place = _rectified(node)
            if place is not None:
                handles.append(node.register_hook(_at(place, rule)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def refuse_hidden(nodes: list[Any], who: str) -> None:
    """Raise NetworkError where an operation hides others."""
    for node in nodes:
        name = str(node.name())
        if _OPEN.fullmatch(name) and "Rnn" not in name:
            continue
        short = re.sub(r"Backward\d*$", "", name.rsplit("::", 1)[-1])
        raise NetworkError(f"{who} cannot see into {short}: {_why(short)}.", hint=_HINTS.get(_kind(short), ""))


def _at(place: int, rule: Callable[[Tensor, Tensor], Tensor]) -> Any:
    def hook(through: tuple[Tensor | None, ...], back: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        coming, came = through[place], back[0]
        if coming is None or came is None:
            return None
        return (*through[:place], rule(coming, came), *through[place + 1 :])

    return hook


def _rectified(node: Any) -> int | None:
    """The place of the operand that an operation rectifies at zero; None where it is no rectifier."""
    name = node.name()
    if name == "ReluBackward0":
        return 0
    if name == "HardtanhBackward0":
        return 0 if float(node._saved_min_val) == 0 else None
    if name == "ThresholdBackward0":
        return 0 if float(node._saved_threshold) == 0 else None
    if name in ("ClampBackward1", "ClampMinBackward0"):
        least = node._saved_min
        return 0 if least is not None and float(least) == 0 else None
    if name == "MaximumBackward0":
        for place, other in ((0, node._saved_other), (1, node._saved_self)):
            if node.next_functions[1 - place][0] is None and not torch.count_nonzero(other):
                return place
    return None


def _kind(name: str) -> str:
    for word in ("Compiled", "Differentiable", "Checkpoint", "CopySlices", "Rnn"):
        if word in name:
            return word
    return ""


def _why(name: str) -> str:
    return {
        "Compiled": "it is compiled code",
        "Differentiable": "it is TorchScript",
        "Checkpoint": "activations are recomputed there",
        "CopySlices": "a part of a tensor is written in place",
        "Rnn": "it is a recurrent network in one piece",
    }.get(_kind(name), "it is a function of the network's own")


_HINTS = {
    "Compiled": "Give the module that was compiled.",
    "Differentiable": "Give the module that was scripted.",
    "Checkpoint": "Switch checkpointing off: it saves memory in training only.",
    "CopySlices": "torch.cat or F.pad do the same without writing in place.",
}
