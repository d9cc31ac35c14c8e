"""Sums over the images of each rater, which give the relations of all features with a rating."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import saeviz

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import FloatArray, IntArray

TABLE_SIZE = 1 << 23
"""Maximum number of raters times features in memory at once; three arrays of 64 MB."""


@dataclass(frozen=True)
class Design:
    """Ratings by raters with two or more ratings, each minus the mean of its rater.

    `ratings` is sparse `[n_items, n_raters]`, `mask` is 1 at the same places, `n_ratings` is `[n_raters]`.
    """

    ratings: csr_array
    mask: csr_array
    n_ratings: FloatArray

    @property
    def per_image(self) -> FloatArray:
        """Number of ratings of each image."""
        return np.asarray(self.mask.sum(axis=1), dtype=np.float64)


def make_design(given: saeviz.IndividualRatings, n_items: int) -> Design:
    """The design of one rating; raters of a single image are left out, because they say nothing about differences."""
    from scipy.sparse import csr_array

    count = np.bincount(given.raters, minlength=len(given.names))
    useful = count[given.raters] > 1
    rows, values = given.rows[useful], given.values[useful]
    n_ratings = count[count > 1]
    raters = np.unique(given.raters[useful], return_inverse=True)[1]
    shape = (n_items, n_ratings.size)
    total = np.bincount(raters, values - values.mean() if values.size else values, n_ratings.size)
    centred = values - (values.mean() if values.size else 0.0) - (total / n_ratings)[raters]
    constant = _range_of_groups(values, raters, n_ratings.size) == 0
    centred[constant[raters]] = 0.0
    return Design(
        csr_array((centred, (rows, raters)), shape=shape),
        csr_array((np.ones(rows.size), (rows, raters)), shape=shape),
        n_ratings.astype(np.float64),
    )


def _range_of_groups(values: FloatArray, groups: IntArray, n_groups: int) -> FloatArray:
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(low, groups, values)
    np.maximum.at(high, groups, values)
    return np.asarray(high - low)


@dataclass
class FeatureSums:
    """Per feature `[n_features]`, over raters j with Sxx_j and Sxy_j, the sums of squares and products within a rater.

    `by_image` and `by_image_squared` are sums of squares over images about their weighted mean, the weights being the
    number of ratings of an image and its square.
    """

    sxx: FloatArray
    sxy: FloatArray
    sxx2: FloatArray
    sxx3: FloatArray
    sxy2: FloatArray
    sxx_sxy: FloatArray
    n_raters: FloatArray
    by_image: FloatArray
    by_image_squared: FloatArray
    n_active: FloatArray


def sum_features(data: saeviz.ScoreInput, design: Design) -> FeatureSums:
    """One pass over the features for each group of raters that fits in memory."""
    n_features, n_raters = data.space.n_features, design.n_ratings.size
    shift = _shift(data)
    totals = {name: np.zeros(n_features) for name in ("sxx", "sxy", "sxx2", "sxx3", "sxy2", "sxx_sxy", "n_raters")}
    step = max(1, TABLE_SIZE // n_features)
    for start in range(0, n_raters, step):
        raters = slice(start, start + step)
        sxx, sxy = _within_raters(data, design, raters, shift)
        totals["sxx"] += sxx.sum(axis=0)
        totals["sxy"] += sxy.sum(axis=0)
        totals["sxx2"] += np.einsum("ij,ij->j", sxx, sxx)
        totals["sxx3"] += np.einsum("ij,ij,ij->j", sxx, sxx, sxx)
        totals["sxy2"] += np.einsum("ij,ij->j", sxy, sxy)
        totals["sxx_sxy"] += np.einsum("ij,ij->j", sxx, sxy)
        totals["n_raters"] += np.count_nonzero(sxx, axis=0)
    return FeatureSums(**totals, **_over_images(data, design.per_image, shift))


def _shift(data: saeviz.ScoreInput) -> FloatArray:
    """The mean of features that are always on, else 0; subtracting it keeps the precision of those that hardly vary."""
    statistics = data.features.statistics
    return np.where(statistics.n_active == data.n_items, statistics.mean, 0.0)


def _shifted(data: saeviz.ScoreInput, shift: FloatArray) -> Iterator[tuple[slice, csr_array, csr_array]]:
    """Rows, with their shifted features and the squares of these, in float64."""
    from scipy.sparse import csr_array

    for rows, matrix in data.chunks():
        values = matrix.data.astype(np.float64) - shift[matrix.indices]
        structure = matrix.indices, matrix.indptr
        yield (
            rows,
            csr_array((values, *structure), shape=matrix.shape),
            csr_array((values * values, *structure), shape=matrix.shape),
        )


def _within_raters(
    data: saeviz.ScoreInput, design: Design, raters: slice, shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Sxx and Sxy `[n_raters, n_features]`, exactly 0 where a feature is the same on all images of a rater."""
    mask, ratings = design.mask[:, raters].tocsr(), design.ratings[:, raters].tocsr()
    n = design.n_ratings[raters, None]
    sums, squares, products = np.zeros((3, n.size, data.space.n_features))
    for rows, features, features_squared in _shifted(data, shift):
        seen = mask[rows].T.tocsr()
        sums += (seen @ features).toarray()
        squares += (seen @ features_squared).toarray()
        products += (ratings[rows].T.tocsr() @ features).toarray()
    residue = np.asarray(ratings.sum(axis=0))[:, None] / n
    products -= residue * sums
    sums *= sums / n
    variation = squares - sums
    constant = variation <= 1e-12 * squares
    variation[constant] = products[constant] = 0.0
    return variation, products


def _over_images(data: saeviz.ScoreInput, weight: FloatArray, shift: FloatArray) -> dict[str, FloatArray]:
    n_features = data.space.n_features
    weights = np.column_stack([weight, weight**2])
    sums, squares = np.zeros((2, n_features, 2))
    n_active = np.zeros(n_features)
    for rows, features, features_squared in _shifted(data, shift):
        sums += features.T @ weights[rows]
        squares += features_squared.T @ weights[rows]
        active = features_squared.copy()
        active.data = (features.data + shift[features.indices] > 0).astype(np.float64)
        n_active += active.T @ (weight[rows] > 0)
    mean = sums[:, 0] / max(weight.sum(), 1.0)
    first, second = (
        np.maximum(squares[:, power] - 2 * mean * sums[:, power] + mean**2 * total, 0.0)
        for power, total in enumerate(weights.sum(axis=0))
    )
    return {"by_image": first, "by_image_squared": second, "n_active": n_active}
