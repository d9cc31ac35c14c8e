"""p-values of a slope whose variance is the sum of two estimates with different degrees of freedom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

NODES = 64
"""Steps of the integral; with 1,000 of them, p differs by less than 1 %, from 1 degree of freedom on."""
LEFT_OUT = 30.0
"""Each tail left out of the integral has less than exp(-30) of its mass."""
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

    `images` and `raters` are mean squares with `images_df` and `raters_df` degrees of freedom; `by_chance`, the part of
    `raters` that is due to chance, is treated as known. The true mean square of raters is distributed as `raters` times
    its degrees of freedom over chi-squared. For each of its values, t has a variance in which only the part of images
    is estimated, and Satterthwaite's degrees of freedom; p is the mean over these values. NaN where an argument is NaN;
    Student's p for images alone where `raters` is 0.
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
