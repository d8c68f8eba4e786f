"""How many multiply-adds a product takes, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epochal.facts.graph import Shape

__all__ = ["chain_products", "einsum_products"]


def chain_products(shapes: Sequence[Shape]) -> int:
    """Those of a product of matrices in the order that takes fewest; the first and the last may be vectors.

    Raises ValueError for fewer than two.
    """
    if len(shapes) < 2:
        raise ValueError("a product has two factors")
    sizes = [1 if len(shapes[0]) == 1 else shapes[0][0], *(shape[0] for shape in shapes[1:])]
    sizes.append(1 if len(shapes[-1]) == 1 else shapes[-1][-1])
    count = len(shapes)
    least = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            least[i][j] = min(
                least[i][k] + least[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)
            )
    return least[0][-1]


def einsum_products(equation: str, shapes: Sequence[Shape]) -> int | None:
    """Those of an Einstein sum of two operands: one for each combination of their indices; 0 of one, None of more.

    Raises ValueError where the shapes do not fit the equation.
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) == len(shapes) == 1:
        return 0
    if len(terms) != 2 or len(shapes) != 2:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        left, dots, right = term.partition("...")
        letters = [*left, *(f".{n}" for n in range(len(shape) - len(left) - len(right), 0, -1) if dots), *right]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(int(size), sizes.get(letter, 1))
    return math.prod(sizes.values())
