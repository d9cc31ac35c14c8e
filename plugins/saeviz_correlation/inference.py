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


def adjust_by_permutation(p: FloatArray, smallest: FloatArray) -> FloatArray:
    """Single-step adjusted p-values of one family (Westfall & Young 1993).

    `smallest` has, for each permutation of the ratings, the smallest p of the family. The observed order counts
    as one permutation more, so that no p is 0.
    """
    reached: IntArray = np.searchsorted(np.sort(smallest), p, side="right")
    return (1 + reached) / (1 + smallest.size)
