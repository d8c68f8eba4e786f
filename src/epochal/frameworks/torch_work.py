"""How many multiply-adds a PyTorch operation takes: those of matrix products and convolutions, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from epochal.facts import Shape
from epochal.facts.products import chain_products, einsum_products

__all__ = ["multiply_adds"]

# What is called by these names may hold products that cannot be seen from outside.
_CLOSED = ("cond", "map", "scan", "while_loop", "no_grad", "wrap", "autograd_function", "hop", "flex_attention")


def multiply_adds(op: str, given: Sequence[Shape], output: Shape | None, settings: Mapping[str, Any]) -> int | None:
    """Those of one call of `op`: `given` are the shapes of its tensors in their order, `output` that of its answer.

    0 for operations that have no products, such as sums, norms and activations; None where it cannot be said.
    """
    if any(word in op for word in _CLOSED):
        return None
    count = _COUNTS.get(op)
    if count is None:
        return 0
    try:
        return count(list(given), output or (), settings)
    except (IndexError, ValueError, KeyError, TypeError):
        return None  # a way of calling it that is not known here


def _linear(given: list[Shape], output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(output) * given[1][-1]


def _product(given: list[Shape], output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(output) * given[0][-1]


def _added_product(given: list[Shape], output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(output) * given[1][-1]


def _sum_of_products(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(given[1]) * given[2][-1]


def _tensor_product(given: list[Shape], output: Shape, settings: Mapping[str, Any]) -> int:
    """What is made, times the sizes over which it is summed."""
    dims = settings["dims_self"]
    summed = dims if isinstance(dims, list) else [dims]
    return math.prod(output) * math.prod(given[0][dim] for dim in summed)


def _chain(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    return chain_products(given)


def _convolution(given: list[Shape], output: Shape, settings: Mapping[str, Any]) -> int:
    if settings.get("transposed"):
        return _transposed(given, output, settings)
    return math.prod(output) * math.prod(given[1][1:])


def _transposed(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(given[0]) * math.prod(given[1][1:])


def _attention(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    query, key, value = given[:3]
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _whole_attention(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    """`nn.MultiheadAttention` as one call: three projections, queries with keys, scores with values, one projection.

    Shapes are [targets, batch, width] and [sources, batch, width], or without the batch.
    """
    query, key, value = given[:3]
    width, rows, targets, sources = query[-1], math.prod(query[1:-1]), query[0], key[0]
    into = targets * width * width + sources * (key[-1] + value[-1]) * width
    return rows * (into + 2 * targets * sources * width + targets * width * width)


def _recurrent(given: list[Shape], _output: Shape, settings: Mapping[str, Any]) -> int:
    """Each weight matrix is used once for each step of each sequence."""
    if settings.get("packed"):
        raise ValueError("sequences of different lengths")
    return math.prod(given[0][:-1]) * sum(math.prod(shape) for shape in given[1:] if len(shape) == 2)


def _cell(given: list[Shape], _output: Shape, _: Mapping[str, Any]) -> int:
    rows = math.prod(given[0][:-1])
    matrices = [shape for shape in given if len(shape) == 2][-2:]
    return rows * sum(math.prod(shape) for shape in matrices)


def _bilinear(given: list[Shape], output: Shape, _: Mapping[str, Any]) -> int:
    return math.prod(output[:-1]) * (math.prod(given[2]) + given[2][0] * given[2][2])


def _einsum(given: list[Shape], _output: Shape, settings: Mapping[str, Any]) -> int | None:
    return einsum_products(str(settings["equation"]), given)


_COUNTS: dict[str, Callable[[list[Shape], Shape, Mapping[str, Any]], int | None]] = {
    "linear": _linear,
    **dict.fromkeys(
        ("mm", "matmul", "bmm", "mv", "dot", "vdot", "inner", "rmatmul", "imatmul", "linalg_matmul"), _product
    ),
    **dict.fromkeys(("linalg_vecdot", "vecdot"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added_product),
    "addbmm": _sum_of_products,
    "tensordot": _tensor_product,
    **dict.fromkeys(("linalg_multi_dot", "chain_matmul", "multi_dot"), _chain),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _whole_attention,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    "bilinear": _bilinear,
    "einsum": _einsum,
}
