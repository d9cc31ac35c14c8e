"""The scorer `enrichment` for saeviz: whether the images on which a feature fires most are rated high."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

import saeviz


class EnrichmentOptions(saeviz.Options):
    """Options of `enrichment`, as they are written in a run file."""

    top_images: int = Field(default=20, ge=2, description="number of most activating images to look at")
    share: float = Field(
        default=0.1, gt=0, lt=1, description="share of the images with the highest rating that count as high"
    )


class Enrichment:
    """Of the images on which a feature fires most, the share that is rated high, compared with that of all images.

    p is that of the hypergeometric test, which asks how often as many of them would be rated high if they were drawn at
    random. Unlike a correlation, it is about the extremes alone: a feature of masterpieces may not correlate at all.
    """

    def __init__(self, options: EnrichmentOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def score(self, data: saeviz.ScoreInput) -> Iterator[saeviz.ScoreColumn]:
        """Lift and p for each rating; NaN for a feature that fires on none of the rated images."""
        import numpy as np
        from scipy.stats import hypergeom

        top = data.features.top_images(self.options.top_images).rows  # [n_features, k], -1 where there are fewer
        for rating, values in data.ratings.items():
            rated = np.isfinite(values)
            if not rated.any():
                continue
            high = rated & (values >= np.quantile(values[rated], 1 - self.options.share))
            n_drawn, n_hits = ((mask[top] & (top >= 0)).sum(axis=1) for mask in (rated, high))
            expected = high.sum() / rated.sum()
            with np.errstate(invalid="ignore"):
                lift = n_hits / n_drawn / expected
            p = hypergeom.sf(n_hits - 1, rated.sum(), high.sum(), n_drawn)
            p[n_drawn == 0] = np.nan
            yield saeviz.ScoreColumn("enrichment_lift", data.space, lift, target=rating)
            yield saeviz.ScoreColumn("enrichment_p", data.space, p, target=rating)

    def combine(self, columns: Sequence[saeviz.ScoreColumn]) -> Iterator[saeviz.ScoreColumn]:
        """q: p adjusted by Benjamini and Hochberg over all features, ratings and spaces of the run."""
        import numpy as np

        from saeviz.toolkit.multiple_testing import adjust

        tests = [column for column in columns if column.name == "enrichment_p"]
        adjusted = adjust(np.concatenate([test.values for test in tests] or [np.zeros(0)]))
        ends = np.cumsum([len(test.values) for test in tests])
        for test, end in zip(tests, ends, strict=True):
            own = adjusted[end - len(test.values) : end]
            yield saeviz.ScoreColumn("enrichment_q", test.space, own, target=test.target)


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Tell saeviz what this plugin offers; nothing is computed here."""
    yield saeviz.ScorerSpec(
        name="enrichment",
        summary="whether the images on which a feature fires most are rated high more often than by chance",
        options=EnrichmentOptions,
        factory=Enrichment,
        uses_embeddings=False,
        columns=(
            saeviz.ColumnInfo(
                "enrichment_lift",
                "share of high ratings among the feature's top images, relative to that among all images",
                "times chance",
                "higher",
            ),
            saeviz.ColumnInfo("enrichment_p", "p-value of the hypergeometric test", better="lower"),
            saeviz.ColumnInfo("enrichment_q", "p adjusted over all features and ratings of the run", better="lower"),
        ),
    )
