"""Ranks of features without making them dense: the zeros of a column share one rank, which is subtracted."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray, Mask

MAX_ENTRIES = 1 << 20


def rank_features(block: CSR, rated: Mask) -> CSR:
    """Each value's rank among the feature's values on the rated images, less the rank that a zero has.

    `block` is CSR float32 `[n_features, n_items]` without stored zeros, and so is the result; it stores nothing
    for other images. Ties have the mean of their ranks. What is stored has the sign that the value has.
    """
    from scipy.sparse import csr_array

    block = only_rated(block, rated)
    n_rated = int(np.count_nonzero(rated))
    ranks = np.empty_like(block.data)
    for features in pieces(block):
        entries = slice(block.indptr[features.start], block.indptr[features.stop])
        ranks[entries] = _rank(block.data[entries], np.diff(block.indptr[features.start : features.stop + 1]), n_rated)
    return csr_array((ranks, block.indices, block.indptr), shape=block.shape)


def only_rated(block: CSR, rated: Mask) -> CSR:
    """The block without what is stored for other images."""
    from scipy.sparse import csr_array

    if rated.all():
        return block
    keep = rated[block.indices]
    before = np.concatenate([[0], np.cumsum(keep)])
    return csr_array((block.data[keep], block.indices[keep], before[block.indptr]), shape=block.shape)


def pieces(block: CSR, max_entries: int = MAX_ENTRIES) -> list[slice]:
    """The rows in pieces of about `max_entries` stored values each, to limit the memory that one piece takes."""
    n_pieces = int(block.indptr[-1]) // max_entries + 1
    cuts = np.searchsorted(block.indptr, np.linspace(0, block.indptr[-1], n_pieces + 1)[1:-1])
    return [slice(start, stop) for start, stop in pairwise(sorted({0, *cuts.tolist(), block.shape[0]}))]


def _rank(values: Float32Array, stored: IntArray, n_rated: int) -> FloatArray:
    """Ranks of the stored values of some features, which follow one another: `stored[i]` values of feature i."""
    feature = np.repeat(np.arange(len(stored)), stored)
    negative = np.bincount(feature[values < 0], minlength=len(stored))
    zeros = n_rated - stored
    key = (feature.astype(np.uint64) << np.uint64(32)) | sortable(values)
    order = np.argsort(key)  # which leaves the features in their order
    place = _mean_place_of_ties(key[order]) - (np.cumsum(stored) - stored)[feature]
    below = zeros[feature] * (values[order] > 0)
    zero_rank = negative + (zeros + 1) / 2
    ranks = np.empty(len(values))
    ranks[order] = place + 1 + below - zero_rank[feature]
    return ranks


def sortable(values: Float32Array) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values, equal where these are."""
    bits = values.view(np.uint32)
    negative = np.signbit(values)
    return np.where(negative, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _mean_place_of_ties(key: NDArray[np.uint64]) -> FloatArray:
    """For sorted keys, the mean of the places of all that are equal."""
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))[: len(key)]
    sizes = np.diff(np.append(first, len(key)))
    return np.repeat(first + (sizes - 1) / 2, sizes)
