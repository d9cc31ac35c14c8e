"""The null of a score where images belong to groups: random images, as many of which share a group as the feature's.

Images of one series are alike, so a feature that fires on a series has a high score, whatever it stands for. Its images
are compared with random ones of the same pattern: if three of them are of one group and two of another, three of some
group are drawn, two of another, and the rest each of its own. Features of the same pattern share their draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_monosemanticity.choices import Choice
from saeviz_monosemanticity.draws import FIRST_DRAWS, Sets, draw_p_values, moments_of_draws
from saeviz_monosemanticity.embeddings import UnitVectors

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray


def codes_of(groups: Iterable[str | None]) -> IntArray:
    """A number for each group `[n_images]`; an image without a group has one of its own."""
    known: dict[str, int] = {}
    codes = np.fromiter((-1 if name is None else known.setdefault(name, len(known)) for name in groups), np.int64)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = len(known) + np.arange(alone.size)
    return codes


class Drawn(NamedTuple):
    """By feature, mean and standard deviation of scores of draws, and the share of draws with as high a score."""

    mean: FloatArray
    sd: FloatArray
    p: FloatArray


class Groups:
    """The groups of images, whose numbers are their places in the order of ids."""

    def __init__(self, codes: IntArray) -> None:
        self.members = np.argsort(codes, kind="stable")
        _, self.starts, self.sizes = np.unique(codes[self.members], return_index=True, return_counts=True)

    def draw(self, random: np.random.Generator, choice: Choice, count: int) -> IntArray:
        """`count` sets of different images, `[count, sum(pattern)]`: so many of one group, then so many of another.

        `choice` is that of a pattern, of groups of these `sizes`.
        """
        chosen = choice.draw(random, count)
        return np.hstack([self._draw_within(random, of, n) for of, n in zip(chosen.T, choice.pattern, strict=True)])

    def _draw_within(self, random: np.random.Generator, group: IntArray, wanted: int) -> IntArray:
        """So many different images of the group of each row, in random order. Floyd's algorithm, as for all images."""
        places = np.empty((group.size, wanted), dtype=np.int64)
        for place in range(wanted):
            last = self.sizes[group] - wanted + place
            drawn = (random.random(group.size) * (last + 1)).astype(np.int64)
            is_taken = (places[:, :place] == drawn[:, None]).any(axis=1)
            places[:, place] = np.where(is_taken, last, drawn)
        return np.asarray(self.members[self.starts[group][:, None] + random.permuted(places, axis=1)])


def draw_in_groups(
    images: IntArray,
    weights: FloatArray,
    scores: FloatArray,
    unit: UnitVectors,
    groups: Iterable[str | None],
    draws: int,
    seed: int,
) -> Drawn:
    """The null of each score, NaN where there is none.

    `images` and `weights` are `[n_features, k]`; `images` are numbers of those of `unit`, whose groups are `groups`.
    What is drawn follows from the seed and their order.
    """
    codes = codes_of(groups)
    of_images = Groups(codes)
    found = Drawn(*(np.full(scores.shape, np.nan) for _ in range(3)))
    order, patterns = _patterns(codes[images], weights, np.isfinite(scores))
    for pattern, of_pattern in patterns.items():
        features = np.array(of_pattern)
        own = np.take_along_axis(weights[features], order[features], axis=1)[:, : sum(pattern)]
        found.mean[features], found.sd[features] = moments_of_draws(own, unit, _sets(of_images, pattern), seed)
        found.p[features] = draw_p_values(own, scores[features], unit, draws, seed, _sets(of_images, pattern))
    return found


def _sets(groups: Groups, pattern: Sequence[int]) -> Sets:
    """Sets of this pattern, of which 1,000 are drawn at once, whatever number is asked for."""
    choice = Choice(groups.sizes, pattern)
    left = np.empty((0, sum(pattern)), dtype=np.int64)

    def sets(random: np.random.Generator, count: int) -> IntArray:
        nonlocal left
        while len(left) < count:
            left = np.concatenate([left, groups.draw(random, choice, FIRST_DRAWS)])
        given, left = left[:count], left[count:]
        return given

    return sets


def _patterns(
    codes: IntArray, weights: FloatArray, testable: FloatArray
) -> tuple[IntArray, dict[tuple[int, ...], list[int]]]:
    """For each feature an order of its images: those with weight first, by group, the group with most of them first.

    And the features with the same numbers of images per group.
    """
    order = np.zeros(weights.shape, dtype=np.int64)
    patterns: dict[tuple[int, ...], list[int]] = {}
    for feature in np.flatnonzero(testable).tolist():
        has_weight = weights[feature] > 0
        _, of_image, sizes = np.unique(codes[feature][has_weight], return_inverse=True, return_counts=True)
        rank = np.empty(sizes.size, dtype=np.int64)
        rank[np.argsort(-sizes, kind="stable")] = np.arange(sizes.size)
        own = np.flatnonzero(has_weight)[np.argsort(rank[of_image], kind="stable")]
        order[feature] = np.concatenate([own, np.flatnonzero(~has_weight)])
        patterns.setdefault(tuple(sorted(sizes.tolist(), reverse=True)), []).append(feature)
    return order, patterns
