"""Record one forward call of a network as a `Trace`, for networks that cannot be exported."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from epochal.errors import NetworkError
from epochal.facts import Shape
from epochal.frameworks.torch_export import Arguments, batch_size
from epochal.frameworks.torch_modules import tensor_names
from epochal.frameworks.torch_quiet import untouched
from epochal.frameworks.torch_trace import Call, Trace, layer_table
from epochal.frameworks.torch_work import multiply_adds

__all__ = ["trace_forward"]

# Python's names for operations that an exported program has other names for.
_OTHER_NAMES = {"T": "transpose", "mT": "transpose", "data": "detach", "__getitem__": "index", "__rsub__": "sub"}


def trace_forward(network: nn.Module, arguments: Arguments) -> Trace:
    """Run the network once, in eval mode and without gradients, and tell what ran.

    Raises NetworkError when the forward call itself fails.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise NetworkError(f"What runs inside {type(network).__name__} cannot be seen: it is compiled TorchScript.")
    args, kwargs = arguments
    with untouched(network), torch.no_grad(), _Recorder(network, arguments) as recorder:
        try:
            answer = network(*args, **kwargs)
        except Exception as error:
            # It is the user's forward that fails, with whatever it likes; who records wants one kind of error.
            raise NetworkError(
                f"The forward call of {type(network).__name__} failed: {type(error).__name__}: {error}",
                hint="Give `inputs` as the network's forward takes them.",
            ) from error
    return recorder.trace(answer)


class _Recorder(TorchFunctionMode):
    """Notes every PyTorch function that gives tensors, and the module in which it was called."""

    def __init__(self, network: nn.Module, arguments: Arguments) -> None:
        super().__init__()
        self._network = network
        self._table = layer_table(network)
        self._tensors = tensor_names(network)
        self._batch = batch_size(arguments)
        # Values are known by the identity of their tensor, so each tensor is kept until the end.
        self._kept: list[torch.Tensor] = []
        self._number: dict[int, int] = {}
        self._shapes: dict[int, Shape] = {}
        self._calls: list[Call] = []
        self._fixed: set[int] = set()  # values made of parameters alone, whatever the inputs are
        self._stack: list[tuple[str, int]] = [("", 0)]
        self._uses: dict[str, int] = {}
        self._closing = ExitStack()
        self._inputs: list[tuple[str, int]] = []
        args, kwargs = arguments
        for name, value in [*zip(_input_names(network, len(args)), args, strict=True), *kwargs.items()]:
            self._inputs += [(name, number) for number in self._new(value)]

    def __enter__(self) -> _Recorder:
        with ExitStack() as opening:
            for name, module in self._network.named_modules():
                if name and not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
                    opening.enter_context(self._inside(name, module))
            super().__enter__()  # type: ignore[no-untyped-call]
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._closing.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Read before the call: an operation in place makes its first input a new value.
        sources = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        known = [self._number[id(t)] for t in sources if id(t) in self._number]
        given = [tuple(int(s) for s in t.shape) for t in sources]
        tensors = [self._tensors[id(t)] for t in sources if id(t) in self._tensors and id(t) not in self._number]
        answer = func(*args, **kwargs)
        outputs = self._new(answer)
        following = any(number not in self._fixed for number in known)
        if outputs and not following:
            self._fixed |= set(outputs)
        if outputs:
            where, use = next((at for at in self._stack if at[0] in self._table), self._stack[-1])
            call = Call(
                op=_name(func),
                where=where,
                use=use,
                inputs=tuple(known),
                outputs=outputs,
                tensors=tuple(tensors),
                work=self._work(func, args, given, answer, shared_out=following),
            )
            self._calls.append(call)
        return answer

    def trace(self, answer: Any) -> Trace:
        """All that was noted, given what the network answered."""
        ends = [self._number[id(leaf)] for leaf in tree_leaves(answer) if id(leaf) in self._number]
        return Trace(inputs=tuple(self._inputs), calls=tuple(self._calls), outputs=tuple(ends), shapes=self._shapes)

    def _work(self, func: Any, args: Any, given: list[Shape], answer: Any, *, shared_out: bool) -> int | None:
        """Multiply-adds for one example: those of the batch, shared out where they follow from the inputs."""
        first = next((leaf for leaf in tree_leaves(answer) if isinstance(leaf, torch.Tensor)), None)
        settings: dict[str, Any] = {"equation": args[0]} if args and isinstance(args[0], str) else {}
        if _name(func) in ("lstm", "gru", "rnn_tanh", "rnn_relu") and len(args) > 1:
            settings["packed"] = isinstance(args[1], torch.Tensor) and args[1].dim() == 1
        shape = None if first is None else tuple(int(s) for s in first.shape)
        count = multiply_adds(_name(func), given, shape, settings)
        if count is None or not shared_out or not self._batch or count % self._batch:
            return count
        return count // self._batch

    def _new(self, value: Any) -> tuple[int, ...]:
        found = []
        for leaf in tree_leaves(value):
            if isinstance(leaf, torch.Tensor):
                number = len(self._shapes)
                self._kept.append(leaf)
                self._number[id(leaf)] = number
                shape = tuple(int(s) for s in leaf.shape)
                self._shapes[number] = (-1, *shape[1:]) if shape[:1] == (self._batch,) else shape
                found.append(number)
        return tuple(found)

    @contextmanager
    def _inside(self, name: str, module: nn.Module) -> Iterator[None]:
        def enter(*_: Any) -> None:
            self._stack.append((name, self._uses.get(name, 0)))

        def leave(*_: Any) -> None:
            self._uses[name] = self._uses.get(name, 0) + 1
            while len(self._stack) > 1 and self._stack.pop()[0] != name:
                pass  # a module inside left by an exception that the forward caught

        before = module.register_forward_pre_hook(enter, prepend=True)
        after = module.register_forward_hook(leave)
        try:
            yield
        finally:
            before.remove()
            after.remove()


def _input_names(network: nn.Module, count: int) -> list[str]:
    """The names that the network's forward gives its first positional inputs."""
    parameters = inspect.signature(network.forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [named[i] if i < len(named) else f"input_{i + 1}" for i in range(count)]


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", func))
    if name == "__get__":  # a property of tensors such as `.T`
        name = str(getattr(getattr(func, "__self__", None), "__name__", name))
    return _OTHER_NAMES.get(name, name.strip("_"))
