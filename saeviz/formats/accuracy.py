"""Accuracy of yes-or-no answers, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, nan, sqrt
from typing import NamedTuple

Z = 1.959964
"""The 97.5 % quantile of the standard normal distribution, for 95 % intervals."""


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval; NaN if nothing was counted."""

    value: float
    low: float
    high: float


def proportion(count: int, n: int) -> Estimate:
    """The share `count` / `n` with Wilson's score interval (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    if n == 0:
        return Estimate(nan, nan, nan)
    share, spread = count / n, Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def mean_of(one: Estimate, other: Estimate) -> Estimate:
    """The mean of two independent estimates, with an interval derived from theirs.

    MOVER, the method of variance estimates recovery: the distances of the limits from the estimates are added in
    quadrature (Zou & Donner, Statistics in Medicine 27, 2008; with Wilson's intervals it is Newcombe's of 1998).
    """
    value = (one.value + other.value) / 2
    low = value - hypot(one.value - one.low, other.value - other.low) / 2
    high = value + hypot(one.high - one.value, other.high - other.value) / 2
    return Estimate(value, low, high)


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The area under the ROC curve.

    This is the share of pairs in which a positive score exceeds a negative one, ties counted half; NaN without pairs.
    """
    if not positive or not negative:
        return nan
    above = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return above / (len(positive) * len(negative))
