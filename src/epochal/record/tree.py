"""From nested containers of arrays to dotted names: `{"layers": [{"weight": w}]}` holds `layers.0.weight`.

Containers are mappings, lists, tuples, named tuples and dataclasses, and what the adapters of imported frameworks know
to be one. No framework is imported here: whatever has a shape, a type and `__array__` is an array.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
_NUMBER = re.compile(r"(\d+)")
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
    walk = _Walk([_load(target) for module, target in _OPENERS.items() if module in sys.modules])
    for part in _collections(tree):
        walk.enter(part, (), numbers=True)
    if not walk.found.arrays:
        raise UsageError(
            f"{what} is a {type(tree).__module__}.{type(tree).__qualname__} without any array in it",
            hint="give a mapping, list, tuple or dataclass of arrays; a PyTorch or Keras model to run.watch(model)",
        )
    return walk.found


def home_of(thing: object, libraries: Sequence[str]) -> str:
    """The first of some libraries that an object's class or one of its base classes is from; empty where none is."""
    homes = {kind.__module__.partition(".")[0] for kind in type(thing).__mro__}
    return next((library for library in libraries if library in homes), "")


def _collections(tree: object) -> list[object]:
    """The collections of a Flax network's variables (`params`, `batch_stats`), else the container as it is."""
    if isinstance(tree, Mapping) and "params" in tree and _COLLECTIONS.issuperset(tree):
        return [tree["params"], *(part for name, part in tree.items() if name != "params")]
    return [tree]


class _Walk:
    """Goes through a container; a part that holds itself is not entered again."""

    def __init__(self, openers: Sequence[Callable[[object], Opened | None]]) -> None:
        self.found = Tree()
        self._openers = openers
        self._inside: set[int] = set()

    def enter(self, node: Any, path: tuple[str, ...], *, numbers: bool) -> None:
        """Find the arrays in one part, `path` being the way to it; `numbers` says whether plain numbers count."""
        if node is None:
            return
        if type(node) is np.ndarray:
            self._add(node, path)
            return
        for opener in self._openers:
            opened = opener(node)
            if opened is not None:
                if opened.array is not None:
                    self._add(opened.array, path)
                elif opened.children is not None:
                    self._enter_all(node, opened.children, path, kind=opened.kind)
                return
        if isinstance(node, Mapping):
            self._enter_all(node, _in_order({str(name): child for name, child in node.items()}), path, numbers=numbers)
        elif isinstance(node, list | tuple):
            array = _list_of_numbers(node) if numbers else None
            if array is not None:
                self._add(array, path)
                return
            names = getattr(node, "_fields", None) or map(str, range(len(node)))
            self._enter_all(node, zip(names, node, strict=True), path, numbers=numbers)
        elif hasattr(node, "shape") and hasattr(node, "dtype") and hasattr(node, "__array__"):
            self._add(node, path)
        elif is_dataclass(node) and not isinstance(node, type):
            self._enter_all(node, _of_dataclass(node), path, kind=type(node).__name__)
        elif isinstance(node, Number) and numbers:
            self._add(np.asarray(node), path)
        elif not isinstance(node, _SETTINGS) and not callable(node):
            self.found.others.append(f"{'.'.join(path)} ({type(node).__name__})")

    def _enter_all(
        self,
        node: object,
        children: Iterable[tuple[str, Any]],
        path: tuple[str, ...],
        *,
        kind: str = "",
        numbers: bool = False,
    ) -> None:
        if id(node) in self._inside:
            return
        self._inside.add(id(node))
        if kind:
            self.found.kinds[".".join(path)] = kind
        for name, child in children:
            self.enter(child, (*path, name), numbers=numbers)
        self._inside.discard(id(node))

    def _add(self, array: Any, path: tuple[str, ...]) -> None:
        name = ".".join(path) or "parameters"
        if name in self.found.arrays:
            raise UsageError(f"two arrays are called {name!r}", hint="rename one of them")
        self.found.arrays[name] = array


def _in_order(parts: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The parts of a mapping in their own order; in that of their numbers where it is the alphabet's.

    JAX sorts the keys of every dictionary that it returns, so that `Dense_10` comes before `Dense_2`.
    """
    names = list(parts)
    if names == sorted(names):
        names.sort(key=_by_number)
    return ((name, parts[name]) for name in names)


def _by_number(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _NUMBER.split(name) if part]


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
