"""How well a feature tells the images that have something from those that lack it: exact, without making it dense.

What counts is which image has the larger value, so a feature is sorted once, for all targets. Images with equal values
are one tie; the zeros of a feature are one, too, which is not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.moments import Correlations
from saeviz_correlation.ranks import only_rated, pieces, sortable

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray, Mask

ENTRIES_AT_ONCE = 1 << 17  # a megabyte an array, which stays in the cache while all targets are looked at


@dataclass(frozen=True)
class Areas(Correlations):
    """`Correlations` whose r is the rank-biserial one, 2 AUC - 1, `[n_features, n_targets]` as are the others.

    `p` is that of Mann and Whitney's test, `variance` that of the area, `precision` the average precision. `n_positive`
    `[n_targets]` says on how many images each target is 1. Of images in groups, `robust` is that of the ranks,
    `df` `[n_targets]` are the degrees of freedom that each target leaves, and `smaller` is the share of groups on the
    side that has fewer of them.
    """

    p: FloatArray
    variance: FloatArray
    precision: FloatArray
    n_positive: IntArray
    df: FloatArray
    smaller: FloatArray

    of_targets_only = ("n_positive", "df", "smaller")


@dataclass(frozen=True)
class Ties:
    """The values of some features on the rated images, sorted: ties in rising order, one feature after the other.

    `images` is the image of each value, `first` where each tie begins among them, `size` its number of images, `below`
    how many images have a smaller value, `above_zero` whether its value is. Of each feature: `starts`, its first tie,
    `counts`, the number of its ties, `zeros` and `negative`, its images with such a value, and `tied`, the sum of
    size^3 - size over all ties, that of the zeros among them.
    """

    n: int
    images: IntArray
    first: IntArray
    size: FloatArray
    below: FloatArray
    above_zero: Mask
    starts: IntArray
    counts: IntArray
    zeros: FloatArray
    negative: FloatArray
    tied: FloatArray

    def total(self, values: FloatArray) -> FloatArray:
        """The sum over the ties of each feature."""
        filled = self.counts > 0
        sums = np.zeros(len(self.counts))
        if values.size:
            sums[filled] = np.add.reduceat(values, self.starts[filled])
        return sums

    def spread(self, values: FloatArray) -> FloatArray:
        """What is known of each feature, for each of its ties."""
        return np.repeat(values, self.counts)


@dataclass(frozen=True)
class Sums:
    """Of each feature with one target: pairs in which the image that has it is larger, ties for half, and more.

    `won_squares` sums the squares of each positive image's share in `won`, `lost_squares` those of how many positive
    images each negative one is above; `precision` is the average precision. All but the last are exact.
    """

    won: FloatArray
    won_squares: FloatArray
    lost_squares: FloatArray
    precision: FloatArray


@dataclass(frozen=True)
class Counts:
    """Images that have a target, which are `n_positive`: in each tie and below it; of each feature, at and below zero.

    A feature's zeros are no stored tie; they count in `before` of the ties above them.
    """

    n_positive: int
    positive: FloatArray
    before: FloatArray
    zero_positive: FloatArray
    below_zero: FloatArray


def sort_ties(block: CSR, rated: Mask) -> Iterator[Ties]:
    """In pieces, the values on the rated images of CSR float32 `[n_features, n_items]` without stored zeros."""
    block = only_rated(block, rated)
    n = int(np.count_nonzero(rated))
    for features in pieces(block, ENTRIES_AT_ONCE):
        entries = slice(block.indptr[features.start], block.indptr[features.stop])
        stored = np.diff(block.indptr[features.start : features.stop + 1])
        yield _sort(block.data[entries], block.indices[entries], stored, n)


def _sort(values: Float32Array, images: IntArray, stored: IntArray, n: int) -> Ties:
    feature = np.repeat(np.arange(len(stored)), stored)
    key = (feature.astype(np.uint64) << np.uint64(32)) | sortable(values)
    order = np.argsort(key, kind="stable")  # images of a tie in their order, as sums over them are rounded
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))[: len(key)]
    size = np.diff(np.append(first, len(key))).astype(np.float64)
    of_tie = feature[first]
    counts = np.bincount(of_tie, minlength=len(stored))
    zeros = (n - stored).astype(np.float64)
    above_zero = values[order][first] > 0
    below = first - (np.cumsum(stored) - stored)[of_tie] + zeros[of_tie] * above_zero
    starts = np.cumsum(counts) - counts
    negative = np.bincount(feature[values < 0], minlength=len(stored)).astype(np.float64)
    tied = np.bincount(of_tie, size**3 - size, len(stored)) + zeros**3 - zeros
    return Ties(n, images[order], first, size, below, above_zero, starts, counts, zeros, negative, tied)


def count_positive(ties: Ties, has: FloatArray, n_positive: int) -> Counts:
    """Where the images are that have a target: `has` `[n_items]`, 1 or 0, is 1 on `n_positive` of the rated images."""
    positive = has[ties.images]
    if len(ties.first) < len(positive):
        positive = np.add.reduceat(positive, ties.first)
    before = np.cumsum(positive)
    before -= positive
    stored = ties.total(positive)
    zero_positive = n_positive - stored
    base = np.cumsum(stored) - stored
    if ties.above_zero.all():
        below_zero = np.zeros(len(stored))
        before += ties.spread(zero_positive - base)
    else:
        below_zero = ties.total(positive * ~ties.above_zero)
        before += ties.spread(zero_positive) * ties.above_zero - ties.spread(base)
    return Counts(n_positive, positive, before, zero_positive, below_zero)


def sum_pairs(ties: Ties, of: Counts) -> Sums:
    """The sums for one target."""
    sums = _sums(ties, of.positive, of.before)
    zeros = _sums_of(of.zero_positive, ties.zeros - of.zero_positive, of.below_zero, ties.negative - of.below_zero)
    precision = ties.total(of.positive * (of.n_positive - of.before) / (ties.n - ties.below))
    at_zero = of.zero_positive * (of.n_positive - of.below_zero) / np.maximum(ties.n - ties.negative, 1)
    won, won_squares, lost_squares = (one + other for one, other in zip(sums, zeros, strict=True))
    return Sums(won, won_squares, lost_squares, (precision + at_zero) / max(of.n_positive, 1))


def _sums(ties: Ties, positive: FloatArray, before: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    of_ties = _sums_of(positive, ties.size - positive, before, ties.below - before)
    won, won_squares, lost_squares = map(ties.total, of_ties)
    return won, won_squares, lost_squares


def _sums_of(
    positive: FloatArray, negative: FloatArray, positive_below: FloatArray, negative_below: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums over pairs, from the numbers of positive and negative images in each tie, and of those below it."""
    ahead_of = negative_below + 0.5 * negative
    won = positive * ahead_of
    ahead = positive_below + 0.5 * positive
    return won, won * ahead_of, negative * ahead * ahead
