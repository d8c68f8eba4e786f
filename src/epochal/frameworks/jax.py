"""How networks in JAX are read: pytrees of arrays that never change, Flax NNX modules, Equinox modules.

JAX computes behind the program's back, and its arrays never change. So nothing is waited for here: what has not been
computed yet is copied on its own device, in the queue behind its computation, and read on the writer's thread. The copy
is needed because the training may give an array's memory away (`donate_argnums`) as soon as it goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from epochal.errors import StoreError, UsageError
from epochal.facts import Graph
from epochal.frameworks.arrays import ArrayProbe
from epochal.frameworks.jax_graph import graph_of
from epochal.record.tree import Opened, flatten, home_of

__all__ = ["graph_of", "opened", "probe", "source"]

Array = npt.NDArray[Any]

_LEFT_OUT = Opened()
_COMMON = (Mapping, list, tuple, np.ndarray, str, int, float)
_NNX_OWN = ("_pytree__", "_object__")
"""How attributes begin that NNX keeps for itself in a module."""


def probe(model: object, *, activations: bool = True, gradients: bool = True) -> ArrayProbe | None:
    """Return a probe when `model` is a Flax NNX module, which training changes in place.

    Raises UsageError for networks that training replaces by new ones: there would be nothing to see in the old one.
    """
    if _is_nnx(model):
        return ArrayProbe(_Module(model), activations=activations, gradients=gradients)
    replaced = {"equinox": "Equinox module", "flax": "Flax linen module"}.get(home_of(model, ("equinox", "flax")), "")
    if isinstance(model, Mapping | list | tuple) and _holds_arrays(model):
        replaced = "tree of JAX arrays"
    if not replaced:
        return None
    raise UsageError(
        f"watch() got a {replaced}: training does not change it but makes new ones, so there is nothing to watch",
        hint="call run.log_parameters(params, gradients=grads) after each update instead",
    )


def opened(node: Any) -> Opened | None:
    """What is inside an object of JAX or Flax; None where it is neither, or a container that every language has.

    Random keys are left out: they are nothing that is learned. Raises UsageError for arrays that have no values: those
    inside a function that is being traced, and those whose memory was given away.
    """
    if isinstance(node, jax.Array):
        return _opened_array(node)
    variable = _nnx("Variable")
    if variable is not None and isinstance(node, variable):
        if isinstance(node, _nnx("RngState") or ()):
            return _LEFT_OUT
        value = node[...] if hasattr(node, "__getitem__") else node.value
        return _opened_array(value) if isinstance(value, jax.Array) else _LEFT_OUT
    if getattr(node, "dtype", None) == jax.dtypes.float0:
        return _LEFT_OUT  # what a gradient by whole numbers is
    if _is_nnx(node):
        return Opened(children=_nnx_children(node), kind=type(node).__name__)
    if isinstance(node, Mapping | list | tuple | np.ndarray | str | int | float) or hasattr(
        node, "__dataclass_fields__"
    ):
        return None
    leaves, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda inner: inner is not node)
    if len(leaves) == 1 and not leaves[0][0]:
        return None
    return Opened(children=[(_word(path[-1]), child) for path, child in leaves], kind=type(node).__name__)


def source(array: Any) -> Array | Callable[[], Array]:
    """An array's values: a view of them where they are computed and lie here, else a function that waits for them."""
    if not array.is_fully_addressable:
        array = array.addressable_data(0)  # each machine has all of it
    if array.is_ready() and all(device.platform == "cpu" for device in array.devices()):
        return np.asarray(array)
    copy = array.copy()
    copy.copy_to_host_async()

    def wait() -> Array:
        try:
            return np.asarray(copy)
        except RuntimeError as error:
            raise StoreError(f"JAX could not compute these values: {error}") from error

    return wait


def _opened_array(array: Any) -> Opened:
    if isinstance(array, jax.core.Tracer):
        raise UsageError(
            "the parameters have no values yet: this is inside a function that JAX traces (jax.jit, jax.grad, ...)",
            hint="call run.log_parameters() outside of it, with what it returned",
        )
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return _LEFT_OUT
    if array.is_deleted():
        raise UsageError(
            "the memory of these parameters was given away (donate_argnums)",
            hint="hand over what the update returned, not what it was given",
        )
    return Opened(array=array)


def _word(key: Any) -> str:
    """One part of the way to a leaf: an attribute's name, a mapping's key, or a place."""
    for attribute in ("name", "key", "idx"):
        if (found := getattr(key, attribute, None)) is not None:
            return str(found)
    return str(key)


def _nnx(name: str) -> Any:
    """A class of Flax NNX, None where it was never imported."""
    module = sys.modules.get("flax.nnx")
    return getattr(module, name, None)


def _is_nnx(node: object) -> bool:
    module, base = _nnx("Module"), _nnx("Pytree")
    return isinstance(node, tuple(kind for kind in (module, base) if kind is not None))


def _holds_arrays(tree: object) -> bool:
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(tree))


def _nnx_children(node: Any) -> list[tuple[str, Any]]:
    """What a module holds, in the order in which its attributes were set; lists of modules by their places."""
    return [(str(name), child) for name, child in vars(node).items() if not str(name).startswith(_NNX_OWN)]


class _Module:
    """A Flax NNX module as the probe of arrays reads it: anew at each look."""

    framework = "flax"

    def __init__(self, module: Any) -> None:
        self._module = module
        self._tree = flatten(module)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its arrays by name."""
        return flatten(self._module).arrays

    @property
    def kinds(self) -> Mapping[str, str]:
        """The classes of its parts."""
        return self._tree.kinds

    @property
    def model(self) -> str:
        """Its own class."""
        return type(self._module).__name__

    def graph_from(self, inputs: object) -> Graph | None:
        """Its graph, read off what one example batch does in it."""
        return graph_of(self._module, *inputs) if isinstance(inputs, tuple) else graph_of(self._module, inputs)
