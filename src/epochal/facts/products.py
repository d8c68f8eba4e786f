"""How many multiply-adds a product takes, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epochal.facts.graph import Shape

__all__ = ["einsum_products"]


def einsum_products(equation: str, shapes: Sequence[Shape]) -> int | None:
    """Those of an Einstein sum of two operands: one for each combination of their indices; None for other numbers.

    Raises ValueError where the shapes do not fit the equation.
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or len(shapes) != 2:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        left, dots, right = term.partition("...")
        letters = [*left, *(f".{n}" for n in range(len(shape) - len(left) - len(right), 0, -1) if dots), *right]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(int(size), sizes.get(letter, 1))
    return math.prod(sizes.values())
