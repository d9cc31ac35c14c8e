"""p-values and confidence intervals of correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray


def p_values(r: FloatArray, df: int) -> FloatArray:
    """Two-sided p of r, Student's t with `df` degrees of freedom (n - 2, less one per control); NaN where r is.

    P(|T| >= |t|) = I_x(df/2, 1/2), x = df / (df + t^2) = 1 - r^2, the regularised incomplete beta function:
    accurate relative to p however small it is. NaN throughout below one degree of freedom.
    """
    from scipy.special import betainc

    if df < 1:
        return np.full(r.shape, np.nan)
    size = np.abs(r)
    return np.asarray(betainc(df / 2, 0.5, (1 - size) * (1 + size)))


def confidence_interval(r: FloatArray, df: int, inflation: FloatArray | float = 1.0) -> tuple[FloatArray, FloatArray]:
    """The 95 % interval of r by Fisher's z, whose variance is `inflation` / (df - 1).

    -1 to 1, which says nothing, below two degrees of freedom; NaN where r is.
    """
    from scipy.special import ndtri

    if df <= 1:
        unknown = np.where(np.isnan(r), np.nan, 1.0)
        return -unknown, unknown
    # tanh(artanh(r) - h) = (r - tanh(h)) / (1 - r tanh(h)), which has no infinity at r = 1
    width = np.tanh(ndtri(0.975) * np.sqrt(inflation / (df - 1)))
    return (r - width) / (1 - r * width), (r + width) / (1 + r * width)


def mann_whitney_p(won: FloatArray, n_positive: int, n_negative: int, tied: FloatArray) -> FloatArray:
    """Two-sided p of Mann and Whitney's U, `won`, as `scipy.stats.mannwhitneyu(method="asymptotic")` gives it.

    That is the normal approximation with corrections for continuity and for ties, of which `tied` is the sum of
    size^3 - size. NaN where all values are tied.
    """
    from scipy.special import ndtr

    n = n_positive + n_negative
    variance = n_positive * n_negative / 12 * ((n + 1) - tied / (n * (n - 1)))
    varies = tied < n**3 - n
    distance = np.abs(won - n_positive * n_negative / 2) - 0.5
    z = np.where(varies, distance / np.sqrt(np.where(varies, variance, 1.0)), np.nan)
    return np.asarray(np.minimum(2 * ndtr(-z), 1.0))


def p_of_rank_correlation(r: FloatArray, n: int) -> FloatArray:
    """Two-sided p of a correlation of ranks over `n` images by the normal approximation: r sqrt(n - 1)."""
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(-np.abs(r) * np.sqrt(max(n - 1, 0))))


def p_of_ranks_in_groups(
    r: FloatArray, slope: FloatArray, squares: FloatArray, *, n: int, n_groups: int, between: float
) -> FloatArray:
    """Two-sided p of a correlation `r` of ranks with a binary rating over `n` images that belong to groups.

    It goes by the larger of two variances. One is robust, `slope`, and hopeful where few groups differ by chance. The
    other is Mann and Whitney's, where images of a group are alike by the share of variance `between` groups of the
    rating (Rosner and Grove 1999): `squares` sums the squares of the sums over groups of the ranks, centred and of
    length 1. Student's t has one degree of freedom less than there are groups.
    """
    from scipy.special import betainc

    share = min(max(between, 0.0), 1.0) if np.isfinite(between) else 0.0
    variance = np.fmax(slope, ((1 - share) + share * squares) / (n - 1))
    df = max(n_groups - 1, 1)
    return np.asarray(betainc(df / 2, 0.5, df / (df + r**2 / variance)))


def area_interval(area: FloatArray, variance: FloatArray, df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The 95 % interval of 2 area - 1 by the logit of the area; NaN where that is 0 or 1 or its variance unknown.

    `df` are the degrees of freedom of the variance, infinite if it is taken as known.
    """
    from scipy.special import ndtri, stdtrit

    inside = (area > 0) & (area < 1) & np.isfinite(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        quantile = np.where(np.isinf(df), ndtri(0.975), stdtrit(df, 0.975))
        half = np.where(inside, quantile * np.sqrt(variance) / (2 * area * (1 - area)), np.nan)
        centre = np.arctanh(2 * area - 1)
        return np.tanh(centre - half), np.tanh(centre + half)


def adjust_by_permutation(p: FloatArray, smallest: FloatArray) -> FloatArray:
    """Single-step adjusted p-values of one family (Westfall & Young 1993).

    `smallest` has, for each permutation of the ratings, the smallest p of the family. The observed order counts
    as one permutation more, so that no p is 0.
    """
    reached: IntArray = np.searchsorted(np.sort(smallest), p, side="right")
    return (1 + reached) / (1 + smallest.size)
