"""Weighted mean similarity over all pairs of images, in time linear in the images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

FEATURES_AT_ONCE = 1024
"""Features per step of the sparse product: their sums stay in the processor's cache."""
NEGLIGIBLE = 1e-10
"""Share of the weight below which rounding would decide the score."""


class PairSimilarity:
    """Collects what the mean of cos(e_n, e_m) with weights a_n a_m, over all pairs n != m, follows from.

    For unit vectors e, with S = sum a e, u = sum a and v = sum a^2, it is (|S|^2 - v) / (u^2 - v): the pairs
    with themselves are what is taken off both sums. Everything is float64, because for a feature that one
    image dominates both differences are small. Memory is `n_features * dim`, whatever the number of images.
    """

    def __init__(self, n_features: int, dim: int) -> None:
        self._vectors = np.zeros((n_features, dim))
        self._sum = np.zeros(n_features)
        self._squares = np.zeros(n_features)

    def add(self, weights: Any, unit: FloatArray) -> None:
        """Take in images: `weights` CSR float64 `[n, n_features]`, no weight negative, and their unit vectors."""
        n_features = self._sum.size
        columns, values = weights.indices.astype(np.intp), weights.data
        self._sum += np.bincount(columns, values, n_features)
        self._squares += np.bincount(columns, values * values, n_features)
        by_feature = weights.T.tocsr()
        for start in range(0, n_features, FEATURES_AT_ONCE):
            some = slice(start, start + FEATURES_AT_ONCE)
            self._vectors[some] += by_feature[some] @ unit

    def scores(self, *, include_self_pairs: bool) -> FloatArray:
        """The weighted mean similarity `[n_features]`; NaN where no pair has weight, or next to none."""
        similarity, weight = np.einsum("ij,ij->i", self._vectors, self._vectors), self._sum**2
        own = 0.0 if include_self_pairs else self._squares
        scores = np.full(weight.shape, np.nan)
        np.divide(similarity - own, weight - own, out=scores, where=weight - own > NEGLIGIBLE * weight)
        return scores
