"""Sums over images, from which every correlation of a space follows: one pass, memory per feature only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    FloatArray = NDArray[np.float64]


class RatedSums:
    """Sums of every feature, and of it times each of `ratings`, over the images that have these ratings.

    `ratings` is float64 `[n_items, n_ratings]`; a row is rated throughout or NaN throughout.
    """

    def __init__(self, ratings: FloatArray, n_features: int) -> None:
        self.rated = np.isfinite(ratings[:, 0])
        self.n = int(self.rated.sum())
        self.n_active = np.zeros(n_features, dtype=np.int64)
        self._centred, self._rating_squares = _centre(ratings, self.rated)
        self._shift: FloatArray | None = None
        self._stored = np.zeros(n_features, dtype=np.int64)
        self._sum = np.zeros(n_features)
        self._squares = np.zeros(n_features)
        self._cross = np.zeros((n_features, ratings.shape[1]))

    def add(self, rows: slice, matrix: csr_array) -> None:
        """Take in the features of the images `rows`."""
        from scipy.sparse import csr_array

        rated = self.rated[rows]
        if not rated.any():
            return
        if not rated.all():
            matrix = matrix[rated]
        if self._shift is None:
            # Each feature is shifted by one of its own values: the variance of an always-on feature survives
            # the subtraction of squares, and a constant feature gives exactly zero.
            self._shift = matrix[[0]].toarray()[0].astype(np.float64)
        n_features = self._sum.size
        columns, values = matrix.indices.astype(np.intp), matrix.data.astype(np.float64)
        shifted = values - self._shift[columns]
        self._stored += np.bincount(columns, minlength=n_features)
        self.n_active += np.bincount(columns[values > 0], minlength=n_features)
        self._sum += np.bincount(columns, shifted, n_features)
        self._squares += np.bincount(columns, shifted * shifted, n_features)
        precise = csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
        self._cross += precise.T @ self._centred[rows][rated]

    def correlations(self) -> FloatArray:
        """Pearson's r `[n_features, n_ratings]`.

        NaN where the feature or the rating is the same on all rated images, or fewer than 3 are rated.
        """
        r = np.full(self._cross.shape, np.nan)
        if self.n < 3 or self._shift is None:
            return r
        silent = self.n - self._stored
        shifted_sum = self._sum - silent * self._shift
        shifted_squares = self._squares + silent * self._shift**2
        variation = shifted_squares - shifted_sum**2 / self.n
        total = shifted_sum + self.n * self._shift
        # the centred ratings add up to zero only within rounding, which a feature with a large mean would magnify
        covariation = self._cross - np.outer(total, self._centred.sum(axis=0) / self.n)
        scale = np.sqrt(np.outer(variation, self._rating_squares))
        defined = np.outer(shifted_squares > 0, self._rating_squares > 0)
        np.divide(covariation, scale, out=r, where=defined)
        return np.clip(r, -1.0, 1.0, out=r)


def _centre(ratings: FloatArray, rated: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Ratings minus their mean, zero where missing, and their sums of squares: exactly 0 for a constant one."""
    centred = np.zeros_like(ratings)
    if not rated.any():
        return centred, np.zeros(ratings.shape[1])
    present = ratings[rated]
    varies = present.max(axis=0) > present.min(axis=0)
    centred[rated] = np.where(varies, present - present.mean(axis=0), 0.0)
    return centred, np.einsum("ij,ij->j", centred, centred)


def group_by_missing(ratings: Mapping[str, FloatArray]) -> list[Sequence[str]]:
    """Names of ratings that are missing on the same images, together: they share the sums of the features."""
    groups: dict[bytes, list[str]] = {}
    for name, values in ratings.items():
        groups.setdefault(np.isfinite(values).tobytes(), []).append(name)
    return list(groups.values())
