"""The null of a score by drawing: how often random images are as alike as the feature's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from saeviz_monosemanticity.embeddings import UnitVectors

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray, IntArray


Sets = Callable[[np.random.Generator, int], "IntArray"]
"""So many random sets of images, `[count, k]`."""

FIRST_DRAWS = 1000
ENOUGH = 10
"""Draws as high as the score that are enough for a p; features with fewer get ten times as many draws."""
MOST_IMAGES = 100
"""Most images for draws: time grows with the pairs of images, and beyond this the approximation is good."""
NUMBERS_AT_ONCE = 1 << 22
NUMBERS_IN_CACHE = 1 << 19
AS_HIGH = 1e-5
"""Rounding of the float32 products: a draw this little below the score counts as high as it."""


def draw_p_values(
    weights: FloatArray, scores: FloatArray, unit: UnitVectors, draws: int, seed: int, sets: Sets | None = None
) -> FloatArray:
    """P(null score >= score) as (b + 1) / (m + 1) when b of m draws are as high, `[n_features]`; NaN where no score.

    `weights` is `[n_features, k]`. A draw is a set of k random images, the same for all features, by `sets` if given. m
    is 1,000, then ten times as many and so on, up to `draws`, for a feature while b < 10. That m depends on b does no
    harm: under the null P(p <= x) <= x for x from 11/1001 on by what 1,000 draws say, below by what 10,000 would say of
    every feature, and so on.
    """
    random = np.random.default_rng(seed)
    sets = sets or _any_images(unit, weights.shape[1])
    p = np.full(scores.shape, np.nan)
    higher = np.zeros(scores.shape, dtype=np.int64)
    drawn = 0
    going = np.flatnonzero(np.isfinite(scores))
    while going.size and drawn < draws:
        more = min(draws, max(FIRST_DRAWS, 10 * drawn)) - drawn
        higher[going] += _count_as_high(weights[going], scores[going], unit, more, random, sets)
        drawn += more
        p[going] = (higher[going] + 1) / (drawn + 1)
        going = going[higher[going] < ENOUGH]
    return p


def random_sets(random: np.random.Generator, n: int, k: int, count: int) -> IntArray:
    """`count` times k different numbers below n, in random order: `[count, k]`. Floyd's algorithm for all at once."""
    chosen = np.empty((count, k), dtype=np.int64)
    for place, last in enumerate(range(n - k, n)):
        drawn = random.integers(last + 1, size=count)
        is_taken = (chosen[:, :place] == drawn[:, None]).any(axis=1)
        chosen[:, place] = np.where(is_taken, last, drawn)
    return random.permuted(chosen, axis=1)


def moments_of_draws(weights: FloatArray, unit: UnitVectors, sets: Sets, seed: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each feature's score over 1,000 draws."""
    one, other = np.triu_indices(weights.shape[1], 1)
    random = np.random.default_rng(seed)
    cosines = _draw_cosines(unit, weights.shape[1], sets, FIRST_DRAWS, random)[:, one, other].astype(np.float64)
    mean, sd = np.empty(len(weights)), np.empty(len(weights))
    features_at_once = max(1, NUMBERS_AT_ONCE // max(one.size, FIRST_DRAWS))
    for first in range(0, len(weights), features_at_once):
        some = slice(first, first + features_at_once)
        drawn = _weights_of_pairs(weights[some], one, other) @ cosines.T
        mean[some], sd[some] = drawn.mean(axis=1), drawn.std(axis=1)
    return mean, sd


def _any_images(unit: UnitVectors, k: int) -> Sets:
    return lambda random, count: random_sets(random, len(unit), k, count)


def _weights_of_pairs(weights: FloatArray, one: IntArray, other: IntArray) -> FloatArray:
    pairs = weights[:, one] * weights[:, other]
    pairs /= pairs.sum(axis=1, keepdims=True)
    return pairs


def _count_as_high(
    weights: FloatArray, scores: FloatArray, unit: UnitVectors, draws: int, random: np.random.Generator, sets: Sets
) -> IntArray:
    n_features, k = weights.shape
    one, other = np.triu_indices(k, 1)
    features_at_once = max(1, NUMBERS_AT_ONCE // max(one.size, FIRST_DRAWS))
    counts = np.zeros(n_features, dtype=np.int64)
    for start in range(0, draws, FIRST_DRAWS):
        cosines = _draw_cosines(unit, k, sets, min(FIRST_DRAWS, draws - start), random)[:, one, other]
        for first in range(0, n_features, features_at_once):
            some = slice(first, first + features_at_once)
            drawn = _weights_of_pairs(weights[some], one, other).astype(np.float32) @ cosines.T
            counts[some] += np.count_nonzero(drawn >= (scores[some] - AS_HIGH).astype(np.float32)[:, None], axis=1)
    return counts


def _draw_cosines(unit: UnitVectors, k: int, sets: Sets, draws: int, random: np.random.Generator) -> Float32Array:
    """Float32 `[draws, k, k]`: the cosines within random sets of k images."""
    cosines = np.empty((draws, k, k), dtype=np.float32)
    at_once = max(1, NUMBERS_IN_CACHE // (k * unit.dim))
    for start in range(0, draws, at_once):
        some = sets(random, min(at_once, draws - start))
        vectors = unit[some.ravel()].astype(np.float32).reshape(*some.shape, unit.dim)
        cosines[start : start + at_once] = vectors @ vectors.transpose(0, 2, 1)
    return cosines
