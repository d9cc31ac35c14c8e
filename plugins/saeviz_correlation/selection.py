"""What is left of a correlation that was picked because it is significant, what a design can find, what is negligible.

Everything works on Fisher's scale, artanh(r), with the standard error that the 95 % interval of r implies, and its
degrees of freedom: infinite for independent images, few where images belong to groups or a feature is rare. Equivalence
and detectable r go by Student's t. The correction for having been picked takes a normal distribution instead, which it
is the less the fewer degrees of freedom there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.options import Correction

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

POWER = 0.8
FEW_DF = 30
"""Below these, the correction takes the normal value that has the p of the test, not that of the standard error."""
_STEPS = 80
"""Bisections: more than a double has digits."""


def cutoff(correction: Correction, alpha: float, n_tests: int, n_found: int, smallest: FloatArray | None) -> float:
    """The largest p with which a test of the family is significant, given the others.

    For `bh` and `by` that depends on how many are found, at least this one. `smallest` has the smallest p of each
    permutation, for `max-t`.
    """
    if not n_tests:
        return float("nan")
    if correction == "max-t" and smallest is not None:
        reached = int(np.floor(alpha * (1 + smallest.size) * (1 + 1e-12))) - 1
        return float(np.sort(smallest)[min(reached, smallest.size - 1)])
    found = 1 if correction == "bonferroni" else max(n_found, 1)
    dependence = float((1 / np.arange(1, n_tests + 1)).sum()) if correction == "by" else 1.0
    return alpha * found / (n_tests * dependence)


def standard_errors(low: FloatArray, high: FloatArray, df: FloatArray) -> FloatArray:
    """Of artanh(r), from the 95 % interval of r; NaN where that says nothing."""
    from scipy.special import stdtrit

    with np.errstate(divide="ignore", invalid="ignore"):
        se = (np.arctanh(high) - np.arctanh(low)) / (2 * stdtrit(df, 0.975))
    return np.where(np.isfinite(se) & (se > 0), se, np.nan)


def corrected(
    r: FloatArray, p: FloatArray, se: FloatArray, df: FloatArray, largest_p: FloatArray | float
) -> tuple[FloatArray, ...]:
    """The correlation and its 95 % interval, given that its p was found to be at most `largest_p`.

    The most likely value and the equal-tailed interval of a normal distribution of which only both tails are seen
    (Zhong and Prentice 2008). An r far beyond the cut-off stays as it is, and so does one of 1 or -1, of which the
    standard error is rounding. NaN where `se` is. With few degrees of freedom the standard error is that with which a
    normal value would have this p: the interval still holds, and r is corrected too much rather than too little.
    """
    from scipy.special import log_ndtr, ndtri

    sign = np.where(r < 0, -1.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.arctanh(np.abs(r))
        se = np.where(df < FEW_DF, size / -ndtri(p / 2), se)
        z = size / se
        cut = z * (ndtri(largest_p / 2) / ndtri(p / 2))  # where z would be with p at the cut-off
    is_one = np.abs(r) > 1 - 1e-6
    usable = np.isfinite(z) & np.isfinite(cut) & ~is_one
    z, cut = np.where(usable, z, 1.0), np.where(usable, np.minimum(cut, z), 0.0)

    def log_seen(mean: FloatArray) -> FloatArray:  # far from the cut-off its logarithm only is a double
        return np.asarray(np.logaddexp(log_ndtr(mean - cut), log_ndtr(-mean - cut)))

    def expected(mean: FloatArray) -> FloatArray:
        log_base = log_seen(mean) + np.log(2 * np.pi) / 2
        density = np.exp(-((cut - mean) ** 2) / 2 - log_base) - np.exp(-((cut + mean) ** 2) / 2 - log_base)
        return np.asarray(mean + density - z)

    def above(mean: FloatArray) -> FloatArray:
        return np.asarray(np.exp(log_ndtr(mean - z) - log_seen(mean)))

    middle = _root(expected, np.zeros_like(z), z)
    low = _root(lambda mean: above(mean) - 0.025, -z - 10, z)
    high = _root(lambda mean: above(mean) - 0.975, low, z + 10)
    otherwise = np.where(is_one, np.abs(r), np.nan)
    found = (np.where(usable, np.tanh(value * se), otherwise) for value in (middle, low, high))
    middle, low, high = (sign * value for value in found)
    return middle, np.minimum(low, high), np.maximum(low, high)


def p_of_equivalence(r: FloatArray, se: FloatArray, df: FloatArray, margin: float) -> FloatArray:
    """The p of two one-sided t-tests of |r| < `margin` (TOST, Schuirmann 1987); NaN where there is no r."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        p = stdtr(df, (np.arctanh(np.abs(r)) - np.arctanh(margin)) / se)
    return np.where(np.isnan(p) & (np.abs(r) >= margin), 1.0, p)


def detectable(se: FloatArray, df: FloatArray, largest_p: float) -> float:
    """The true r that is significant, with p at most `largest_p`, in 80 % of studies of this design.

    For the median test, as its standard error and degrees of freedom have it; NaN without any.
    """
    from scipy.special import stdtrit

    size = (stdtrit(df, POWER) - stdtrit(df, largest_p / 2)) * se
    known = size[np.isfinite(size)]
    return float(np.tanh(np.median(known))) if known.size else float("nan")


def _root(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Where an increasing function is 0, by bisection."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        is_above = function(middle) > 0
        low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
    return np.asarray((low + high) / 2)
