"""Compiled networks: `torch.compile(model)` and `model.compile()`, of the whole or of parts.

In a compiled part a layer's hook would be compiled too, and run in every step. So its layers are caught in a *shadow*:
just before a training call of it, its forward runs once more, uncompiled, without gradients, on copies of its inputs
and buffers, and with the state of all random generators put back afterwards. The training itself stays bit for bit what
it was; a look costs one forward pass more (which the budget knows of).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from time import thread_time
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils._pytree import tree_map

from epochal.frameworks.torch_once import Once, Watching
from epochal.frameworks.torch_quiet import forgotten


class Catch(Protocol):
    """What catches a layer's output, from `arm` to `disarm`."""

    def arm(self) -> None:
        """Hang on the layer."""
        ...

    def disarm(self) -> None:
        """Go away again."""
        ...


Before = Callable[[tuple[Any, ...], dict[str, Any]], None]


def unwrap(model: nn.Module) -> nn.Module:
    """The user's own module inside what data-parallel training and `torch.compile` wrapped around it."""
    while True:
        inner = _inner(model)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """The outermost modules whose calls run compiled; `model` is what the user calls."""
    found: list[nn.Module] = []
    waiting = [model]
    seen = set()
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if _is_compiled(module):
            found.append(module)
        elif not isinstance(module, torch.jit.ScriptModule):
            waiting += module.children()
    return found


def _is_compiled(module: nn.Module) -> bool:
    return _inner(module) is not None or getattr(module, "_compiled_call_impl", None) is not None


def _inner(module: nn.Module) -> nn.Module | None:
    """The module inside what `torch.compile` wrapped around it."""
    found = None if isinstance(module, torch.jit.ScriptModule) else module._modules.get("_orig_mod")
    return found if isinstance(found, nn.Module) else None


class CallCatch(Once):
    """Calls `before` with the arguments of a module's next call in training mode, ahead of it and uncompiled."""

    __slots__ = ("_before", "_module", "_real")

    def __init__(self, probe: Watching, module: nn.Module, before: Before) -> None:
        super().__init__(probe)
        self._module, self._before = weakref.ref(module), before
        self._real: Any = None

    def arm(self) -> None:
        """Wait for the next call."""
        module = self._module()
        if module is None or self.handle is not None or self._real is not None:
            return
        if getattr(module, "_compiled_call_impl", None) is None:
            self.handle = module.register_forward_pre_hook(_Ahead(self), with_kwargs=True)
        else:
            # All that such a module does is compiled, its hooks too: only what it calls can be exchanged. It is in no
            # pickle or copy, and nothing else looks at it.
            self._real = module._compiled_call_impl
            vars(module)["_compiled_call_impl"] = self

    def disarm(self) -> None:
        """Wait no longer."""
        super().disarm()
        real, self._real = self._real, None
        module = self._module()
        if real is not None and module is not None and vars(module).get("_compiled_call_impl") is self:
            vars(module)["_compiled_call_impl"] = real

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The module is about to run."""
        if not torch.compiler.is_compiling() and module.training:
            self.disarm()
            self._before(args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What an exchanged call does."""
        real, module = self._real, self._module()
        if module is None or real is None:
            raise RuntimeError("the watched module is no longer there")
        self.called(module, args, kwargs)
        return real(*args, **kwargs)


class _Ahead(Once):
    """The hook of a `CallCatch`: with copies of a module go copies of its hooks, which must do nothing."""

    __slots__ = ("_catch",)

    def __init__(self, catch: CallCatch) -> None:
        super().__init__(catch.probe)
        self._catch = catch

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._catch.called(module, args, kwargs)


class Shadow:
    """Runs one compiled part uncompiled once, for its layers to be caught."""

    def __init__(self, probe: Watching, part: nn.Module, catches: Sequence[Catch]) -> None:
        self._probe, self._catches = probe, catches
        self._part = weakref.ref(unwrap(part))
        self._catch = CallCatch(probe, part, self._run)
        self.trouble = ""

    def arm(self) -> None:
        """Wait for the next training call."""
        self._catch.arm()

    def disarm(self) -> None:
        """Wait no longer."""
        self._catch.disarm()

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        part = self._part()
        if part is None:
            return
        start = thread_time()
        try:
            if any(nn.parameter.is_lazy(p) for p in part.parameters()):
                return  # the first call draws its parameters: that is for the training to do
            for catch in self._catches:
                catch.arm()
            with torch.no_grad(), forgotten(part), uncompiled(), _uncached():
                copies = tree_map(_copy, (args, kwargs))
                part._call_impl(*copies[0], **copies[1])  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - the user's own forward, inside a step that must not fail for us
            self.trouble = (
                "activations of a compiled network could not be recorded: running it uncompiled failed with "
                f"{type(error).__name__}: {error}"
            )
        finally:
            for catch in self._catches:
                catch.disarm()
            self._probe.hook_seconds += thread_time() - start


def why_not(model: nn.Module) -> str:
    """Why compiled parts of a model must not be run once more; empty where they may.

    A forward pass that talks to other processes would wait for them forever: they look at other times.
    """
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return ""
    outer = model
    while (inner := _inner(outer)) is not None:
        outer = inner
    if not isinstance(outer, nn.parallel.DistributedDataParallel):
        return "its processes may talk to each other in the forward pass"
    if any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
        return "its batch normalisation talks to other processes"
    return ""


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Run parts that are compiled themselves as if they were not."""
    stance = getattr(torch.compiler, "set_stance", None)
    with contextlib.nullcontext() if stance is None else stance("force_eager"):
        yield


@contextlib.contextmanager
def _uncached() -> Iterator[None]:
    """Keep autocast from remembering weights cast without gradients: the training would use them."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cached)
