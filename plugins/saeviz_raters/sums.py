"""Sums over the images of each rater, which give the relations of all features with a rating."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import saeviz

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import CSR, FloatArray, IntArray

    Sums = Mapping[str, FloatArray]

TOTALS = ("sxx", "sxy", "sxx2", "sxx3", "sxy2", "sxx_sxy", "n_raters")
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

    def of(self, raters: slice) -> Design:
        """That of some of the raters."""
        return Design(self.ratings[:, raters].tocsr(), self.mask[:, raters].tocsr(), self.n_ratings[raters])

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
    shift = shift_of(data)
    step = max(1, TABLE_SIZE // data.space.n_features)
    groups = [design.of(slice(start, start + step)) for start in range(0, design.n_ratings.size, step)]
    parts = [totals_of(group, _over_chunks(data, shift, partial(sums_of_raters, group))) for group in groups]
    totals = {name: sum((part[name] for part in parts), np.zeros(data.space.n_features)) for name in TOTALS}
    of_images = _over_chunks(data, shift, partial(sums_of_images, design.per_image))
    return FeatureSums(**totals, **spread_of_images(design.per_image, of_images))


def shift_of(data: saeviz.ScoreInput) -> FloatArray:
    """The mean of features that are always on, else 0; subtracting it keeps the precision of those that hardly vary."""
    statistics = data.features.statistics
    return np.where(statistics.n_active == data.n_items, statistics.mean, 0.0)


class Features(NamedTuple):
    """The features of the images `rows` minus their shift, and the squares of these, in float64; `active` is 1 or 0."""

    rows: slice
    shifted: csr_array
    squared: csr_array
    active: csr_array


def shifted(rows: slice, matrix: CSR, shift: FloatArray) -> Features:
    """The features of some images."""
    from scipy.sparse import csr_array

    values = matrix.data.astype(np.float64) - shift[matrix.indices]
    of_values = values, values * values, (matrix.data > 0).astype(np.float64)
    return Features(rows, *(csr_array((one, matrix.indices, matrix.indptr), shape=matrix.shape) for one in of_values))


def sums_of_raters(design: Design, some: Features) -> Iterator[tuple[str, FloatArray]]:
    """Of some images, over those of each rater: `[n_raters, n_features]`, one after the other as they are large."""
    seen, ratings = design.mask[some.rows].T.tocsr(), design.ratings[some.rows].T.tocsr()
    yield "sums", (seen @ some.shifted).toarray()
    yield "squares", (seen @ some.squared).toarray()
    yield "products", (ratings @ some.shifted).toarray()


def sums_of_images(weight: FloatArray, some: Features) -> Iterator[tuple[str, FloatArray]]:
    """Of some images, weighted by how many ratings each has and by the square of that: `[n_features, 2]`."""
    weights = _powers(weight[some.rows])
    yield "image_sums", some.shifted.T @ weights
    yield "image_squares", some.squared.T @ weights
    yield "n_active", some.active.T @ (weights[:, 0] > 0)


def totals_of(design: Design, sums: Sums) -> dict[str, FloatArray]:
    """The totals over raters, of what they are in `FeatureSums`.

    Sxx and Sxy of a rater are exactly 0 where a feature is the same on all images of the rater.
    """
    n = design.n_ratings[:, None]
    residue = np.asarray(design.ratings.sum(axis=0))[:, None] / n
    sxy, sxx = residue * sums["sums"], sums["sums"] / n
    np.subtract(sums["products"], sxy, out=sxy)
    sxx *= sums["sums"]
    np.subtract(sums["squares"], sxx, out=sxx)
    constant = sxx <= 1e-12 * sums["squares"]
    sxx[constant] = sxy[constant] = 0.0
    return {
        "sxx": sxx.sum(axis=0),
        "sxy": sxy.sum(axis=0),
        "sxx2": np.einsum("ij,ij->j", sxx, sxx),
        "sxx3": np.einsum("ij,ij,ij->j", sxx, sxx, sxx),
        "sxy2": np.einsum("ij,ij->j", sxy, sxy),
        "sxx_sxy": np.einsum("ij,ij->j", sxx, sxy),
        "n_raters": np.count_nonzero(sxx, axis=0).astype(np.float64),
    }


def spread_of_images(weight: FloatArray, sums: Sums) -> dict[str, FloatArray]:
    """Of all images, what `FeatureSums` has of them."""
    weights = _powers(weight).sum(axis=0)
    mean = sums["image_sums"][:, 0] / max(weights[0], 1.0)
    first, second = (
        np.maximum(
            sums["image_squares"][:, power] - 2 * mean * sums["image_sums"][:, power] + mean**2 * weights[power], 0.0
        )
        for power in range(2)
    )
    return {"by_image": first, "by_image_squared": second, "n_active": sums["n_active"]}


def _powers(weight: FloatArray) -> FloatArray:
    return np.column_stack([weight, weight**2])


def _over_chunks(
    data: saeviz.ScoreInput, shift: FloatArray, sums_of: Callable[[Features], Iterable[tuple[str, FloatArray]]]
) -> Sums:
    total: dict[str, FloatArray] = {}
    for rows, matrix in data.chunks():
        for name, sums in sums_of(shifted(rows, matrix, shift)):
            if name in total:
                total[name] += sums
            else:
                total[name] = sums
    return total
