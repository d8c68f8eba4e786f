"""Reading a program of JAX (a jaxpr): what a value is made of, and what is inside a call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CALLS = ("pjit", "jit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call")


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value: the box it comes from, or the parameters it is made of; neither is a constant.

    `axes` is the order in which a parameter's own axes lie in it. `fresh` says that it is what its box puts out.
    """

    box: str = ""
    parameters: tuple[str, ...] = ()
    axes: tuple[int, ...] | None = None
    fresh: bool = False


CONSTANT = Value()


def value_of(known: Mapping[Any, Value], variable: Any) -> Value:
    """What is known of a variable; a literal is a constant."""
    # A literal has a value of its own and is no key.
    return CONSTANT if hasattr(variable, "val") else known.get(variable, CONSTANT)


def called(eqn: Any) -> str:
    """The name of the function that a call calls, else that of the operation."""
    word = eqn.primitive.name
    return str(eqn.params.get("name", word)).strip("_") if word in _CALLS else word


def inner_of(eqn: Any) -> Any:
    """The program inside a call; None for other operations and for loops, which stay one operation."""
    if eqn.primitive.name not in _CALLS:
        return None
    inner = next((eqn.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in eqn.params), None)
    inner = getattr(inner, "jaxpr", inner)
    return inner if inner is not None and len(inner.invars) == len(eqn.invars) else None


def axes_after(eqn: Any, values: Sequence[Value]) -> tuple[int, ...] | None:
    """The order of a parameter's axes after an operation on it alone; None where that cannot be said."""
    known = [v for v in values if v.parameters]
    if len(known) != 1 or known[0].axes is None:
        return None
    if eqn.primitive.name == "transpose":
        return tuple(known[0].axes[i] for i in eqn.params["permutation"])
    same = len(eqn.outvars) == 1 and eqn.outvars[0].aval.shape == next(
        v.aval.shape for v, value in zip(eqn.invars, values, strict=True) if value.parameters
    )
    return known[0].axes if same else None


def keeps(eqn: Any) -> bool:
    """Whether the values stay what they are."""
    return eqn.primitive.name in ("reshape", "transpose", "convert_element_type", "broadcast_in_dim", "squeeze", "copy")


def work_of(eqn: Any, batch: int | None) -> int | None:
    """Multiply-adds of an operation for one example: those of the batch, shared out. None for loops and branches."""
    word = eqn.primitive.name
    if word in ("scan", "while", "cond", "pallas_call", "custom_partitioning"):
        return None
    if word not in ("dot_general", "conv_general_dilated"):
        return 0
    first, second = (variable.aval.shape for variable in eqn.invars[:2])
    count = int(math.prod(eqn.outvars[0].aval.shape))
    if word == "dot_general":
        count *= math.prod(first[axis] for axis in eqn.params["dimension_numbers"][0][0])
    else:
        spec = eqn.params["dimension_numbers"].rhs_spec
        if math.prod(eqn.params["lhs_dilation"]) > 1:  # transposed: each input meets all of the kernel that leads out
            count = int(math.prod(first)) * int(math.prod(second)) // int(second[spec[1]])
        else:
            count *= int(math.prod(second)) // int(second[spec[0]])
    return int(count // batch if batch and count % batch == 0 else count)


def is_zero(variable: Any) -> bool:
    """Whether an input is the number 0, written into the program."""
    value = getattr(variable, "val", None)
    return value is not None and np.ndim(value) == 0 and float(value) == 0.0
