"""Sums over the images of a cluster: of features of length 1, of their squares, of their products with ratings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_correlation.columns import products
from saeviz_correlation.ranks import only_rated

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray
    from saeviz_correlation.clusters import Clusters


class GroupSums(NamedTuple):
    """Sums of features, centred and of length 1, over each cluster, `[n_features, n_clusters]`.

    `times` gives those of the products with a target, which has mean 0 and is in the order of all images. `n_active`
    is the number of images of each cluster on which the feature fires.
    """

    n_active: FloatArray
    feature: FloatArray
    squares: FloatArray
    times: Callable[[FloatArray], FloatArray]


def group_sums(block: CSR, spread: FloatArray, clusters: Clusters) -> GroupSums:
    """Of the features of a block, CSR `[n_features, n_items]`; `spread` is their length, NaN where they do not vary.

    What silent images have in common is added once per cluster. Controls make every image differ, and if each image is
    a cluster there is nothing to share, so then the features are dense.
    """
    if clusters.basis.shape[1] or clusters.starts.size == clusters.images.size:
        return _dense(block, spread, clusters)
    return _sparse(block, spread, clusters)


def _dense(block: CSR, spread: FloatArray, clusters: Clusters) -> GroupSums:
    values = np.take(block.toarray(), clusters.images, axis=1).astype(np.float64)  # row by row in memory
    n_active = clusters.sums((values > 0).astype(np.float64))
    values -= values.mean(axis=1, keepdims=True)
    if clusters.basis.shape[1]:
        shares = products(values, clusters.basis)
        for share, column in zip(shares.T, clusters.basis.T, strict=True):
            values -= share[:, None] * column
    values /= spread[:, None]

    def times(target: FloatArray) -> FloatArray:
        return clusters.sums(values * target[clusters.images])

    return GroupSums(n_active, clusters.sums(values), clusters.sums(values**2), times)


def _sparse(block: CSR, spread: FloatArray, clusters: Clusters) -> GroupSums:
    from scipy.sparse import csr_array

    block = only_rated(block, clusters.group_of >= 0)
    sizes = clusters.sizes
    shape = block.shape[0], sizes.size
    feature = np.repeat(np.arange(shape[0]), np.diff(block.indptr))
    values = block.data / spread[feature]
    silent = -np.bincount(feature, values, shape[0])[:, None] / clusters.images.size  # what an image has without it
    pair = feature * shape[1] + clusters.group_of[block.indices]
    n_silent = sizes - np.bincount(pair, minlength=shape[0] * shape[1]).reshape(shape)
    n_active = np.bincount(pair, block.data > 0, shape[0] * shape[1]).reshape(shape)
    centred = values + silent[feature, 0]
    sums = np.bincount(pair, centred, shape[0] * shape[1]).reshape(shape) + n_silent * silent
    squares = np.bincount(pair, centred**2, shape[0] * shape[1]).reshape(shape) + n_silent * silent**2
    by_pair = csr_array((values, (pair, block.indices)), shape=(shape[0] * shape[1], block.shape[1]))

    def times(target: FloatArray) -> FloatArray:
        of_target = np.asarray(by_pair @ target).reshape(shape)
        of_target += silent * clusters.sums(target[clusters.images])
        return of_target

    return GroupSums(n_active, sums, squares, times)
