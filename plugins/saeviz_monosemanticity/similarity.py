"""Weighted mean similarity over all pairs of images, in time linear in the images.

For unit vectors e and weights a, with S = sum a e, u = sum a and v = sum a^2, the mean of cos(e_n, e_m) with
weights a_n a_m over all pairs n != m is (|S|^2 - v) / (u^2 - v): the pairs with themselves are what is taken
off both sums. Everything is float64, because for a feature that one image dominates both differences are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from saeviz_monosemanticity.embeddings import UnitVectors

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

FEATURES_AT_ONCE = 1024
"""Features per step of a sparse product: their sums stay in the processor's cache."""
NUMBERS_AT_ONCE = 1 << 17
"""Numbers of the embeddings taken at once: they stay in the cache, too."""
NEGLIGIBLE = 1e-10
"""Share of the weight below which rounding would decide the score."""
EXPONENTS = range(7)


class WeightedSums(NamedTuple):
    """Per feature `squared_length`, |S|^2, and `powers` `[7, n_features]`.

    The latter are sums of the weights to the powers 0 to 6; the power 0 counts the images that have weight.
    """

    squared_length: FloatArray
    powers: FloatArray

    @property
    def weight_of_pairs(self) -> FloatArray:
        """The weights a_n a_m of all pairs n != m, added up."""
        weight: FloatArray = self.powers[1] ** 2 - self.powers[2]
        return weight

    def scores(self) -> FloatArray:
        """The weighted mean similarity `[n_features]`; NaN where no pair has weight, or next to none."""
        weight = self.weight_of_pairs
        scores = np.full(weight.shape, np.nan)
        has_weight = weight > NEGLIGIBLE * self.powers[1] ** 2
        np.divide(self.squared_length - self.powers[2], weight, out=scores, where=has_weight)
        return scores

    def scores_with_self_pairs(self) -> FloatArray:
        """The same with the pairs n = m, whose similarity is 1; NaN where no image has weight."""
        weight = self.powers[1] ** 2
        scores = np.full(weight.shape, np.nan)
        np.divide(self.squared_length, weight, out=scores, where=weight > 0)
        return scores


class StreamedSums:
    """Adds images piece by piece. Memory is `n_features * dim`, whatever the number of images."""

    def __init__(self, n_features: int, dim: int) -> None:
        self._vectors = np.zeros((n_features, dim))
        self._powers = np.zeros((len(EXPONENTS), n_features))

    def add(self, weights: Any, unit: FloatArray) -> None:
        """Take in images: `weights` CSR float64 `[n, n_features]`, no weight negative, and their unit vectors."""
        n_features = len(self._vectors)
        columns, power = weights.indices.astype(np.intp), (weights.data > 0).astype(np.float64)
        for exponent in EXPONENTS:
            self._powers[exponent] += np.bincount(columns, power, n_features)
            power *= weights.data
        by_feature = weights.T.tocsr()
        for start in range(0, n_features, FEATURES_AT_ONCE):
            some = slice(start, start + FEATURES_AT_ONCE)
            self._vectors[some] += by_feature[some] @ unit

    def sums(self) -> WeightedSums:
        """The sums over all images added."""
        return WeightedSums(_squared_length(self._vectors), self._powers)


def sums_of_few(rows: IntArray, weights: FloatArray, unit: UnitVectors) -> WeightedSums:
    """Where each feature has the same number of images: their row numbers and weights `[n_features, k]`."""
    squared_length = np.empty(len(rows))
    at_once = max(1, NUMBERS_AT_ONCE // (rows.shape[1] * unit.dim))
    for start in range(0, len(rows), at_once):
        some = slice(start, start + at_once)
        vectors = unit[rows[some].ravel()].reshape(*rows[some].shape, unit.dim)
        squared_length[some] = _squared_length((weights[some, None, :] @ vectors)[:, 0])
    powers = [(weights > 0).sum(axis=1), *((weights**exponent).sum(axis=1) for exponent in EXPONENTS[1:])]
    return WeightedSums(squared_length, np.array(powers, dtype=np.float64))


def _squared_length(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors))
