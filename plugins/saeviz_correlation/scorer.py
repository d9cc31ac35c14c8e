"""Correlates every feature with every rating and adjusts for having asked so often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ConfigError, Context, FeatureSpace, ScoreColumn, ScoreFact, ScoreInput
from saeviz_correlation import CorrelationOptions
from saeviz_correlation.inference import adjust, confidence_interval, p_values
from saeviz_correlation.moments import RatedSums, group_by_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

Test = tuple[FeatureSpace, str]


class PearsonBH:
    """Pearson's r between a feature's activation and a rating, over the images that have this rating.

    Columns per rating, over its rated images: `n`, `n_active` (on how many of them the feature fires),
    `r`, `p` (two-sided, Student's t), `ci_low` and `ci_high` (95 %, Fisher's z), then `q` and `significant`
    (1 or 0) from Benjamini-Hochberg over all features, ratings and spaces of the run. r is NaN for a feature or
    rating that does not vary and below 3 images. A feature that fires on fewer than `min_active` of the
    rated images is no member of the family: its r and p stand, its q and `significant` are NaN.
    """

    def __init__(self, options: CorrelationOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn]:
        """The columns of one space, from one pass over its features."""
        ratings = self._chosen(data.ratings)
        groups = {
            tuple(names): RatedSums(np.column_stack([ratings[name] for name in names]), data.space.n_features)
            for names in group_by_missing(ratings)
        }
        for rows, matrix in data.chunks() if groups else ():
            for sums in groups.values():
                sums.add(rows, matrix)
        for names, sums in groups.items():
            for name, r in zip(names, sums.correlations().T, strict=True):
                yield from _columns(data.space, name, sums, r)

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact]:
        """`q` and `significant` of every pair of feature and rating, from the columns of all spaces."""
        r, p, n_active = (_by_test(columns, name) for name in ("r", "p", "n_active"))
        self._warn_of_silence(r)
        members = {test: ~np.isnan(r[test]) & (n_active[test] >= self.options.min_active) for test in r}
        family = np.concatenate([p[test][member] for test, member in members.items()] or [np.zeros(0)])
        adjusted = adjust(family)
        found = dict.fromkeys((rating for _, rating in members), 0)
        start = 0
        for (space, rating), member in members.items():
            stop = start + int(member.sum())
            q = np.full(space.n_features, np.nan)
            q[member] = adjusted[start:stop]
            start = stop
            significant = np.where(member, (q <= self.options.alpha).astype(float), np.nan)
            found[rating] += int(np.nansum(significant))
            yield ScoreColumn("q", space, q, target=rating)
            yield ScoreColumn("significant", space, significant, target=rating)
        yield ScoreFact("correlation_family_size", family.size)
        yield ScoreFact("correlation_alpha", self.options.alpha)
        yield ScoreFact("correlation_min_active", self.options.min_active)
        for rating, count in found.items():
            yield ScoreFact(f"correlation_significant_{rating}", count)

    def _chosen(self, ratings: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        for name in self.options.ratings or ():
            if name not in ratings:
                near = get_close_matches(name, ratings, n=1)
                known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, ratings)) or 'none'}"
                raise ConfigError(f"scorers.pearson-bh.ratings: the images have no rating {name!r}; {known}")
        names = ratings if self.options.ratings is None else self.options.ratings
        return {name: np.asarray(ratings[name], dtype=np.float64) for name in names}

    def _warn_of_silence(self, r: Mapping[Test, FloatArray]) -> None:
        if not r:
            self.context.logger.warning("pearson-bh: the images have no ratings, so there is nothing to correlate with")
        for rating in dict.fromkeys(rating for _, rating in r):
            if all(np.isnan(values).all() for (_, name), values in r.items() if name == rating):
                self.context.logger.warning(
                    "pearson-bh: rating %r has no correlations: fewer than 3 images have it, or it never varies", rating
                )


def _columns(space: FeatureSpace, rating: str, sums: RatedSums, r: FloatArray) -> Iterator[ScoreColumn]:
    low, high = confidence_interval(r, sums.n)
    values = {
        "n": np.full(space.n_features, sums.n),
        "n_active": sums.n_active,
        "r": r,
        "p": p_values(r, sums.n),
        "ci_low": low,
        "ci_high": high,
    }
    for name, column in values.items():
        yield ScoreColumn(name, space, column, target=rating)


def _by_test(columns: Sequence[ScoreColumn], name: str) -> dict[Test, FloatArray]:
    return {
        (column.space, column.target): column.values
        for column in columns
        if column.name == name and column.target is not None
    }
