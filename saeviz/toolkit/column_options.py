"""The options of an image provider that say what the columns of its table are."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

import saeviz


class ColumnOptions(saeviz.Options):
    """Options of every image provider that reads a table; the provider's own derive from it."""

    rating_columns: tuple[str, ...] | None = Field(
        default=None,
        description="columns that are ratings; default: every column of numbers, except ids, row numbers, times "
        "and statistics of another column, such as x_sd, x_n and x_median",
    )
    group_column: str | None = Field(
        default=None,
        description="column that groups related images, such as the artist, the series or the film; images of one "
        "group are not independent of each other",
    )
    categories: tuple[str, ...] = Field(
        default=(),
        description="columns of categories; each level becomes a target, such as emotion=joy, that is 1 for the images "
        "that have it and 0 for the others",
    )
    multi_labels: tuple[str, ...] = Field(
        default=(),
        description="columns with several labels in a cell, separated by `;` or as a list; each label becomes a "
        "target, like a level in categories",
    )
    ordinals: dict[str, tuple[str, ...]] = Field(
        default={},
        description='columns with ordered levels, the lowest first: { mood = ["low", "mid", "high"] } reads them as 0, '
        "1, 2",
    )
    min_images: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="a level or label is a target only if this many images have it and this many do not",
    )

    def named_columns(self) -> Iterator[tuple[str, str]]:
        """The columns that are named, each after the option that names it."""
        for option in ("rating_columns", "categories", "multi_labels", "ordinals"):
            yield from ((option, name) for name in getattr(self, option) or ())
        if self.group_column is not None:
            yield "group_column", self.group_column

    @model_validator(mode="after")
    def _one_meaning_each(self) -> ColumnOptions:
        for one, other in (("categories", "multi_labels"), ("ordinals", "rating_columns")):
            if both := set(getattr(self, one)) & set(getattr(self, other) or ()):
                raise ValueError(f"{sorted(both)[0]!r} is in {one} and in {other}; leave it in one of them")
        for name, levels in self.ordinals.items():
            if len(levels) < 2 or len({" ".join(level.split()) for level in levels}) < len(levels):
                raise ValueError(f"ordinals: {name!r} needs two levels or more, no two of them the same")
        return self


class RaterOptions(ColumnOptions):
    """Options of an image provider whose table may have a row for each image and rater."""

    rater_column: str | None = Field(
        default=None,
        description="column with the rater, in a table that has a row for each image and rater; the rating of an image "
        "is then the mean over its raters",
    )
