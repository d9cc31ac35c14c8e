"""Rank correlation without making features dense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saeviz import ScoreInput
from saeviz_correlation.moments import Correlations, correlations_of, joined
from saeviz_correlation.ranks import pieces, rank_features
from saeviz_correlation.scorer import LinearScorer
from saeviz_correlation.targets import Targets, make_targets

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray, Mask


class Spearman(LinearScorer):
    """Spearman's rho: Pearson's r of ranks, ties with the mean of theirs, and so all zeros of a feature with one rank.

    See `LinearScorer` for the columns. For independent images the interval is Bonett and Wright's (2000): Fisher's z
    with the variance (1 + r^2 / 2) / (n - 3). Ranking needs all images of a feature at once, so the space is streamed
    once more for every 16.8 million stored values.
    """

    name = "spearman"
    prefix = "spearman_"
    measure = "Spearman's rho"

    def targets(
        self, data: ScoreInput, ratings: Sequence[str], images: Mask, within: IntArray | None = None
    ) -> list[Targets]:
        """The ranks of the ratings on these images."""
        return list(make_targets(data, ratings, images, by_rank=True, within=within))

    def correlations(self, _data: ScoreInput, targets: Targets, entered: CSR) -> Correlations:
        """Those of the ranks."""
        return joined([correlations_of(targets, entered[features]) for features in pieces(entered)])

    def as_entered(self, block: CSR, targets: Targets) -> CSR:
        """Their ranks on the images of these targets."""
        return rank_features(block, targets.rated)

    def inflation(self, r: FloatArray) -> FloatArray:
        """Bonett and Wright's."""
        return 1 + r**2 / 2
