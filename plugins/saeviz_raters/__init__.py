"""From individual ratings: how reliable their mean is, and which relations generalise to new raters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from pydantic import Field, model_validator

import saeviz
from saeviz.toolkit.works import FALSE_DISCOVERY_RATE


class RatersOptions(saeviz.Options):
    """Options of the scorer `raters`."""

    ratings: tuple[str, ...] | None = Field(None, description="ratings to analyse; default: all")
    sd: Mapping[str, str] = Field(
        default_factory=dict,
        description="if individual ratings are not known: for each rating the column with its standard deviation "
        "over raters, for example { valence = 'valence_sd' }",
    )
    n: Mapping[str, str] = Field(
        default_factory=dict,
        description="for each entry of sd the column with the number of raters, { valence = 'valence_n' }",
    )
    splits: int = Field(
        100, ge=1, le=100_000, description="number of random splits of the raters into halves that are correlated"
    )
    alpha: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="false discovery rate: pairs of feature and rating with q up to this are significant",
    )
    min_active: int = Field(
        10,
        ge=1,
        le=1_000_000,
        description="features that fire on fewer of the rated images are not tested",
    )

    def columns_of_images(self, ratings: Collection[str], /) -> list[str]:
        """The spread over raters and their number, of each rating whose individual ratings are not known."""
        chosen = ratings if self.ratings is None else self.ratings
        return [f"{column}.{name}" for name in self.sd if name in chosen for column in ("sd", "raters")]

    def check_data(self, place: str, ratings: Collection[str], metadata: Collection[str], /) -> None:
        """Raise `ConfigError` for a rating or a column that no image has."""
        from saeviz.toolkit.ratings import check_names

        check_names(self.ratings or (), ratings, f"{place}.ratings")
        check_names(self.sd, ratings, f"{place}.sd")
        check_names(self.sd.values(), [*ratings, *metadata], f"{place}.sd", "rating or metadata")
        check_names(self.n.values(), [*ratings, *metadata], f"{place}.n", "rating or metadata")

    @model_validator(mode="after")
    def _same_ratings(self) -> RatersOptions:
        lone = sorted(set(self.sd) ^ set(self.n))
        if lone:
            raise ValueError(f"sd and n belong together: {lone[0]!r} is in one of them only")
        return self


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """The scorer `raters`."""
    yield saeviz.ScorerSpec(
        name="raters",
        summary="reliability of the mean rating, and correlations that generalise to new raters and images",
        options=RatersOptions,
        factory="saeviz_raters.scorer:Raters",
        uses_embeddings=False,
        columns=(
            saeviz.ColumnInfo("rater_n", "number of images rated by raters who gave two or more ratings", "images"),
            saeviz.ColumnInfo("rater_n_raters", "number of raters among whose images the feature varies", "raters"),
            saeviz.ColumnInfo("rater_r", "correlation of single ratings with the feature within raters, from -1 to 1"),
            saeviz.ColumnInfo("rater_sd", "standard deviation of the slopes of single raters, on the scale of rater_r"),
            saeviz.ColumnInfo("rater_p", "p-value of rater_r for new images and new raters", better="lower"),
            saeviz.ColumnInfo("rater_q", "rater_p adjusted for all features, ratings and spaces", better="lower"),
            saeviz.ColumnInfo("rater_significant", "1 if rater_q is at most alpha, else 0", better="higher"),
            saeviz.ColumnInfo("sd.*", "standard deviation of the rating over raters"),
            saeviz.ColumnInfo("raters.*", "number of raters of the rating", "raters"),
        ),
        cites=(
            saeviz.Citation(
                "Reliability of ratings",
                "McGraw & Wong (1996)",
                "Forming inferences about some intraclass correlation coefficients",
                "Psychological Methods, 1(1), 30\N{EN DASH}46",
                when="reliability",
            ),
            saeviz.Citation(
                "Raters and images random",
                "Judd, Westfall & Kenny (2012)",
                "Treating stimuli as a random factor in social psychology",
                "Journal of Personality and Social Psychology, 103(1), 54\N{EN DASH}69",
                when="rater_r",
            ),
            replace(FALSE_DISCOVERY_RATE, when="rater_q"),
        ),
    )
