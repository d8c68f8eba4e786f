"""How many multiply-adds an ONNX operator takes for one example, from the sizes that the file tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from epochal.facts.products import einsum_products
from epochal.network.onnx_file import Node, Sizes

__all__ = ["Batch", "multiply_adds"]

# Their inner graphs are not looked into: what they cost is not known.
_CLOSED = ("If", "Loop", "Scan", "SequenceMap")
_OWN = ("", "ai.onnx", "ai.onnx.ml")
# What hands all numbers on in another order or shape.
_MOVING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
_Made = Sequence[int | str]


@dataclass(slots=True)
class Batch:
    """How many examples there are: the first size of the network's first input.

    `examples` is 1 where that size is open. `words` are the words for open sizes that depend on it alone, each with how
    many there are of it for one example.
    """

    examples: int = 1
    words: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, first: int | str | None) -> Batch:
        """The batch whose size is said so."""
        if isinstance(first, str):
            return cls(words={first: 1})
        return cls(examples=first or 1)

    def learn(self, node: Node, sizes: Mapping[str, Sizes]) -> None:
        """An operator that moves numbers and makes none: what its output calls by a word of its own is told by them."""
        if node.op not in _MOVING or not node.inputs or not node.outputs:
            return
        came, went = sizes.get(node.inputs[0]), sizes.get(node.outputs[0])
        fresh = [size for size in went or () if isinstance(size, str) and size not in self.words]
        if came is None or went is None or len(fresh) != 1:
            return
        rest = tuple(size for size in went if size != fresh[0])
        before, behind = self.of_one(came), self.of_one(rest)
        if before and behind and len(rest) == len(went) - 1 and before % behind == 0:
            self.words[fresh[0]] = before // behind

    def of_one(self, made: _Made) -> int | None:
        """The product of all sizes for one example; None where it is not known."""
        whole, opened = 1, [size for size in made if isinstance(size, str)]
        for size in made:
            whole *= self.words.get(size, 0) if isinstance(size, str) else size
        if len(opened) > 1 or not all(word in self.words for word in opened) or whole % self.examples:
            return None
        return whole // self.examples


def multiply_adds(node: Node, sizes: Mapping[str, Sizes], batch: Batch) -> int | None:
    """Those of its products and convolutions; 0 for an operator without, None where a size is not known."""
    if node.op in _CLOSED or node.domain not in _OWN:
        return None
    count = _COUNTS.get(node.op)
    if count is None:
        return 0
    try:
        made = count(node, [sizes.get(name) for name in node.inputs], sizes[node.outputs[0]] if node.outputs else ())
    except (_Open, IndexError, KeyError):
        return None
    return batch.of_one(made)


class _Open(Exception):  # noqa: N818 - it is no error
    """Something that the count needs is not known."""


def _known(sizes: Sizes | None) -> Sizes:
    if sizes is None:
        raise _Open
    return sizes


def _closed(sizes: Sizes | None) -> int:
    """The product of sizes of which none is open."""
    found = [size for size in _known(sizes) if isinstance(size, int)]
    if len(found) != len(_known(sizes)):
        raise _Open
    return math.prod(found)


def _convolution(kernel: int) -> Callable[[Node, list[Sizes | None], Sizes], _Made]:
    return lambda _, given, made: [*made, _closed(_known(given[kernel])[1:])]


def _transposed(_: Node, given: list[Sizes | None], _made: Sizes) -> _Made:
    return [*_known(given[0]), _closed(_known(given[1])[1:])]


def _product(node: Node, given: list[Sizes | None], made: Sizes) -> _Made:
    """What is made, times the size that both sides share: either of them may tell it."""
    turned = [node.op == "Gemm" and bool(node.attributes.get(name)) for name in ("transA", "transB")]
    first, second = given[0], given[3 if node.op == "QLinearMatMul" else 1]
    if first and isinstance(inner := first[0 if turned[0] else -1], int):
        return [*made, inner]
    shared = _known(second)
    return [*made, _closed(shared[-1:] if turned[1] or len(shared) == 1 else shared[-2:-1])]


def _recurrent(_: Node, given: list[Sizes | None], _made: Sizes) -> _Made:
    """Each weight is used once for each step of each sequence, in each direction."""
    return [*_known(given[0])[:2], _closed(given[1]) + _closed(given[2])]


def _attention(_: Node, given: list[Sizes | None], made: Sizes) -> _Made:
    """Queries with keys, scores with values: [batch, heads, tokens, width] or [batch, tokens, heads * width]."""
    if len(given) > 4 and given[4] is not None:
        raise _Open  # keys of former calls
    query, key = _known(given[0]), _known(given[1])
    return [*query[:-1], key[-2], _closed(query[-1:]) + _closed(made[-1:])]


def _einsum(node: Node, given: list[Sizes | None], made: Sizes) -> _Made:
    # The batch has a letter of its own, which comes once: as one here, and as itself behind.
    opened = {size for sizes in given for size in _known(sizes) if isinstance(size, str)}
    shapes = [tuple(1 if isinstance(size, str) else size for size in _known(sizes)) for sizes in given]
    try:
        count = einsum_products(str(node.attributes.get("equation", "")), shapes)
    except ValueError:
        raise _Open from None
    if count is None or (opened and opened != {size for size in made if isinstance(size, str)}):
        raise _Open
    return [count, *opened]


_COUNTS: dict[str, Callable[[Node, list[Sizes | None], Sizes], _Made]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "DeformConv"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"), _product),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "Attention": _attention,
    "Einsum": _einsum,
}
