"""How often yes-or-no answers are right, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, nan, sqrt
from typing import NamedTuple

Z = 1.959964
"""Of the standard normal distribution, for intervals of 95 %."""


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval; NaN where nothing was counted."""

    value: float
    low: float
    high: float


def proportion(count: int, n: int) -> Estimate:
    """`count` of `n` with Wilson's score interval (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    if n == 0:
        return Estimate(nan, nan, nan)
    share, spread = count / n, Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def mean_of(one: Estimate, other: Estimate) -> Estimate:
    """The mean of two independent estimates, with the interval that follows from theirs.

    MOVER, the method of variance estimates recovery: the distances of the limits from the estimates are added in
    quadrature (Zou & Donner, Statistics in Medicine 27, 2008; with Wilson's intervals it is Newcombe's of 1998).
    """
    value = (one.value + other.value) / 2
    low = value - hypot(one.value - one.low, other.value - other.low) / 2
    high = value + hypot(one.high - one.value, other.high - other.value) / 2
    return Estimate(value, low, high)


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How often a positive score exceeds a negative one, over all pairs, ties counted half; NaN without pairs."""
    if not positive or not negative:
        return nan
    above = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return above / (len(positive) * len(negative))
