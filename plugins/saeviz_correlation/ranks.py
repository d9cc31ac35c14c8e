"""Ranks of features without making them dense: the zeros of a column share one rank, which is subtracted."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR

MAX_ENTRIES = 1 << 20  # sorted at once


def rank_features(block: CSR, rated: NDArray[np.bool_]) -> CSR:
    """Each value's rank among the feature's values on the rated images, less the rank that a zero has.

    `block` is CSR float32 `[n_features, n_items]` without stored zeros, and so is the result; it stores nothing
    for other images. Ties have the mean of their ranks. What is stored has the sign that the value has.
    """
    from scipy.sparse import csr_array, vstack

    starts = _cut(block.indptr)
    parts = [_rank(block[start:stop], rated) for start, stop in pairwise(starts)]
    return csr_array(vstack(parts, format="csr"))


def _cut(indptr: NDArray[np.int32]) -> list[int]:
    n_parts = int(indptr[-1]) // MAX_ENTRIES + 1
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_parts + 1)[1:-1])
    return sorted({0, *cuts.tolist(), len(indptr) - 1})


def _rank(block: CSR, rated: NDArray[np.bool_]) -> CSR:
    from scipy.sparse import csr_array

    n_features = block.shape[0]
    feature = np.repeat(np.arange(n_features), np.diff(block.indptr))
    keep = rated[block.indices]
    feature, images, values = feature[keep], block.indices[keep], block.data[keep]
    stored = np.bincount(feature, minlength=n_features)
    negative = np.bincount(feature[values < 0], minlength=n_features)
    indptr = np.concatenate([[0], np.cumsum(stored)])
    zeros = int(rated.sum()) - stored

    key = (feature.astype(np.uint64) << np.uint64(32)) | _sortable(values)
    order = np.argsort(key)
    place = _mean_place_of_ties(key[order]) - indptr[feature]  # the features stay in their order
    below = zeros[feature] * (values[order] > 0)
    zero_rank = negative + (zeros + 1) / 2
    ranks = np.empty(len(values), dtype=np.float32)
    ranks[order] = place + 1 + below - zero_rank[feature]
    return csr_array((ranks, images, indptr), shape=block.shape)


def _sortable(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values, equal where they are."""
    bits = values.view(np.uint32)
    negative = np.signbit(values)
    return np.where(negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _mean_place_of_ties(key: NDArray[np.uint64]) -> NDArray[np.float64]:
    """For sorted keys, the mean of the places of all that are equal."""
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))[: len(key)]
    sizes = np.diff(np.append(first, len(key)))
    return np.repeat(first + (sizes - 1) / 2, sizes)
