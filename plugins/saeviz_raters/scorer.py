"""The scorer `raters`: reliability of every rating, and relations that respect who gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import Context, ImageColumn, IndividualRatings, ScoreColumn, ScoreFact, ScoreInput, merged_parts
from saeviz.toolkit.multiple_testing import adjust
from saeviz.toolkit.ratings import read_numbers
from saeviz_raters import RatersOptions
from saeviz_raters.parts import LARGEST_STATE, RatersInParts
from saeviz_raters.relation import relations
from saeviz_raters.reliability import Reliability, from_published, from_single_ratings
from saeviz_raters.sums import Design, FeatureSums, make_design, sum_features

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

FEW_RATERS = 8
"""Fewer tell little of how raters differ in general, so there is a warning."""


MANY = 100
"""With single ratings of more, only reliability is computed: relations would be a table of all features for each."""


class Raters:
    """Reliability of the ratings, and per feature what holds for raters and images in general.

    The fact `reliability` has for each rating the figures of `Reliability`, from the single ratings or, where `sd`
    and `n` name columns for it, from these. Columns where single ratings are known: `rater_n` (images with ratings of
    raters who gave two or more), `rater_n_raters` (raters among whose images the feature varies), `rater_r`
    (correlation of single ratings with the feature within raters), `rater_sd` (how much raters differ in it),
    `rater_p` (images and raters random), then `rater_q` and `rater_significant` by Benjamini-Hochberg over all
    features, ratings and spaces of the run. A feature that fires on fewer than `min_active` of the rated images has
    no p and is not a member of the family.

    Numbers of images where `sd` and `n` name columns: `sd.RATING` and `raters.RATING`, what these columns say.
    """

    def __init__(self, options: RatersOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._warned: set[str] = set()
        self._told_of_many = False
        self._spreads: dict[str, FloatArray] = {}
        self._known: tuple[Mapping[str, IndividualRatings], dict[str, Any]] | None = None

    def score(self, data: ScoreInput) -> Iterator[ScoreColumn | ScoreFact]:
        """The reliabilities, and the columns of one space."""
        if scores := self.in_parts(data):
            yield from scores.finish(merged_parts(scores, data))
            return
        reliability, designs = self._prepared(data)
        yield reliability
        for name, design in designs.items():
            yield from self._columns(data, design, name, sum_features(data, design))

    def in_parts(self, data: ScoreInput) -> RatersInParts | None:
        """The same from parts of the images; None if sums over the images of each rater are too many for memory."""
        reliability, designs = self._prepared(data)
        n_raters = sum(design.n_ratings.size for design in designs.values())
        if not designs or n_raters * data.space.n_features > LARGEST_STATE:
            return None
        return RatersInParts(data, designs, partial(self._columns, data), reliability)

    def _prepared(self, data: ScoreInput) -> tuple[ScoreFact, Mapping[str, Design]]:
        """The reliabilities, and for each rating with relations who gave it to which image."""
        names = self._chosen(data)
        if data.groups is not None and "" not in self._warned:
            self._warned.add("")
            self.context.logger.warning(
                "raters: the images belong to groups, but rater_p takes them as independent and is too optimistic; "
                "pearson-bh, spearman, point-biserial, partial and auc allow for groups"
            )
        reliability = ScoreFact("reliability", self._reliabilities(data, names))
        for name in (name for name in names if name in self.options.sd):
            self._spreads[f"sd.{name}"] = self._numbers(data, self.options.sd[name])
            self._spreads[f"raters.{name}"] = self._numbers(data, self.options.n[name])
        given = [name for name in names if name in data.individual]
        if len(given) > MANY:
            self._say_once_that_there_are_many(len(given))
            given = []
        designs = {name: make_design(data.individual[name], data.n_items) for name in given}
        for name, design in designs.items():
            self._warn_of_few_raters(name, design.n_ratings.size)
        return reliability, designs

    def combine(self, columns: Sequence[ScoreColumn]) -> Iterator[ScoreColumn | ScoreFact | ImageColumn]:
        """`rater_q` and `rater_significant` of every pair of feature and rating, from the columns of all spaces."""
        for column_of_images, spread in self._spreads.items():
            yield ImageColumn(column_of_images, spread)
        tests = [column for column in columns if column.name == "rater_p"]
        p = np.concatenate([column.values for column in tests] or [np.zeros(0)])
        q = adjust(p)
        is_member = np.isfinite(q)
        significant = np.where(is_member, q <= self.options.alpha, np.nan)
        stop = 0
        if tests:
            yield from self._facts(int(is_member.sum()))
        for column in tests:
            start, stop = stop, stop + column.space.n_features
            yield ScoreColumn("rater_q", column.space, q[start:stop], target=column.target)
            yield ScoreColumn("rater_significant", column.space, significant[start:stop], target=column.target)

    def _columns(self, data: ScoreInput, design: Design, name: str, sums: FeatureSums) -> Iterator[ScoreColumn]:
        found = relations(sums, design)
        values = {
            "rater_n": np.full(data.space.n_features, np.count_nonzero(design.per_image)),
            "rater_n_raters": sums.n_raters,
            "rater_r": found.r,
            "rater_sd": found.spread,
            "rater_p": np.where(sums.n_active >= self.options.min_active, found.p, np.nan),
        }
        for column, of_features in values.items():
            yield ScoreColumn(column, data.space, of_features, target=name)

    def _say_once_that_there_are_many(self, n: int) -> None:
        if not self._told_of_many:
            self._told_of_many = True
            self.context.logger.info(
                "raters: only reliability and ceiling are computed for %d ratings; for relations that generalise to "
                "other raters, name at most %d in scorers.raters.ratings",
                n,
                MANY,
            )

    def _warn_of_few_raters(self, name: str, n_raters: int) -> None:
        if 1 < n_raters < FEW_RATERS and name not in self._warned:
            self._warned.add(name)
            self.context.logger.warning(
                "raters: only %d raters gave %r; the variation between raters can hardly be estimated from fewer "
                "than %d, so "
                "rater_p is cautious and few relations become significant",
                n_raters,
                name,
                FEW_RATERS,
            )

    def _facts(self, family_size: int) -> Iterator[ScoreFact]:
        """How to read these correlations, for a run in which they are the main ones."""
        yield ScoreFact("rater_measure", "r within raters")
        yield ScoreFact("rater_correction", "bh")
        yield ScoreFact("rater_family", "run")
        yield ScoreFact("rater_family_size", family_size)
        yield ScoreFact("rater_alpha", self.options.alpha)
        yield ScoreFact("rater_min_active", self.options.min_active)

    def _reliabilities(self, data: ScoreInput, names: Sequence[str]) -> dict[str, Any]:
        """The same for all spaces of a run, so made once."""
        if self._known is None or not _same_values(self._known[0], data.individual):
            found = {name: _as_fact(self._reliability(data, name)) for name in names if self._has_raters(data, name)}
            self._known = data.individual, found
        return self._known[1]

    def _has_raters(self, data: ScoreInput, name: str) -> bool:
        return name in self.options.sd or name in data.individual

    def _reliability(self, data: ScoreInput, name: str) -> Reliability:
        if name in self.options.sd:
            sd = self._numbers(data, self.options.sd[name])
            n = self._numbers(data, self.options.n[name])
            found = from_published(np.asarray(data.ratings[name], dtype=np.float64), sd, n)
        else:
            found = from_single_ratings(data.individual[name], self.options.splits, self.context.seed)
        if np.isnan(found.reliability):
            self.context.logger.warning(
                "raters: the reliability of %r cannot be estimated: it never varies, or fewer than 2 images or no "
                "image with 2 raters have it",
                name,
            )
        return found

    def _numbers(self, data: ScoreInput, column: str) -> FloatArray:
        """A column of the ratings table, whether it became a rating or metadata."""
        if column in data.ratings:
            return np.asarray(data.ratings[column], dtype=np.float64)
        return np.array(read_numbers(data.metadata[column]), dtype=np.float64)

    def _chosen(self, data: ScoreInput) -> list[str]:
        self.options.check_data("scorers.raters", data.ratings, data.metadata)
        chosen = list(dict.fromkeys(data.ratings if self.options.ratings is None else self.options.ratings))
        if not any(self._has_raters(data, name) for name in chosen):
            self.context.logger.warning(
                "raters: no individual ratings are known; name the column of the raters in images.rater_column, or "
                "columns "
                "with their standard deviation and number in sd and n"
            )
        return chosen


def _same_values(one: Mapping[str, IndividualRatings], other: Mapping[str, IndividualRatings]) -> bool:
    """Whether both have the very same objects: each space comes with a mapping of its own."""
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


def _as_fact(found: Reliability) -> dict[str, Any]:
    return {**vars(found), "ceiling_r": found.ceiling_r}
