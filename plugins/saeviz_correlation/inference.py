"""From a correlation to how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


def p_values(r: FloatArray, n: int) -> FloatArray:
    """Two-sided p of r over n pairs, Student's t with n - 2 degrees of freedom; NaN where r is.

    P(|T| >= |t|) = I_x(df/2, 1/2), x = df / (df + t^2) = 1 - r^2, the regularised incomplete beta function:
    accurate relative to p however small it is.
    """
    from scipy.special import betainc

    if n < 3:
        return np.full(r.shape, np.nan)
    size = np.abs(r)
    return np.asarray(betainc((n - 2) / 2, 0.5, (1 - size) * (1 + size)))


def confidence_interval(r: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """The 95 % interval of r by Fisher's z; -1 to 1 for n = 3, which says nothing; NaN where r is."""
    from scipy.special import ndtri

    if n <= 3:
        unknown = np.where(np.isnan(r), np.nan, 1.0)
        return -unknown, unknown
    half_width = float(ndtri(0.975)) / np.sqrt(n - 3)
    with np.errstate(divide="ignore"):  # r = 1 has z = inf and the interval 1 to 1
        z = np.arctanh(r)
    return np.tanh(z - half_width), np.tanh(z + half_width)


def adjust(p: FloatArray) -> FloatArray:
    """Benjamini-Hochberg adjusted p-values of one family, in the order of `p`, which has no NaN."""
    if not p.size:
        return p
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p, method="bh"))
