"""How many multiply-adds a Keras layer or operation takes for one example, from its settings and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from epochal.facts import Shape
from epochal.facts.products import einsum_products

__all__ = ["multiply_adds"]

_FREE = ("Lambda",)  # it runs something else, which is not looked into


def multiply_adds(what: Any, given: Sequence[Shape], made: Sequence[Shape]) -> int | None:
    """Those of its products and convolutions; 0 for what has none, None where it is not known or a size is open."""
    if what is None:
        return 0
    try:
        return _count(what, [_one(shape) for shape in given], [_one(shape) for shape in made])
    except (_Open, IndexError, AttributeError, TypeError, ValueError):
        return None


class _Open(Exception):  # noqa: N818 - it is no error
    """A size other than the batch is open."""


def _one(shape: Shape) -> Shape:
    """The shape for one example."""
    if -1 in shape[1:]:
        raise _Open
    return tuple(1 if size == -1 else size for size in shape)


def _count(what: Any, given: list[Shape], made: list[Shape]) -> int | None:
    layers = keras.layers
    if isinstance(what, layers.Dense):
        return math.prod(made[0]) * given[0][-1]
    if isinstance(what, layers.EinsumDense):
        return einsum_products(what.equation, (given[0], tuple(what.kernel.shape)))
    if isinstance(what, layers.MultiHeadAttention):
        return _attention(what, given)
    if isinstance(what, layers.GroupQueryAttention):
        return _grouped_attention(what, given)
    if isinstance(what, layers.Attention | layers.AdditiveAttention):
        return _plain_attention(what, given)
    if isinstance(what, layers.RNN):
        return _recurrent(what, given[0])
    if isinstance(what, layers.Wrapper | layers.Bidirectional):
        return _wrapped(what, given, made)
    kind = type(what).__name__
    if isinstance(what, keras.layers.Layer):
        if what.__class__.__module__.startswith("keras.src.layers.convolutional"):
            return _convolution(what, given[0], made[0])
        if kind == "Dot":
            return math.prod(given[0]) * math.prod(made[0]) // math.prod(made[0][:-1] or (1,))
        own = type(what).__module__.split(".")[0] == "keras"
        return 0 if own and kind not in _FREE else None if what.weights or kind in _FREE else 0
    if kind in ("Matmul", "Dot", "Tensordot"):
        return math.prod(made[0]) * given[0][-1] if kind != "Tensordot" else None
    if kind == "Einsum":
        return einsum_products(what.subscripts, given)
    return 0


def _convolution(what: Any, given: Shape, made: Shape) -> int:
    kind = type(what).__name__
    last = what.data_format == "channels_last"
    places = math.prod(made[1:-1] if last else made[2:])
    if "Transpose" in kind:  # each input is multiplied with the whole kernel that leads out of it
        kernel = tuple(what.kernel.shape)
        return int(math.prod(given) * math.prod(kernel) // kernel[-1])
    if "Separable" in kind:
        return places * int(math.prod(what.depthwise_kernel.shape) + math.prod(what.pointwise_kernel.shape))
    # A grouped kernel has inputs/groups channels, a depthwise one a kernel for each input: no size twice.
    return places * int(math.prod(what.kernel.shape))


def _recurrent(what: Any, given: Shape) -> int | None:
    """Each weight is used once for each step, of all cells that stand on one another."""
    cells = getattr(what.cell, "cells", [what.cell])
    if type(what).__name__.startswith("Conv") or not all(hasattr(cell, "recurrent_kernel") for cell in cells):
        return None
    kernels = [math.prod(kernel.shape) for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)]
    return given[1] * int(sum(kernels))


def _wrapped(what: Any, given: list[Shape], made: list[Shape]) -> int | None:
    """What the layer inside costs: at every step, in both directions, or once."""
    layers = keras.layers
    if isinstance(what, layers.TimeDistributed):
        inside = [(shape[0], *shape[2:]) for shape in given], [(shape[0], *shape[2:]) for shape in made]
        once = _count(what.layer, *inside)
        return None if once is None else given[0][1] * once
    if isinstance(what, layers.Bidirectional):
        both = [_recurrent(one, given[0]) for one in (what.forward_layer, what.backward_layer)]
        return None if None in both else sum(one for one in both if one is not None)
    if isinstance(what, layers.SpectralNormalization):  # it works on its kernel in training alone
        return _count(what.layer, given, made)
    return None


def _plain_attention(what: Any, given: list[Shape]) -> int:
    """Queries with keys where these are multiplied and not added, then scores with values."""
    query, value = given[0], given[1]
    pairs = math.prod(query[1:-1]) * math.prod(value[1:-1])
    multiplied = type(what).__name__ == "Attention" and what.score_mode == "dot"
    return pairs * (value[-1] + (query[-1] if multiplied else 0))


def _grouped_attention(what: Any, given: list[Shape]) -> int:
    """As of many heads, of which several share their keys and values."""
    query, value = given[0], given[1]
    targets, sources = math.prod(query[1:-1]), math.prod(value[1:-1])
    wide, shared = what.num_query_heads * what.head_dim, what.num_key_value_heads * what.head_dim
    key = given[2] if len(given) > 2 else value
    into = targets * query[-1] * wide + sources * (key[-1] + value[-1]) * shared
    return int(into + 2 * targets * sources * wide + targets * wide * query[-1])


def _attention(what: Any, given: list[Shape]) -> int:
    """Projections of queries, keys and values, queries with keys, scores with values, and the projection out."""
    query, value = given[0], given[1] if len(given) > 1 else given[0]
    targets, sources = math.prod(query[1:-1]), math.prod(value[1:-1])
    heads, wide, deep = what.num_heads, what.key_dim, what.value_dim or what.key_dim
    into = heads * (targets * query[-1] * wide + sources * value[-1] * (wide + deep))
    out = targets * heads * deep * int(what.output_dense.kernel.shape[-1])
    return int(into + heads * targets * sources * (wide + deep) + out)
