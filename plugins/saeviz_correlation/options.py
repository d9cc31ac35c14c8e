"""What a run file may say of the scorers of this plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

import saeviz

Family = Literal["run", "space", "rating"]
Correction = Literal["bh", "by", "bonferroni", "max-t"]
RobustErrors = Literal["auto", "independent", "clusters", "hc2"]
Errors = Literal["auto", "independent", "clusters", "hc2", "permutation"]
ErrorsOfAreas = Literal["auto", "independent", "clusters"]

CATEGORY = "category:"
FEWEST_SAMPLES = 100

MANY = 100
"""With more ratings, a table of all correlations is neither read nor held in memory: it keeps the strongest."""


def column_of(name: str, known: Collection[str]) -> str:
    """The rating or column that a control names: `category:code` means `code`, unless a column has that name."""
    return name if name in known else name.removeprefix(CATEGORY)


class TestOptions(saeviz.Options):
    """Options of every scorer of this plugin."""

    __test__ = False  # pytest takes it for tests

    alpha: float = Field(default=0.05, gt=0, lt=1, description="error rate for `significant`, see `correction`")
    min_active: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="a pair of feature and rating is tested only if the feature fires on at least this many rated "
        "images",
    )
    ratings: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="ratings to correlate with, or columns of `images.parquet` such as `residual.beauty`; default: all "
        "ratings",
    )
    family: Family = Field(
        default="run",
        description="which tests are adjusted together: all of the `run`, those of each feature `space`, or those "
        "of each `rating`",
    )

    def check_columns(
        self, place: str, ratings: Collection[str], _metadata: Collection[str], of_images: Collection[str], /
    ) -> None:
        """Raise `ConfigError` for a rating that no image has."""
        from saeviz.toolkit.ratings import check_names

        check_names(self.ratings or (), [*ratings, *of_images], f"{place}.ratings")


class CorrelationOptions(TestOptions):
    """Options of every scorer of correlations."""

    correction: Correction = Field(
        default="bh",
        description=(
            "`bh` (Benjamini-Hochberg) and `by` (Benjamini-Yekutieli, under any dependence) control the false "
            "discovery "
            "rate; `bonferroni` and `max-t` (permuted ratings, accounts for dependence of features) the probability "
            "of any false one"
        ),
    )
    permutations: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description='number of permutations of the ratings, for `max-t` and for `errors = "permutation"`',
    )
    split: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description=(
            "share of the images on which relations are found; they are tested again on the rest. Default: all "
            "images are used and none are held out"
        ),
    )

    negligible_r: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="`negligible` are correlations that are shown to be smaller than this, by a test of equivalence",
    )

    @model_validator(mode="after")
    def _permutations_suffice(self) -> CorrelationOptions:
        if self.correction == "max-t":
            self.check_permutations()
        return self

    def on_all_images(self, ratings: Collection[str], /) -> Iterator[Self]:
        """The same options without a split, each for as many ratings as have all their correlations in the table."""
        names = list(dict.fromkeys(self.ratings or ratings))
        for start in range(0, len(names), MANY):
            yield self.model_copy(update={"split": None, "ratings": tuple(names[start : start + MANY])})

    def check_permutations(self) -> None:
        """Raise `ValueError` if the number of permutations is too small for anything to be significant."""
        if 1 / (1 + self.permutations) > self.alpha:
            raise ValueError(
                f"{self.permutations} permutations give no p below {1 / (1 + self.permutations):.2g}, so nothing could "
                f"be significant at alpha = {self.alpha:g}; raise permutations"
            )


NO_GROUPS = "the images have no groups; name their column in images.group_column"
_NOT_MAX_T = "use correction = 'bh', 'by' or 'bonferroni', or max-t of the scorer spearman"


class LinearOptions(CorrelationOptions):
    """Options of the scorers whose correlation is a slope between standardized values.

    `exchanges_whole_groups` says whether ratings that are the same for all images of a group go from group to group.
    """

    exchanges_whole_groups: ClassVar[bool] = True

    errors: Errors = Field(
        default="auto",
        description=(
            "how p and intervals are computed. `independent`: for independent images; `hc2`: the same, if the spread "
            "of the rating differs; `clusters`: for images in groups; `permutation`: for few groups, permutes ratings "
            "within groups or whole groups, without intervals; `auto`: if the images have groups, clusters, or "
            "permutation with max-t; else independent"
        ),
    )
    all_pairs: bool = Field(
        default=False,
        description=(
            f"with more than {MANY} ratings, also write r, p and q of all tested pairs to the table `pairs`; with "
            "fewer, `correlations.parquet` has all pairs anyway"
        ),
    )

    def check_columns(
        self, place: str, ratings: Collection[str], metadata: Collection[str], of_images: Collection[str], /
    ) -> None:
        """Raise `ConfigError` for a rating that no image has, and for permutations of many ratings."""
        super().check_columns(place, ratings, metadata, of_images)
        n = len(set(self.ratings or ratings))
        if n > MANY and self.correction == "max-t":
            raise saeviz.ConfigError(
                f"{place}.correction: max-t would permute {n:,} ratings; use 'bh', 'by' or 'bonferroni', or name at "
                f"most {MANY} in {place}.ratings"
            )
        if n > MANY and self.errors == "permutation":
            raise saeviz.ConfigError(
                f"{place}.errors: {n:,} ratings would be permuted; use 'clusters', or name at most {MANY} in "
                f"{place}.ratings"
            )

    @model_validator(mode="after")
    def _max_t_permutes(self) -> LinearOptions:
        if self.correction == "max-t" and self.errors in ("clusters", "hc2"):
            raise ValueError(
                f"max-t permutes ratings and cannot be used with errors = {self.errors!r}; use errors = 'permutation' "
                "for images in groups, or correction = 'bh', 'by' or 'bonferroni'"
            )
        if self.errors == "permutation":
            self.check_permutations()
        return self

    def check_groups(self, place: str, grouped: bool, /) -> None:
        """Raise `ConfigError` for errors of groups that the images do not have."""
        if self.errors in ("clusters", "permutation") and not grouped:
            raise saeviz.ConfigError(f"{place}.errors: {NO_GROUPS}")

    def check_images(self, place: str, items: Sequence[saeviz.ImageItem], /) -> None:
        """Raise `ConfigError` if max-t doubles q, and with so few permutations nothing could be significant."""
        from saeviz_correlation.exchange import both_ways

        least = 2 / (1 + self.permutations)
        if self.correction != "max-t" or self.errors == "independent" or self.family == "rating" or least <= self.alpha:
            return
        if self.exchanges_whole_groups and both_ways(items, self.ratings):
            raise saeviz.ConfigError(
                f"{place}.permutations: some ratings vary within groups and others between them only, so q is doubled; "
                f"{self.permutations} permutations give none below {least:.2g}, so nothing could be significant at "
                f"alpha = {self.alpha:g}; raise permutations, or set family = 'rating'"
            )


class AreaOptions(CorrelationOptions):
    """Options of `auc`."""

    errors: ErrorsOfAreas = Field(
        default="auto",
        description=(
            "how p and intervals are computed. `independent`: for independent images; `clusters`: for images in "
            "groups; `auto`: clusters if the images have groups, else independent"
        ),
    )

    @model_validator(mode="after")
    def _max_t_permutes_single_images(self) -> AreaOptions:
        if self.correction == "max-t" and self.errors == "clusters":
            raise ValueError(f"max-t permutes single images and cannot be used with errors = 'clusters'; {_NOT_MAX_T}")
        return self

    def check_groups(self, place: str, grouped: bool, /) -> None:
        """Raise `ConfigError` for errors of groups that the images do not have, and for max-t if they have some."""
        if self.errors == "clusters" and not grouped:
            raise saeviz.ConfigError(f"{place}.errors: {NO_GROUPS}")
        if self.correction == "max-t" and self.errors == "auto" and grouped:
            raise saeviz.ConfigError(
                f"{place}.correction: max-t permutes single images here, but these belong to groups; {_NOT_MAX_T}, or "
                "errors = 'independent' if images of one group are no more alike than others"
            )


class BootstrapOptions(LinearOptions):
    """Options of the scorers whose r is that of values, not of ranks."""

    bootstrap: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description=(
            "number of bootstrap samples of the images, or of whole groups, for a second interval of each significant "
            "correlation and for how often it would be found again; 0 for none, else at least 100, better 2000"
        ),
    )

    def check_columns(
        self, place: str, ratings: Collection[str], metadata: Collection[str], of_images: Collection[str], /
    ) -> None:
        """Raise `ConfigError` also for samples of many ratings, whose significant correlations are not all kept."""
        super().check_columns(place, ratings, metadata, of_images)
        if self.bootstrap and (n := len(set(self.ratings or ratings))) > MANY:
            raise saeviz.ConfigError(
                f"{place}.bootstrap: it is for at most {MANY} ratings, and these are {n:,}; name those that matter in "
                f"{place}.ratings, or remove bootstrap"
            )

    def check_groups(self, place: str, grouped: bool, /) -> None:
        """Raise `ConfigError` also for samples of ratings that are permuted in groups."""
        super().check_groups(place, grouped)
        if self.bootstrap and grouped and self.errors != "independent" and self.correction == "max-t":
            raise saeviz.ConfigError(
                f"{place}.bootstrap: it draws whole groups, and max-t permutes ratings within them; use correction = "
                "'bh', 'by' or 'bonferroni', or remove bootstrap"
            )

    @model_validator(mode="after")
    def _samples_suffice(self) -> BootstrapOptions:
        if 0 < self.bootstrap < FEWEST_SAMPLES:
            raise ValueError(f"bootstrap: {self.bootstrap} samples are too few; use at least {FEWEST_SAMPLES}, or 0")
        if self.bootstrap and self.errors == "permutation":
            raise ValueError("bootstrap draws whole groups, which are too few where ratings are permuted; remove it")
        return self


class PartialOptions(BootstrapOptions):
    """Options of `partial`."""

    exchanges_whole_groups = False  # controls that differ within groups would be torn from the ratings

    control: tuple[str, ...] = Field(
        min_length=1,
        description=(
            "ratings, metadata columns and columns of `images.parquet` to hold constant; a metadata column is numeric "
            "if all its cells are numbers, else a category; `category:code` treats the numbers in `code` as categories"
        ),
    )

    def check_columns(
        self, place: str, ratings: Collection[str], metadata: Collection[str], of_images: Collection[str], /
    ) -> None:
        """Raise `ConfigError` for a rating or a control that no image has."""
        from saeviz.toolkit.ratings import check_names

        super().check_columns(place, ratings, metadata, of_images)
        known = [*ratings, *metadata, *of_images]
        columns = [column_of(name, known) for name in self.control]
        check_names(columns, known, f"{place}.control", "rating, metadata or column")

    def check_images(self, place: str, items: Sequence[saeviz.ImageItem], /) -> None:
        """Raise `ConfigError` also for a category of too many values."""
        from saeviz_correlation.controls import columns_held

        super().check_images(place, items)
        controls = columns_held(items, self.control, f"{place}.control")
        if self.bootstrap:
            from saeviz_correlation.bootstrap import check_width

            check_width(sum(control.values.shape[1] for control in controls), place)

    @model_validator(mode="before")
    @classmethod
    def _read_plural(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "controls" not in given or "control" in given:
            return given
        return {"control" if name == "controls" else name: value for name, value in given.items()}

    @model_validator(mode="after")
    def _controls_are_not_correlated_with(self) -> PartialOptions:
        columns = {column_of(name, self.ratings or ()) for name in self.control}
        both = [name for name in self.ratings or () if name in columns]
        if both:
            raise ValueError(
                f"{both[0]!r} is in ratings and in control; a variable that is held constant cannot be correlated"
            )
        return self


class ModerationOptions(TestOptions):
    """Options of `moderation`."""

    moderators: tuple[str, ...] = Field(
        default=(),
        description=(
            "ratings, metadata columns and columns of `images.parquet` with which a relation may change; a metadata "
            "column is numeric if all its cells are numbers, else a category, each level of which is compared with the "
            "others; `category:code` treats the numbers in `code` as categories"
        ),
    )
    rater_groups: tuple[tuple[str, str], ...] = Field(
        default=(),
        description=(
            "pairs of ratings of the same thing, on the same scale, by two groups of raters, such as "
            '["mood_women", "mood_men"]; tests whether relations with the two differ'
        ),
    )
    control: tuple[str, ...] = Field(
        default=(), description="ratings, metadata columns and columns of `images.parquet` to hold constant"
    )
    correction: Literal["bh", "by", "bonferroni"] = Field(
        default="bh", description="how p-values are adjusted within a family, as for correlations"
    )
    errors: RobustErrors = Field(
        default="auto",
        description=(
            "how p and intervals are computed. `independent`: for independent images, if the rating has the same "
            "spread everywhere; `hc2`: the same, if its spread differs; `clusters`: for images in groups; `auto`: "
            "clusters if the images have groups, else hc2"
        ),
    )

    def check_columns(
        self, place: str, ratings: Collection[str], metadata: Collection[str], of_images: Collection[str], /
    ) -> None:
        """Raise `ConfigError` for a rating or a column that no image has, and for very many ratings."""
        from saeviz.toolkit.ratings import check_names

        super().check_columns(place, ratings, metadata, of_images)
        if self.moderators and (n := len(set(self.ratings or ratings))) > MANY:
            raise saeviz.ConfigError(
                f"{place}.ratings: it is for at most {MANY} ratings, and these are {n:,}; name those that matter"
            )
        known = [*ratings, *metadata, *of_images]
        for option in ("moderators", "control"):
            columns = [column_of(name, known) for name in getattr(self, option)]
            check_names(columns, known, f"{place}.{option}", "rating, metadata or column")
        check_names([name for pair in self.rater_groups for name in pair], ratings, f"{place}.rater_groups")

    def check_images(self, place: str, items: Sequence[saeviz.ImageItem], /) -> None:
        """Raise `ConfigError` for a category of too many values, and for too many columns together."""
        from saeviz_correlation.controls import columns_held
        from saeviz_correlation.moderators import check_width

        controls = columns_held(items, self.control, f"{place}.control")
        for moderator in columns_held(items, self.moderators, f"{place}.moderators"):
            check_width(moderator, controls, place)

    def check_groups(self, place: str, grouped: bool, /) -> None:
        """Raise `ConfigError` for errors of groups that the images do not have."""
        if self.errors == "clusters" and not grouped:
            raise saeviz.ConfigError(f"{place}.errors: {NO_GROUPS}")

    @model_validator(mode="after")
    def _something_to_compare(self) -> ModerationOptions:
        if not self.moderators and not self.rater_groups:
            raise ValueError(
                'name what a relation may change with: moderators = ["category"], or rater_groups = '
                '[["mood_women", "mood_men"]]'
            )
        same = [one for one, other in self.rater_groups if one == other]
        if same:
            raise ValueError(f"rater_groups: {same[0]!r} is compared with itself")
        return self
