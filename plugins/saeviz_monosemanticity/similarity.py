"""Weighted mean similarity over all pairs of images, in time linear in the images.

For unit vectors e and weights a, with S = sum a e, u = sum a and v = sum a^2, the mean of cos(e_n, e_m) with
weights a_n a_m over all pairs n != m is (|S|^2 - v) / (u^2 - v): the pairs with themselves are what is taken
off both sums. Everything is float64, because for a feature that one image dominates both differences are small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

FEATURES_AT_ONCE = 1024
"""Features per step of a sparse product: their sums stay in the processor's cache."""
NEGLIGIBLE = 1e-10
"""Share of the weight below which rounding would decide the score."""


class StreamedSimilarity:
    """Takes in images piece by piece. Memory is `n_features * dim`, whatever the number of images."""

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
        for some in _blocks(n_features):
            self._vectors[some] += by_feature[some] @ unit

    def scores(self, *, include_self_pairs: bool) -> FloatArray:
        """The weighted mean similarity `[n_features]`; NaN where no pair has weight, or next to none."""
        return _mean(_squared_length(self._vectors), self._sum, self._squares, include_self_pairs)


def similarity_of_few(
    rows: NDArray[np.int64], weights: FloatArray, unit: FloatArray, *, include_self_pairs: bool
) -> FloatArray:
    """The same where each feature has the same number of images: row numbers and weights `[n_features, k]`."""
    from scipy.sparse import csr_array

    n_features, k = rows.shape
    similarity = np.zeros(n_features)
    for some in _blocks(n_features):
        entries = weights[some].ravel(), rows[some].ravel(), np.arange(0, weights[some].size + 1, k)
        similarity[some] = _squared_length(csr_array(entries, shape=(len(rows[some]), len(unit))) @ unit)
    return _mean(similarity, weights.sum(axis=1), _squared_length(weights), include_self_pairs)


def _blocks(n_features: int) -> list[slice]:
    return [slice(start, start + FEATURES_AT_ONCE) for start in range(0, n_features, FEATURES_AT_ONCE)]


def _squared_length(vectors: Any) -> Any:
    return np.einsum("ij,ij->i", vectors, vectors)


def _mean(similarity: FloatArray, total: FloatArray, squares: FloatArray, include_self_pairs: bool) -> FloatArray:
    own = 0.0 if include_self_pairs else squares
    weight = total**2
    scores = np.full(weight.shape, np.nan)
    np.divide(similarity - own, weight - own, out=scores, where=weight - own > NEGLIGIBLE * weight)
    return scores
