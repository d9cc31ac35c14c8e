"""Scorers that test which features correlate with which human ratings.

`pearson-bh`, `spearman`, `point-biserial`, `auc` and `partial`; and `moderation`, whether such a relation differs.
"""

from __future__ import annotations

from collections.abc import Iterator

import saeviz
from saeviz_correlation.described import MODERATION, of_areas, of_pairs, of_slopes
from saeviz_correlation.options import AreaOptions, BootstrapOptions, LinearOptions, ModerationOptions, PartialOptions
from saeviz_correlation.works import AREA, SPEARMAN, of_relations, of_tests


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """The six scorers."""
    yield saeviz.ScorerSpec(
        name="pearson-bh",
        summary="Pearson correlation with every rating, Benjamini-Hochberg over the whole run",
        options=BootstrapOptions,
        factory="saeviz_correlation.scorer:PearsonBH",
        uses_embeddings=False,
        columns=of_slopes("", "Pearson's r", samples=True),
        pair_columns=of_pairs("Pearson's r"),
        cites=of_relations(""),
    )
    yield saeviz.ScorerSpec(
        name="spearman",
        summary="rank correlation with every rating",
        options=LinearOptions,
        factory="saeviz_correlation.spearman:Spearman",
        uses_embeddings=False,
        columns=of_slopes("spearman_", "Spearman's rho"),
        pair_columns=of_pairs("Spearman's rho"),
        cites=(*of_relations("spearman_"), SPEARMAN),
    )
    yield saeviz.ScorerSpec(
        name="point-biserial",
        summary="correlation of whether a feature fires, not how much, with every rating",
        options=BootstrapOptions,
        factory="saeviz_correlation.scorer:PointBiserial",
        uses_embeddings=False,
        columns=of_slopes("point_biserial_", "point-biserial r", samples=True),
        pair_columns=of_pairs("point-biserial r"),
        cites=of_relations("point_biserial_"),
    )
    yield saeviz.ScorerSpec(
        name="auc",
        summary="area under the ROC curve and average precision for every binary rating",
        options=AreaOptions,
        factory="saeviz_correlation.auc:AUC",
        uses_embeddings=False,
        columns=of_areas("auc_", "rank-biserial r"),
        cites=(*of_relations("auc_"), *AREA),
    )
    yield saeviz.ScorerSpec(
        name="partial",
        summary="Pearson correlation with every rating, other ratings or metadata held constant",
        options=PartialOptions,
        factory="saeviz_correlation.partial:Partial",
        uses_embeddings=False,
        columns=of_slopes("partial_", "partial r", samples=True),
        pair_columns=of_pairs("partial r"),
        cites=of_relations("partial_"),
    )
    yield saeviz.ScorerSpec(
        name="moderation",
        summary="whether a relation with a rating differs between groups of images or of raters",
        options=ModerationOptions,
        factory="saeviz_correlation.moderation:Moderation",
        uses_embeddings=False,
        columns=MODERATION,
        cites=of_tests("moderation_"),
    )
