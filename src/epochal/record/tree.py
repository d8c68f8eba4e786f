"""From nested containers of arrays to dotted names: `{"layers": [{"weight": w}]}` holds `layers.0.weight`.

Containers are mappings, lists, tuples, named tuples and dataclasses, and what the adapters of imported frameworks know
to be one. No framework is imported here: whatever has a shape, a type and `__array__` is an array.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from numbers import Number
from typing import Any

import numpy as np

from epochal.errors import UsageError

__all__ = ["Opened", "Tree", "flatten", "home_of"]

# Module -> the function of its adapter that opens its own kinds of containers: (object) -> Opened, or None where the
# object is not one of the framework's.
_OPENERS = {"jax": "epochal.frameworks.jax:opened"}
# What containers hold besides arrays and what nobody expects to be recorded: settings and functions.
_SETTINGS = (str, bytes, Number, np.dtype, type)
_COLLECTIONS = frozenset(
    {"params", "batch_stats", "cache", "intermediates", "losses", "spectral_stats", "perturbations"}
)


@dataclass(slots=True)
class Opened:
    """What an adapter says of an object: an `array`, or named `children`; neither means that it is to be left out.

    `kind` is the word for the object in a picture (`Linear`), where it has one.
    """

    array: Any = None
    children: Sequence[tuple[str, Any]] | None = None
    kind: str = ""


@dataclass(slots=True)
class Tree:
    """The arrays of a container by dotted name, in its order.

    `kinds` are the classes of the parts of a network by the dotted name of the part; `others` say which values were
    neither arrays nor settings: `name (type)`.
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def flatten(tree: object, *, what: str = "parameters") -> Tree:
    """Find all arrays in a container, and plain numbers too but those of dataclasses, which are settings.

    Where Flax keeps collections of variables side by side (`params`, `batch_stats`), their names are left out. Raises
    UsageError where there is no array, where two have one name, and where an array has no value yet (inside `jax.jit`).
    """
    found = Tree()
    openers = [_load(target) for module, target in _OPENERS.items() if module in sys.modules]
    _gather(_without_collections(tree), (), found, openers, numbers=True)
    if not found.arrays:
        raise UsageError(
            f"{what} is a {type(tree).__module__}.{type(tree).__qualname__} without any array in it",
            hint="give a mapping, list, tuple or dataclass of arrays; a PyTorch or Keras model to run.watch(model)",
        )
    return found


def home_of(thing: object, libraries: Sequence[str]) -> str:
    """The first of some libraries that an object's class or one of its base classes is from; empty where none is."""
    homes = {kind.__module__.partition(".")[0] for kind in type(thing).__mro__}
    return next((library for library in libraries if library in homes), "")


def _without_collections(tree: object) -> object:
    """The variables of a Flax network without the names of their collections, where no two names meet."""
    if not isinstance(tree, Mapping) or "params" not in tree or not _COLLECTIONS.issuperset(tree):
        return tree
    return _Merged([part for part in tree.values() if part is not None])


class _Merged:
    """Several containers as if they were one."""

    def __init__(self, parts: list[object]) -> None:
        self.parts = parts


def _gather(node: Any, path: tuple[str, ...], found: Tree, openers: list[Any], *, numbers: bool) -> None:
    if node is None:
        return
    if type(node) is np.ndarray:
        _add(node, path, found)
        return
    if isinstance(node, _Merged):
        for part in node.parts:
            _gather(part, path, found, openers, numbers=True)
        return
    for opener in openers:
        opened = opener(node)
        if opened is not None:
            if opened.array is not None:
                _add(opened.array, path, found)
            elif opened.children is not None:
                _note_kind(opened.kind, path, found)
                for name, child in opened.children:
                    _gather(child, (*path, name), found, openers, numbers=False)
            return
    if isinstance(node, Mapping):
        for name, child in node.items():
            _gather(child, (*path, str(name)), found, openers, numbers=numbers)
    elif isinstance(node, list | tuple):
        array = _list_of_numbers(node) if numbers else None
        if array is not None:
            _add(array, path, found)
            return
        names = getattr(node, "_fields", None) or map(str, range(len(node)))
        for name, child in zip(names, node, strict=True):
            _gather(child, (*path, name), found, openers, numbers=numbers)
    elif hasattr(node, "shape") and hasattr(node, "dtype") and hasattr(node, "__array__"):
        _add(node, path, found)
    elif is_dataclass(node) and not isinstance(node, type):
        _note_kind(type(node).__name__, path, found)
        for name, child in _of_dataclass(node):
            _gather(child, (*path, name), found, openers, numbers=False)
    elif isinstance(node, Number) and numbers:
        _add(np.asarray(node), path, found)
    elif not isinstance(node, _SETTINGS) and not callable(node):
        found.others.append(f"{'.'.join(path)} ({type(node).__name__})")


def _add(array: Any, path: tuple[str, ...], found: Tree) -> None:
    name = ".".join(path) or "parameters"
    if name in found.arrays:
        raise UsageError(f"two arrays are called {name!r}", hint="rename one of them")
    found.arrays[name] = array


def _note_kind(kind: str, path: tuple[str, ...], found: Tree) -> None:
    if kind:
        found.kinds[".".join(path)] = kind


def _of_dataclass(node: Any) -> Iterator[tuple[str, Any]]:
    """The fields that hold what is trained: not those that say they are static."""
    for one in fields(node):
        if not one.metadata.get("static") and one.metadata.get("pytree_node", True):
            yield one.name, getattr(node, one.name, None)


def _list_of_numbers(node: Sequence[Any]) -> Any:
    """A vector or a matrix written as nested Python lists; None where it is something else."""
    first = node
    while isinstance(first, list) and first:
        first = first[0]
    if not isinstance(node, list) or not isinstance(first, int | float):
        return None
    try:
        array = np.asarray(node)
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in "fiub" else None


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
