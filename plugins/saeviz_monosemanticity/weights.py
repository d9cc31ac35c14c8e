"""How much each image counts for each feature: activations, min-max scaled to [0, 1].

An activation below zero counts as zero. A feature that is equally active on all the images it is scaled over
has no weights: min-max scaling is 0/0 there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import FeatureBatch, FeatureStream, ScoreInput, Texts

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray, IntArray


def weights_of_all(data: ScoreInput) -> Iterator[tuple[slice, Any]]:
    """All images, scaled over them all: parts (rows, CSR float64 `[n, n_features]`), whatever the batches."""
    from scipy.sparse import csr_array

    low, high = _extremes(data.features)
    for rows, matrix in data.features.parts():
        values = _min_max(matrix.data, low[matrix.indices], high[matrix.indices])
        yield rows, csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def weights_of_top(data: ScoreInput, top_k: int, *, globally_scaled: bool) -> tuple[IntArray, FloatArray]:
    """The `top_k` most activating images, scaled over these or over all: row numbers and weights `[n_features, k]`.

    A feature that fires on fewer than k images has silent ones among its top k, of weight 0: its activations
    are scaled from zero.
    """
    k = min(top_k, data.n_items)
    if globally_scaled:
        low, high = _extremes(data.features)
        rows, values = _top_images_by_id(data, k)
        return np.maximum(rows, 0), _min_max(values, low[:, None], high[:, None])
    top = data.features.top_images(k)  # which images tie with the last does not matter: these have weight 0
    return np.maximum(top.rows, 0), _min_max(top.values, top.values[:, -1:], top.values[:, :1])


def _top_images_by_id(data: ScoreInput, k: int) -> tuple[IntArray, Float32Array]:
    """Rows and values of the top images; of those that tie with the last, the first by id, wherever they stand."""
    from scipy.sparse import csr_array

    one_more = data.features.top_images(k + 1)
    top = one_more.first(k)
    last = top.values[:, -1]
    is_tied = (last > 0) & (one_more.values[:, k] == last)
    if not is_tied.any():
        return top.rows, top.values
    precedence = np.empty(data.n_items, dtype=np.float32)
    precedence[Texts.of(data.item_ids).order()] = np.arange(data.n_items, 0, -1)

    def tied_images() -> Iterator[FeatureBatch]:
        for rows, matrix in data.chunks():
            ties = is_tied[matrix.indices] & (matrix.data == last[matrix.indices])
            values = np.where(ties, np.repeat(precedence[rows], np.diff(matrix.indptr)), np.float32(0))
            tied = csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
            yield FeatureBatch(data.space, tuple(data.item_ids[rows]), tied)

    first = FeatureStream(data.space, tied_images).top_images(k).rows
    place = np.arange(k) - (top.values > last[:, None]).sum(axis=1, keepdims=True)
    among_tied = is_tied[:, None] & (place >= 0)
    return np.where(among_tied, np.take_along_axis(first, np.maximum(place, 0), axis=1), top.rows), top.values


def _extremes(features: FeatureStream) -> tuple[FloatArray, FloatArray]:
    statistics = features.statistics
    return np.maximum(statistics.minimum, 0.0), np.maximum(statistics.maximum, 0.0)


def _min_max(values: Any, low: Any, high: Any) -> FloatArray:
    value, low, high = (np.asarray(array, dtype=np.float64) for array in (values, low, high))
    span = high - low
    scaled = np.zeros(value.shape)
    np.divide(value - low, span, out=scaled, where=span > 0)
    return np.maximum(scaled, 0.0)
