"""The relation of features with a rating that holds for new raters and new images, both taken as random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz_raters.behrens_fisher import p_values
from saeviz_raters.sums import Design, FeatureSums

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


@dataclass(frozen=True)
class Relations:
    """Per feature `[n_features]`, NaN if undefined.

    `slope` is in units of the rating per unit of activation, `error` its standard error; `r` the correlation of single
    ratings with the feature within raters, `p` two-sided; `spread` the standard deviation of raters' own slopes, on the
    scale of r.
    """

    slope: FloatArray
    error: FloatArray
    r: FloatArray
    p: FloatArray
    spread: FloatArray


def relations(sums: FeatureSums, design: Design) -> Relations:
    """From y_ij = a_j + (b + b_j) x_i + image_i + noise_ij, rater j, image i, both with a random effect.

    b is the pooled slope within raters, sum_j Sxy_j / sum_j Sxx_j. Its variance has a part of images (their own effect
    and the noise) and a part of raters (the variance of b_j); each is estimated by moments from the sums, the second
    at least 0. p is that of Behrens and Fisher. `docs/explanation/raters.md` has the formulas.
    """
    ratings = _variances(design)
    # Raters who saw a feature vary; with fewer than two nothing is known about their differences.
    usable = (
        (sums.n_raters >= 2) & (sums.sxx > 0) & (sums.by_image > 0) & (ratings.total > 0) & (ratings.between_df > 0)
    )
    sxx, by_image = np.where(usable, sums.sxx, np.nan), np.where(usable, sums.by_image, np.nan)
    slope = sums.sxy / sxx
    mean_square = np.maximum(ratings.between - slope * sums.sxy, 0.0) / max(ratings.between_df, 1e-9)
    of_images = np.maximum(mean_square - ratings.noise, 0.0) / ratings.per_image
    image_part = sxx * (of_images * sums.by_image_squared / by_image + ratings.noise)
    share = sums.sxx2 / sxx**2
    scatter = np.maximum(sums.sxy2 - 2 * slope * sums.sxx_sxy + slope**2 * sums.sxx2, 0.0)
    expected = (of_images + ratings.noise) * sxx - share * image_part
    weight = sums.sxx2 - 2 * sums.sxx3 / sxx + sums.sxx2**2 / sxx**2
    of_raters = np.maximum(scatter - expected, 0.0) / weight
    rater_part = of_raters * sums.sxx2
    variance = image_part + rater_part
    p = p_values(
        slope * sxx,
        image_part,
        ratings.between_df,
        scatter / weight * sums.sxx2,
        expected / weight * sums.sxx2,
        np.maximum(1 / share - 1, 1e-3),
    )
    scale = np.sqrt(sxx / ratings.total) if ratings.total > 0 else np.full_like(sxx, np.nan)
    return Relations(
        slope=slope,
        error=np.sqrt(variance) / sxx,
        r=np.clip(slope * scale, -1.0, 1.0),
        p=p,
        spread=np.sqrt(of_raters) * scale,
    )


@dataclass(frozen=True)
class _Variances:
    """Of ratings less the mean of their rater: sums of squares in all and between images, the noise within an image.

    `per_image` is the number of ratings per image that the expected mean square between images has, as in an unbalanced
    analysis of variance.
    """

    total: float
    between: float
    between_df: float
    noise: float
    per_image: float


def _variances(design: Design) -> _Variances:
    values, per_image = design.ratings.data, design.per_image
    rated = per_image > 0
    n, n_images, n_raters = values.size, int(rated.sum()), design.n_ratings.size
    total = float(values @ values)
    between = float(np.sum(np.asarray(design.ratings.sum(axis=1))[rated] ** 2 / per_image[rated]))
    # What images and raters have in common, the trace of the product of both projections: 1 where all rated all.
    common = float(np.sum((design.mask @ (1 / design.n_ratings))[rated] / per_image[rated]))
    noise_df = n - n_images - n_raters + common
    k0 = (n - float(per_image @ per_image) / max(n, 1)) / max(n_images - 1, 1)
    return _Variances(
        total=total,
        between=between,
        between_df=n_images - common - 1,
        noise=max(total - between, 0.0) / noise_df if noise_df > 1e-9 else 0.0,
        per_image=max(k0, 1.0),
    )
