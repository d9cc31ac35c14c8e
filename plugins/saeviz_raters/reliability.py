"""How much of the differences between mean ratings is more than chance, which limits every correlation with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import saeviz

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Reliability:
    """Of one rating; NaN where it cannot be estimated.

    `of_one` is the ICC of a single rating, `of_mean` that of the mean, by the `model`: `one-way` random effects,
    ICC(1,1) and ICC(1,k), `two-way` random effects, ICC(2,1) and ICC(2,k), where all raters rated the same images, or
    `published` from standard deviations. `split_half` is from random halves of the ratings, after Spearman and Brown.
    `reliability` is what limits a relation with the mean: no feature's |r| exceeds `ceiling_r`, its root,
    except by chance. Estimates below 0 stand as they are, with a ceiling of 0.
    """

    model: str
    n_images: int
    n_raters: int | None
    ratings_per_image: float
    of_one: float
    of_mean: float
    split_half: float
    reliability: float

    @property
    def ceiling_r(self) -> float:
        """The square root of the reliability; 0 if that is negative."""
        return float(np.sqrt(max(self.reliability, 0.0))) if np.isfinite(self.reliability) else np.nan


def from_single_ratings(given: saeviz.IndividualRatings, splits: int, seed: int) -> Reliability:
    """From at least two images with two ratings somewhere. Shrout and Fleiss (1979); McGraw and Wong (1996)."""
    images, row_of = np.unique(given.rows, return_inverse=True)
    raters, column_of = np.unique(given.raters, return_inverse=True)
    of_one = of_mean = reliability = split_half = np.nan
    varies = given.values.size > 0 and given.values.max() > given.values.min()
    crossed = min(images.size, raters.size) > 1 and given.values.size == images.size * raters.size
    if varies and crossed:
        table = np.empty((images.size, raters.size))
        table[row_of, column_of] = given.values
        of_one, of_mean, reliability = _two_way(table)
    elif varies:
        of_one, of_mean = _one_way(row_of, given.values)
        reliability = of_mean
    if varies:
        split_half = _split_half(row_of, column_of if crossed else None, given.values, splits, seed)
    return Reliability(
        model="two-way" if crossed else "one-way",
        n_images=images.size,
        n_raters=raters.size,
        ratings_per_image=given.values.size / max(images.size, 1),
        of_one=of_one,
        of_mean=of_mean,
        split_half=split_half,
        reliability=reliability,
    )


def from_published(means: FloatArray, sd: FloatArray, n: FloatArray) -> Reliability:
    """1 - mean(sd^2 / n) / var(means), over the images that have all three."""
    usable = np.isfinite(means) & np.isfinite(sd) & (sd >= 0) & np.isfinite(n) & (n >= 1)
    means, sd, n = means[usable], sd[usable], n[usable]
    varies = means.size > 1 and means.max() > means.min()
    variance = float(np.var(means, ddof=1)) if varies else 0.0
    error, within = (float(np.mean(sd**2 / n)), float(np.mean(sd**2))) if means.size else (np.nan, np.nan)
    of_mean = 1 - error / variance if variance > 0 else np.nan
    between = variance - error
    of_one = between / (between + within) if variance > 0 and between + within > 0 else np.nan
    per_image = float(n.mean()) if n.size else np.nan
    return Reliability("published", means.size, None, per_image, of_one, of_mean, np.nan, of_mean)


def _one_way(images: IntArray, values: FloatArray) -> tuple[float, float]:
    """ICC of one rating and of the mean, from the analysis of variance with unequal numbers of ratings.

    The variance between images comes by k0 = (N - sum k^2 / N) / (n - 1); the error of the means is the one within
    images over the harmonic mean of k. Searle, Casella and McCulloch (1992), chapter 3.6.
    """
    values = values - values.mean()
    k = np.bincount(images)
    n_images, n = k.size, values.size
    if n_images < 2 or n == n_images:
        return np.nan, np.nan
    means = np.bincount(images, values) / k
    mean_square_between = float(k @ means**2) / (n_images - 1)
    within = float(np.sum((values - means[images]) ** 2)) / (n - n_images)
    k0 = (n - float(k @ k) / n) / (n_images - 1)
    between = (mean_square_between - within) / k0
    harmonic = n_images / float(np.sum(1 / k))
    return _ratio(between, between + within), _ratio(between, between + within / harmonic)


def _two_way(table: FloatArray) -> tuple[float, float, float]:
    """ICC(2,1), ICC(2,k), and ICC(3,k), Cronbach's alpha: raters of everything shift all means alike."""
    n, k = table.shape
    table = table - table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    between = k * float(rows @ rows) / (n - 1)
    raters = n * float(columns @ columns) / (k - 1)
    error = float(np.sum((table - rows[:, None] - columns) ** 2)) / ((n - 1) * (k - 1))
    one = _ratio(between - error, between + (k - 1) * error + k * (raters - error) / n)
    mean = _ratio(between - error, between + (raters - error) / n)
    return one, mean, _ratio(between - error, between)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def _split_half(images: IntArray, raters: IntArray | None, values: FloatArray, splits: int, seed: int) -> float:
    """Correlation of the means of two halves, its mean over random splits, stepped up to all ratings.

    With `raters` these are halved, the same for all images; without, the ratings of each image. Images with one rating
    are left out; of an odd number one half has one more.
    """
    several = np.bincount(images)[images] > 1
    images, values = np.unique(images[several], return_inverse=True)[1], values[several]
    if not images.size or images.max() < 2:
        return np.nan
    order = np.argsort(images, kind="stable")
    images, values = images[order], values[order] - values.mean()
    count = np.bincount(images)
    start = np.cumsum(count) - count
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        if raters is not None:
            half = generator.permutation(int(raters.max()) + 1)[raters[several][order]] % 2
        else:
            rank = np.argsort(images + generator.random(images.size), kind="stable")
            half = np.empty(images.size, dtype=np.int64)
            half[rank] = (np.arange(images.size) - start[images] + generator.integers(2, size=count.size)[images]) % 2
        means = [np.bincount(images, values * part) / np.bincount(images, part) for part in (half == 0, half == 1)]
        one, other = (mean - mean.mean() for mean in means)
        scale = float(np.sqrt(one @ one) * np.sqrt(other @ other))  # a product of squares overflows early
        if scale > 0:
            found.append(float(one @ other) / scale)
    r = float(np.mean(found)) if found else np.nan
    return 2 * r / (1 + r) if r > -1 else np.nan
