"""Which features tell the images that have something from those that lack it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import ConfigError, ScoreInput, target_kind
from saeviz_correlation.areas import Areas, Sums, Ties, sort_ties, sum_pairs
from saeviz_correlation.columns import feature_blocks
from saeviz_correlation.inference import area_interval, mann_whitney_p, p_of_rank_correlation
from saeviz_correlation.moments import Correlations
from saeviz_correlation.permutation import LargestCorrelations
from saeviz_correlation.ranks import rank_features
from saeviz_correlation.robust import Robustly
from saeviz_correlation.scorer import CorrelationScorer
from saeviz_correlation.targets import Targets, make_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, Mask


LEAST_EXPECTED = 5
"""Images of the smaller side on which a feature fires, if it fires on either equally often: below that the normal
approximation is too hopeful in the tail, and so are intervals (`benchmarks/area_coverage.py`)."""


class AUC(CorrelationScorer):
    """The area under the ROC curve between a feature's activation and each binary rating.

    Further columns per rating, before those of `CorrelationScorer`: `area`, the chance that of an image with the
    rating 1 and one with 0 the first has the larger activation (ties count half), `average_precision`, and
    `n_positive`. `r` is the rank-biserial correlation 2 area - 1, so that it has a sign; `ci_low` and `ci_high` bound
    it by DeLong's variance on the scale of the logit. `p` is that of Mann and Whitney's two-sided test with corrections
    for ties and continuity. Ratings with other values than 0 and 1 are left out. Where fewer than 5 of the images of
    one side are expected to make a feature fire, it is not tested, and there is no interval.
    """

    name = "auc"
    prefix = "auc_"
    measure = "rank-biserial r"
    why_silent = "all images have it, or none, or fewer than 3 have the rating"
    why_nothing = "no rating is binary (all values 0 or 1), so there is no area under a curve"

    def targets(self, data: ScoreInput, ratings: Sequence[str], images: Mask) -> list[Targets]:
        """The binary ratings on these images."""
        binary = [name for name in ratings if target_kind(data.ratings[name]) == "binary"]
        other = [name for name in self.options.ratings or () if name not in binary]
        if other:
            raise ConfigError(
                f"scorers.{self.name}.ratings: {other[0]!r} is not binary (all values 0 or 1); "
                "use spearman or pearson-bh"
            )
        return list(make_targets(data, binary, images))

    def correlate(
        self,
        data: ScoreInput,
        targets: Sequence[Targets],
        largest: Sequence[LargestCorrelations],
        _robustly: Robustly | None,
    ) -> list[Correlations]:
        """A result for each of the targets, a block of features at a time."""
        parts: list[list[Areas]] = [[] for _ in targets]
        for _, block in feature_blocks(data, self.prepare) if targets else ():
            for place, one in enumerate(targets):
                has = [(data.ratings[name] == 1).astype(np.float64) * one.rated for name in one.names]
                found = _joined([_areas(one, has, ties) for ties in sort_ties(block, one.rated)])
                parts[place].append(found)
                if place < len(largest):
                    ranks = rank_features(block, one.rated)
                    largest[place].add(ranks, found.spread_of_active(self.options.min_active))
        return [_joined(of_targets) for of_targets in parts]

    def p_of(self, r: FloatArray, df: int) -> FloatArray:
        """The p of a correlation between ranks and a binary rating, which is that of the area under the curve."""
        return p_of_rank_correlation(r, df + 2)

    def further_facts(self) -> Mapping[str, object]:
        """From how many expected active images on the smaller side a feature is tested."""
        return {"min_expected": LEAST_EXPECTED}

    def is_tested(self, values: Mapping[str, FloatArray]) -> Mask:
        """As for the others, and if enough images of either side are expected to make the feature fire."""
        expected = _expected(values["n_active"], values["n_positive"], values["n"])
        return super().is_tested(values) & (expected >= LEAST_EXPECTED)

    def values(self, found: Correlations) -> Iterator[tuple[str, Mapping[str, NDArray[Any]]]]:
        """The columns of each rating."""
        assert isinstance(found, Areas)  # noqa: S101 - `correlate` made them
        for place, name in enumerate(found.targets.names):
            r = found.r[:, place]
            n_positive = np.where(np.isnan(r), np.nan, found.n_positive[place])
            yield (
                name,
                {
                    "area": (1 + r) / 2,
                    "average_precision": found.precision[:, place],
                    "n_positive": n_positive,
                    "r": r,
                    "p": found.p[:, place],
                    "ci_low": found.low[:, place],
                    "ci_high": found.high[:, place],
                },
            )


def _areas(targets: Targets, has: Sequence[FloatArray], ties: Ties) -> Areas:
    n_positive = np.array([int(one.sum()) for one in has])
    results = [_area(ties, sum_pairs(ties, one, int(n)), int(n)) for one, n in zip(has, n_positive, strict=True)]
    r, p, low, high, precision = (np.column_stack(columns) for columns in zip(*results, strict=True))
    n = ties.n
    varies = ties.tied < n**3 - n
    spread = np.where(varies, np.sqrt(np.maximum(n**3 - n - ties.tied, 0) / 12), np.nan)
    n_active = np.bincount(
        np.repeat(np.arange(len(ties.counts)), ties.counts), ties.size * ties.above_zero, len(ties.counts)
    )
    is_rough = _expected(n_active[:, None], n_positive, n) < LEAST_EXPECTED
    low, high = np.where(is_rough, np.nan, low), np.where(is_rough, np.nan, high)
    return Areas(targets, n_active.astype(np.int64), r, spread, p, low, high, precision, n_positive)


def _expected(n_active: NDArray[Any], n_positive: NDArray[Any], n: NDArray[Any] | int) -> FloatArray:
    return np.asarray(n_active * np.minimum(n_positive, n - n_positive) / np.maximum(n, 1))


def _area(ties: Ties, sums: Sums, n_positive: int) -> tuple[FloatArray, ...]:
    """r, p, the bounds of r and average precision of some features, NaN where a feature or the target never varies."""
    n, n_negative = ties.n, ties.n - n_positive
    nothing = np.full(len(ties.counts), np.nan)
    if not n_positive or not n_negative or n < 3:
        return nothing, nothing, nothing, nothing, nothing
    pairs = n_positive * n_negative
    varies = ties.tied < n**3 - n
    r = np.where(varies, 2 * sums.won / pairs - 1, np.nan)
    p = mann_whitney_p(sums.won, n_positive, n_negative, ties.tied)
    low, high = area_interval(sums.won / pairs, _delong(sums, n_positive, n_negative))
    return r, p, np.where(varies, low, np.nan), np.where(varies, high, np.nan), np.where(varies, sums.precision, np.nan)


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
    names = ("n_active", "r", "spread", "p", "low", "high", "precision")
    together: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Areas(targets=parts[0].targets, n_positive=parts[0].n_positive, **together)
