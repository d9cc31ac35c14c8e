"""How probable a slope is by chance, where two variances of unlike certainty add up to that of the slope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

NODES = 64
"""Steps of the integral; with 1,000 of them p differs by less than 1 in 100."""
LEFT_OUT = 30.0
"""Either end that is left out of the integral holds less than exp(-30) of it."""
MOST_DF = 1e7


def p_values(
    of_slope: FloatArray,
    images: FloatArray,
    images_df: float,
    raters: FloatArray,
    by_chance: FloatArray,
    raters_df: FloatArray,
) -> FloatArray:
    """Two-sided p of `of_slope`, whose variance is `images` + max(`raters` - `by_chance`, 0), all `[n_features]`.

    `images` and `raters` are mean squares with so many degrees of freedom; what part of the second is chance is known
    well. With r for all that the mean square of raters may really be, given what it is (`raters` times the degrees of
    freedom over chi-squared), the variance is known up to the part of images, which Satterthwaite's degrees of freedom
    allow for. p is the mean over r. NaN where an argument is NaN; Student's p for images alone where `raters` is 0.
    """
    total, weights = np.zeros(of_slope.shape), np.zeros(of_slope.shape)
    low = np.log(raters_df) - 1 - 2 * LEFT_OUT / raters_df
    high = np.log(raters_df + 2 * np.sqrt(LEFT_OUT * raters_df) + 2 * LEFT_OUT)
    likeliest = raters_df / 2 * (np.log(raters_df) - 1)
    for place in np.linspace(0, 1, NODES):
        log_chi2 = low + place * (high - low)
        weight = np.exp(raters_df / 2 * log_chi2 - np.exp(log_chi2) / 2 - likeliest)
        factor = raters_df * np.exp(np.minimum(-log_chi2, 600.0))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            variance = images + np.maximum(raters * factor - by_chance, 0.0)
            more = np.where(variance > images, variance / images, 1.0)
            df = np.minimum(images_df * more**2, MOST_DF)
            t = of_slope / np.sqrt(variance)
        total += weight * _two_sided(t, df)
        weights += weight
    return total / weights


def _two_sided(t: FloatArray, df: FloatArray) -> FloatArray:
    from scipy.special import betainc

    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(betainc(df / 2, 0.5, np.where(np.isinf(t), 0.0, df / (df + t * t))))
