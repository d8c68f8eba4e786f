"""Look at a network while leaving no trace in it: modes, buffers, random numbers and warnings stay as they were."""

from __future__ import annotations

import logging
import random
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any, TextIO, cast

import numpy as np
import torch
from torch import nn

__all__ = ["forgotten", "untouched"]


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Put every submodule into eval mode and all random generators aside; put everything back, on errors too.

    Back go: modes, buffers (also where a forward pass changed or replaced them), parameters that were replaced, and
    the plain attributes of every module: what a forward caches in `self` would else be left holding what it was traced
    with. What lies deeper (inside a list that a module holds) is not looked after.
    """
    kept = [_Kept(module) for module in network.modules()]
    buffers = [(buffer, buffer._version, buffer.detach().clone()) for buffer in network.buffers()]
    try:
        for module in network.modules():
            module.training = False  # `train()` may be overridden by the user: frozen batch norm does so
        # PyTorch's advice to authors of models would reach people who only record.
        with _random_put_back(), warnings.catch_warnings(), _unlogged("torch"), _unprinted():
            warnings.simplefilter("ignore")
            yield
    finally:
        for module_as_it_was in kept:
            module_as_it_was.restore()
        with torch.no_grad():
            for buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)


@contextmanager
def forgotten(network: nn.Module) -> Iterator[None]:
    """Let the network run as it is, in training mode too, and leave no trace in it.

    It runs on copies of its buffers: not even the count of changes of the real ones goes up, which a backward pass
    through an earlier use of them would take for damage.
    """
    kept = [_Kept(module) for module in network.modules()]
    copies: dict[int, torch.Tensor] = {}
    try:
        for module in network.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = copies.setdefault(id(buffer), buffer.detach().clone())
        with _random_put_back():
            yield
    finally:
        for module_as_it_was in kept:
            module_as_it_was.restore()


@contextmanager
def _random_put_back() -> Iterator[None]:
    python, old_numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # Asking a GPU that is not yet in use for its state would start it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(old_numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


class _Kept:
    """A module's attributes as they were, by identity."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._attributes = dict(vars(module))
        self._inside = {name: dict(vars(module)[name]) for name in ("_parameters", "_buffers", "_modules")}

    def restore(self) -> None:
        now = vars(self._module)
        if not _same(now, self._attributes):
            now.clear()
            now.update(self._attributes)
        for name, before in self._inside.items():
            if not _same(now[name], before):
                now[name].clear()
                now[name].update(before)


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return len(one) == len(other) and all(name in other and other[name] is value for name, value in one.items())


@contextmanager
def _unlogged(library: str) -> Iterator[None]:
    """Keep what a library logs in this thread from the terminal; other threads' messages pass."""
    here = threading.get_ident()
    loggers = [logging.getLogger(name) for name in (*logging.root.manager.loggerDict, library)]
    handlers = [h for logger in loggers if logger.name.split(".")[0] == library for h in logger.handlers]

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    for handler in handlers:
        handler.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(from_elsewhere)


class _OtherThreads:
    """A stream that passes on what other threads write; what this thread writes is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._here = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._here else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _unprinted() -> Iterator[None]:
    """Keep from the terminal what this thread prints to stderr: a failed export prints its half-made program there."""
    if sys.stderr is None:  # a program without a console
        yield
        return
    with redirect_stderr(cast(TextIO, _OtherThreads(sys.stderr))):
        yield
