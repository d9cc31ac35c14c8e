"""Which features tell the images that have something from those that lack it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import ConfigError, Context, ScoreInput, target_kind
from saeviz_correlation.areas import Areas, Sums, Ties, count_positive, sort_ties, sum_pairs
from saeviz_correlation.base import CorrelationScorer
from saeviz_correlation.blocks import OfBlock
from saeviz_correlation.clusters import share_between
from saeviz_correlation.grouping import Grouping
from saeviz_correlation.inference import area_interval, mann_whitney_p, p_of_rank_correlation, p_of_ranks_in_groups
from saeviz_correlation.moments import Correlations, correlations_of
from saeviz_correlation.options import AreaOptions
from saeviz_correlation.permutation import LargestCorrelations
from saeviz_correlation.placements import Placements, Sides
from saeviz_correlation.ranks import rank_features
from saeviz_correlation.robust import Robustly, join_robust
from saeviz_correlation.targets import Targets, make_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, FloatArray, IntArray, Mask
    from saeviz_correlation.clusters import Clusters


LEAST_EXPECTED = 10
"""Images of the smaller side on which a feature fires, if it fires on either equally often: below that the normal
approximation is too hopeful in the tail, and intervals are too short (`benchmarks/area_coverage.py`, `calibration.py`).
"""

LEAST_EXPECTED_GROUPS = 5
"""The same of groups, whose p errs on the safe side (`benchmarks/area_coverage_groups.py`)."""


class AUC(CorrelationScorer):
    """The area under the ROC curve between a feature's activation and each binary rating.

    Further columns per rating, before those of `CorrelationScorer`: `area`, the chance that of an image with the
    rating 1 and one with 0 the first has the larger activation (ties count half), `average_precision`, and
    `n_positive`. `r` is the rank-biserial correlation 2 area - 1, so that it has a sign; `ci_low` and `ci_high` bound
    it by DeLong's variance on the scale of the logit. `p` is that of Mann and Whitney's two-sided test with corrections
    for ties and continuity. Ratings with other values than 0 and 1 are left out. Where fewer than 10 of the images of
    one side are expected to make a feature fire, it is not tested, and there is no interval.

    Of images in groups p is that of the ranks by the larger of two variances, that of clusters (`robust`) and Mann and
    Whitney's with the correlation of images of a group (`inference`); the variance of the area for the interval is
    Obuchowski's (`placements`). Then `df` is that of the interval, `n_groups` the number of groups in which the feature
    fires, `expected_groups` how many of these are expected on the side that has fewer groups, of the images with and
    without the rating; below 5 the feature is not tested, and there is no interval.
    """

    name = "auc"
    prefix = "auc_"
    measure = "rank-biserial r"
    why_silent = "all images have it, or none, or fewer than 3 have the rating"
    why_nothing = "no rating is binary (all values 0 or 1), so there is no area under a curve"

    kind = Areas

    options: AreaOptions

    def __init__(self, options: AreaOptions, context: Context) -> None:
        super().__init__(options, context)
        self._grouping = Grouping(self.name, options.errors, options.correction, context)

    def reason(self, rating: str) -> str:
        """Why a rating may have no correlations."""
        return self._grouping.reason(rating) or super().reason(rating)

    def robustly(self, data: ScoreInput, targets: Sequence[Targets]) -> Robustly | None:
        """How p and intervals are computed if images are not taken as independent."""
        names = [name for one in targets for name in one.names]
        codes = self._grouping.codes(data, names, targets)
        return None if codes is None else Robustly(targets, codes, None)

    def targets(
        self, data: ScoreInput, ratings: Sequence[str], images: Mask, _within: IntArray | None = None
    ) -> list[Targets]:
        """The binary ratings on these images."""
        binary = [name for name in ratings if target_kind(data.ratings[name]) == "binary"]
        other = [name for name in self.options.ratings or () if name not in binary]
        if other:
            raise ConfigError(
                f"scorers.{self.name}.ratings: {other[0]!r} is not binary (all values 0 or 1); "
                "use spearman or pearson-bh"
            )
        return list(make_targets(data, binary, images))

    def correlating(self, data: ScoreInput, targets: Sequence[Targets], robustly: Robustly | None) -> OfBlock:
        """What finds the areas of features of all images with each of the targets."""
        clusters = [None] * len(targets) if robustly is None else robustly.clusters
        binary = [_Binary(one, data, own) for one, own in zip(targets, clusters, strict=True)]

        def of_block(place: int, values: CSR, largest: LargestCorrelations | None) -> Correlations:
            one = targets[place]
            found = _joined([_areas(binary[place], ties) for ties in sort_ties(values, one.rated)])
            if robustly is None and largest is None:
                return found
            ranks = rank_features(values, one.rated)
            if robustly is not None:
                of_ranks = robustly.of(place, correlations_of(one, ranks), ranks)
                found = replace(found, robust=of_ranks.robust, p=binary[place].p(of_ranks))
            if largest is not None:
                self.add(largest, ranks, found)
            return found

        return of_block

    def add(self, largest: LargestCorrelations, block: CSR, found: Correlations) -> None:
        """Permute the ratings, of which each has tested features of its own."""
        assert isinstance(found, Areas)  # noqa: S101 - `correlate` made them
        n_positive = found.n_positive[None, :]
        rough = _is_rough({"n": found.targets.n, "n_active": found.n_active[:, None], "n_positive": n_positive})
        largest.add(block, found.spread_of_active(self.options.min_active), tested=~rough)

    def p_of(self, r: FloatArray, df: int) -> FloatArray:
        """The p of a correlation between ranks and a binary rating, which is that of the area under the curve."""
        return p_of_rank_correlation(r, df + 2)

    def further_facts(self) -> Mapping[str, object]:
        """From how many expected active images, or groups, on the smaller side a feature is tested, and the errors."""
        return {"min_expected": LEAST_EXPECTED, **self._grouping.facts}

    def is_tested(self, values: Mapping[str, FloatArray]) -> Mask:
        """As for the others, and if enough images, and groups, of either side are expected to make it fire."""
        return super().is_tested(values) & ~_is_rough(values)

    def values(self, found: Correlations) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """The columns of each rating."""
        assert isinstance(found, Areas)  # noqa: S101 - `correlate` made them
        for place, name in enumerate(found.targets.names):
            r = found.r[:, place]
            columns: dict[str, NDArray[Any]] = {
                "area": (1 + r) / 2,
                "average_precision": found.precision[:, place],
                "n_positive": np.where(np.isnan(r), np.nan, found.n_positive[place]),
                "r": r,
                "p": found.p[:, place],
            }
            df = np.full(r.shape, np.inf)
            if found.robust is not None:
                df = columns["df"] = np.minimum(found.robust.df, found.df[place])
                columns["n_groups"] = found.robust.n_groups
                columns["expected_groups"] = found.robust.n_groups * found.smaller[place]
            bounds = area_interval(columns["area"], found.variance[:, place], df)
            is_rough = _is_rough({"n": found.targets.n, "n_active": found.n_active, **columns})
            columns["ci_low"], columns["ci_high"] = (np.where(is_rough, np.nan, bound) for bound in bounds)
            yield name, columns


class _Binary:
    """Binary targets of the same images: which images have each, and of images in groups, how these are divided."""

    def __init__(self, targets: Targets, data: ScoreInput, clusters: Clusters | None) -> None:
        self.targets = targets
        self.clusters = clusters
        self.has = [(data.ratings[name] == 1).astype(np.float64) * targets.rated for name in targets.names]
        self.n_positive = np.array([int(one.sum()) for one in self.has])
        known = [0 < n < targets.n for n in self.n_positive]
        self.sides = [
            Sides(clusters, has) if clusters is not None and is_known else None
            for has, is_known in zip(self.has, known, strict=True)
        ]
        rated = [np.where(targets.rated, one, np.nan) for one in self.has]
        self.between = [0.0 if clusters is None else share_between(one, clusters.group_of) for one in rated]
        self.df = np.array([np.nan if one is None else one.df() for one in self.sides])
        self.smaller = np.array([np.nan if one is None else one.smaller for one in self.sides])

    def p(self, of_ranks: Correlations) -> FloatArray:
        """Of images in groups, that of each target, by the correlations of the ranks of features with it."""
        robust, clusters = of_ranks.robust, self.clusters
        assert robust is not None  # noqa: S101 - images in groups have it
        assert clusters is not None  # noqa: S101
        columns = [
            p_of_ranks_in_groups(
                of_ranks.r[:, place],
                robust.slope[:, place],
                robust.squares,
                n=self.targets.n,
                n_groups=clusters.starts.size,
                between=between,
            )
            for place, between in enumerate(self.between)
        ]
        return np.where(np.isnan(robust.p), np.nan, np.column_stack(columns))


def _areas(of: _Binary, ties: Ties) -> Areas:
    placements = None if of.clusters is None else Placements(ties, of.clusters)
    results = [_area(ties, *given, placements) for given in zip(of.has, of.n_positive, of.sides, strict=True)]
    r, p, variance, precision = (np.column_stack(columns) for columns in zip(*results, strict=True))
    n = ties.n
    varies = ties.tied < n**3 - n
    spread = np.where(varies, np.sqrt(np.maximum(n**3 - n - ties.tied, 0) / 12), np.nan)
    n_active = np.bincount(
        np.repeat(np.arange(len(ties.counts)), ties.counts), ties.size * ties.above_zero, len(ties.counts)
    )
    per_feature = of.targets, n_active.astype(np.int64), r, spread
    return Areas(*per_feature, p, variance, precision, of.n_positive, of.df, of.smaller)


def _is_rough(values: Mapping[str, Any]) -> Mask:
    """Whether a feature is too rare, or the target, for the normal approximation, by the columns of a rating."""
    n, n_positive = values["n"], values["n_positive"]
    expected = values["n_active"] * np.minimum(n_positive, n - n_positive) / np.maximum(n, 1)
    few_groups = values.get("expected_groups", np.inf) < LEAST_EXPECTED_GROUPS
    return np.asarray((expected < LEAST_EXPECTED) | few_groups)


def _area(
    ties: Ties, has: FloatArray, n_positive: int, sides: Sides | None, placements: Placements | None
) -> tuple[FloatArray, ...]:
    """r, p, the variance of the area and average precision, NaN where a feature or the target never varies."""
    n, n_negative = ties.n, int(ties.n - n_positive)
    nothing = np.full(len(ties.counts), np.nan)
    if not n_positive or not n_negative or n < 3:
        return nothing, nothing, nothing, nothing
    counts = count_positive(ties, has, int(n_positive))
    sums = sum_pairs(ties, counts)
    area = sums.won / (n_positive * n_negative)
    varies = ties.tied < n**3 - n
    p = mann_whitney_p(sums.won, int(n_positive), n_negative, ties.tied)
    if sides is not None and placements is not None:
        variance = placements.variance(sides, counts, area)
    else:
        variance = _delong(sums, int(n_positive), n_negative)
    r, variance, precision = (np.where(varies, one, np.nan) for one in (2 * area - 1, variance, sums.precision))
    return r, p, variance, precision


def _delong(sums: Sums, n_positive: int, n_negative: int) -> FloatArray:
    """The variance of the area by DeLong, DeLong and Clarke-Pearson (1988); NaN with one image on a side."""
    if n_positive < 2 or n_negative < 2:
        return np.full(sums.won.shape, np.nan)
    lost = n_positive * n_negative - sums.won
    of_positive = (sums.won_squares - sums.won**2 / n_positive) / (n_negative**2 * (n_positive - 1))
    of_negative = (sums.lost_squares - lost**2 / n_negative) / (n_positive**2 * (n_negative - 1))
    return np.maximum(of_positive, 0) / n_positive + np.maximum(of_negative, 0) / n_negative


def _joined(parts: Sequence[Areas]) -> Areas:
    """The areas of some features, then of others, with the same targets."""
    names = ("n_active", "r", "spread", "p", "variance", "precision")
    together: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    robust = [part.robust for part in parts if part.robust is not None]
    together["robust"] = join_robust(robust) if robust else None
    return replace(parts[0], **together)
