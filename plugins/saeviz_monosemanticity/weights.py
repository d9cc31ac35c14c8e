"""How much each image counts for each feature: activations, min-max scaled as a definition says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saeviz import FeatureStream, ScoreInput
from saeviz_monosemanticity import Definition

if TYPE_CHECKING:
    FloatArray = NDArray[np.float64]

Weights = Iterator[tuple[NDArray[np.int64], Any]]
"""Pieces (row numbers `[n]`, CSR float64 `[n, n_features]`)."""

ROWS_AT_ONCE = 4096


def image_weights(data: ScoreInput, definition: Definition, top_k: int) -> Weights:
    """The weights of `definition`, in [0, 1] and in pieces.

    An activation below zero counts as zero. A feature that is equally active on all the images looked at
    has no weights: min-max scaling is 0/0 there.
    """
    if definition == "global":
        return _of_all(data)
    return _of_top(data, top_k, globally_scaled=definition == "top-k-global-weights")


def _of_all(data: ScoreInput) -> Weights:
    from scipy.sparse import csr_array

    low, high = _extremes(data.features)
    for rows, matrix in data.chunks():
        values = _min_max(matrix.data, low[matrix.indices], high[matrix.indices])
        weights = csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
        yield np.arange(rows.start, rows.stop), weights


def _of_top(data: ScoreInput, top_k: int, *, globally_scaled: bool) -> Weights:
    from scipy.sparse import csr_array

    n_features = data.space.n_features
    top = data.features.top_images(min(top_k, data.n_items))
    # A feature that fires on fewer than k images has silent ones among its top k: they are the minimum, 0.
    low, high = _extremes(data.features) if globally_scaled else (top.values[:, -1], top.values[:, 0])
    values = _min_max(top.values, low[:, None], high[:, None])
    features, ranks = np.nonzero(values)
    rows = top.rows[features, ranks]
    by_image = csr_array((values[features, ranks], (rows, features)), shape=(data.n_items, n_features))
    for start in range(0, data.n_items, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, data.n_items)
        yield np.arange(start, stop), by_image[start:stop]


def _extremes(features: FeatureStream) -> tuple[FloatArray, FloatArray]:
    statistics = features.statistics
    return np.maximum(statistics.minimum, 0.0), np.maximum(statistics.maximum, 0.0)


def _min_max(values: Any, low: Any, high: Any) -> FloatArray:
    value, low, high = (np.asarray(array, dtype=np.float64) for array in (values, low, high))
    span = high - low
    scaled = np.zeros(value.shape)
    np.divide(value - low, span, out=scaled, where=span > 0)
    return np.maximum(scaled, 0.0)
