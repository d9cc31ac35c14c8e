"""The options of an image provider that say what the columns of its table are."""

from __future__ import annotations

from pydantic import Field

import saeviz


class ColumnOptions(saeviz.Options):
    """Options of every image provider that reads a table; the provider's own derive from it."""

    rating_columns: tuple[str, ...] | None = Field(
        None,
        description="columns that are ratings; default: every column of numbers, except ids, row numbers, times "
        "and statistics of another column, such as x_sd, x_n and x_median",
    )
    group_column: str | None = Field(
        None,
        description="column with what images have in common, such as the artist, the series or the film; images of one "
        "group are not independent of one another",
    )


class RaterOptions(ColumnOptions):
    """Options of an image provider whose table may have a row for each image and rater."""

    rater_column: str | None = Field(
        None,
        description="column with the rater, in a table that has a row for each image and rater; the rating of an image "
        "is then the mean over its raters",
    )
