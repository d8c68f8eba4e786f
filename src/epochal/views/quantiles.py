"""Quantiles of Student's t and of the F distribution, from the regularised incomplete beta function.

The continued fraction is evaluated by the modified method of Lentz: W. J. Lentz, Applied Optics 15 (1976) 668, with
the fraction of the NIST Digital Library of Mathematical Functions, 8.17.22.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["beta_share", "f_quantile", "t_quantile"]

_TINY = 1e-300
_HALVINGS = 200


def beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and x from 0 to 1."""
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond its mean the fraction of the mirrored one converges quicker
        return 1 - beta_share(b, a, 1 - x)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or _TINY)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or _TINY)
            c = (1 + term / c) or _TINY
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def t_quantile(share: float, df: float) -> float:
    """The value that a share (0 to 1) of Student's t distribution with `df` degrees of freedom lies below."""
    if share < 0.5:
        return -t_quantile(1 - share, df)

    def below(t: float) -> float:
        return 1 - beta_share(df / 2, 0.5, df / (df + t * t)) / 2

    return _solve(below, share)


def f_quantile(share: float, df1: float, df2: float) -> float:
    """The value that a share (0 to 1) of the F distribution with `df1` and `df2` degrees of freedom lies below."""

    def below(f: float) -> float:
        return beta_share(df1 / 2, df2 / 2, df1 * f / (df1 * f + df2))

    return _solve(below, share)


def _solve(below: Callable[[float], float], share: float) -> float:
    """Where a growing function of positive numbers reaches `share`."""
    low, high = 0.0, 1.0
    while below(high) < share and high < 1e200:
        low, high = high, high * 4
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return (low + high) / 2
