"""The null of a score: the feature's own weights, on images drawn at random without replacement.

Its mean, variance and skewness are known in closed form. With weights a and centred cosines c the score is
mean + sum a_i a_j c_s(i)s(j) / (u^2 - v) over pairs i != j, s drawing an image for each weight. A power of that sum
splits by which of its images coincide: each part is a sum over the weights times the average of a sum over c
(Mantel 1967; Siemiatycki, Biometrics 1978, who also fits the Pearson type III distribution to the three moments).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from saeviz_monosemanticity.cosines import Cosines

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

Graph = tuple[int, float, tuple[int, ...]]
"""The number of ways to form it from pairs; the sum over all images of c multiplied along its edges; its degrees."""
SMALLEST_VARIANCE = 1e-14
"""Variances of cosines below this are rounding error."""
NO_SKEWNESS = 1e-3
"""Below this skewness, the gamma distribution is practically normal."""


def null_variance(powers: FloatArray, cosines: Cosines) -> FloatArray:
    """Variance of every feature's null score, from the powers in `WeightedSums`; NaN where it cannot vary."""
    scaled = _scaled(powers)
    weight_of_pairs = 1 - scaled[2]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = _second_moment(scaled, cosines) / weight_of_pairs**2
        return np.where(np.isfinite(variance) & (variance > SMALLEST_VARIANCE), variance, np.nan)


def null_skewness(powers: FloatArray, cosines: Cosines) -> FloatArray:
    """Skewness of every feature's null score, exact except for what `cosines` estimates; NaN where it cannot vary."""
    scaled = _scaled(powers)
    with np.errstate(invalid="ignore", divide="ignore"):
        skewness = _third_moment(scaled, cosines) / _second_moment(scaled, cosines) ** 1.5
    return np.where(np.isnan(null_variance(powers, cosines)), np.nan, skewness)


def tail_probability(z: FloatArray, powers: FloatArray, cosines: Cosines) -> FloatArray:
    """P(Z >= z) by the Pearson type III distribution of the null's skewness: an approximation.

    See docs/explanation/monosemanticity.md.

    That is a gamma distribution. A negative skewness is replaced by zero, which makes p larger. No p is below one over
    the number of ways to draw the images that have weight.
    """
    from scipy.special import gammaincc, gammaln

    shape = 4 / np.maximum(null_skewness(powers, cosines), NO_SKEWNESS) ** 2
    p = gammaincc(shape, np.maximum(shape + z * np.sqrt(shape), 0.0))
    log_ways = gammaln(cosines.n_images + 1) - gammaln(cosines.n_images - powers[0] + 1)
    return np.asarray(np.maximum(p, np.exp(-log_ways)))


def _scaled(powers: FloatArray) -> FloatArray:
    """The same for weights that add up to 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(powers / powers[1] ** np.arange(len(powers))[:, None])


def _second_moment(powers: FloatArray, c: Cosines) -> FloatArray:
    """Two pairs of images form a graph of two edges: a sum over the kinds of graphs."""
    graphs = (
        (2, c.squares, (2, 2)),
        (4, c.row_squares - c.squares, (2, 1, 1)),
        (1, 2 * c.squares - 4 * c.row_squares, (1, 1, 1, 1)),
    )
    return _over_graphs(powers, c.n_images, graphs)


def _third_moment(powers: FloatArray, c: Cosines) -> FloatArray:
    """Three pairs of images form a graph of three edges: a sum over the kinds of graphs."""
    r3, qr, chains, triangles, cubes = c.third
    path = chains - 2 * qr + cubes - triangles
    double_and_apart = 2 * cubes - 4 * qr
    corner_and_apart = 10 * qr - 4 * chains - 2 * r3 - 4 * cubes + 2 * triangles
    all_apart = 16 * (r3 + chains - qr) + 4 * double_and_apart + 8 * path
    graphs = (
        (4, cubes, (3, 3)),
        (24, qr - cubes, (3, 2, 1)),
        (6, double_and_apart, (2, 2, 1, 1)),
        (8, triangles, (2, 2, 2)),
        (24, path, (2, 2, 1, 1)),
        (8, r3 - 3 * qr + 2 * cubes, (3, 1, 1, 1)),
        (12, corner_and_apart, (2, 1, 1, 1, 1)),
        (1, all_apart, (1, 1, 1, 1, 1, 1)),
    )
    return _over_graphs(powers, c.n_images, graphs)


def _over_graphs(powers: FloatArray, n_images: int, graphs: Iterable[Graph]) -> FloatArray:
    moment = np.zeros(powers.shape[1])
    for ways, total, degrees in graphs:
        moment += ways * _average(total, n_images, len(degrees)) * _over(powers, *degrees)
    return moment


def _average(total: float, n_images: int, n_different: int) -> float:
    """The mean over all choices of `n_different` images, from the sum over them; 0 if there are fewer images."""
    if n_images < n_different:
        return 0.0
    return total / float(np.prod(n_images - np.arange(n_different, dtype=np.float64)))


def _over(powers: FloatArray, *exponents: int) -> FloatArray:
    """The sum of a_i^x a_j^y ... over all choices of different images i, j, ... for the exponents x, y, ..."""
    first, *others = exponents
    total: FloatArray = powers[first]
    if not others:
        return total
    total = total * _over(powers, *others)
    for place, other in enumerate(others):  # the images that the first may not be
        total = total - _over(powers, *others[:place], other + first, *others[place + 1 :])
    return total
