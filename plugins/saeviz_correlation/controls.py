"""Columns of the ratings table as numbers that can be held constant."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from logging import Logger
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz import ConfigError, ImageItem, ScoreInput
from saeviz.toolkit.cells import is_missing
from saeviz.toolkit.numbers import Survey
from saeviz.toolkit.ratings import read_numbers
from saeviz_correlation.options import column_of

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

MAX_CATEGORIES = 100
FEW = 12
"""A column with up to this many different whole numbers may hold codes of categories."""


class Control(NamedTuple):
    """One thing to hold constant: its column, float64 `[n_items, n]` with NaN where it is missing, and in words how.

    `codes` is the number of different values where a number looks like the code of a category, else 0. `levels` names
    the columns of a category, which has one for each of its values.
    """

    column: str
    values: FloatArray
    words: str
    codes: int
    levels: tuple[str, ...] = ()


class Table(NamedTuple):
    """What of a `ScoreInput` can be held constant; columns of images are not known before the run."""

    ratings: Mapping[str, FloatArray]
    metadata: Mapping[str, Sequence[str]]
    of_images: Mapping[str, FloatArray]


def columns_held(items: Sequence[ImageItem], names: Sequence[str], place: str) -> list[Control]:
    """What of it is known before the run, from ratings and metadata; raises `ConfigError` as `control_columns` does."""
    ratings = {name for item in items for name in item.ratings}
    metadata = {name for item in items for name in item.metadata}
    columns = {column_of(name, ratings | metadata): name for name in names}
    known = Table(
        {name: np.array([item.ratings.get(name, math.nan) for item in items]) for name in columns.keys() & ratings},
        {name: [item.metadata.get(name, "") for item in items] for name in columns.keys() & metadata},
        {},
    )
    return control_columns(known, [name for column, name in columns.items() if column in ratings | metadata], place)


def control_columns(data: ScoreInput | Table, names: Sequence[str], place: str) -> list[Control]:
    """What is to be held constant, in the order of `names`.

    A rating is a number; so are a column of `images.parquet` and a metadata column all of whose cells are numbers. Any
    other is a category, with a column of zeros and ones per value, and so is `category:NAME`, whatever its cells.
    Raises `ConfigError` for more than 100 categories, which are no category but a name or an id.
    """
    return [_control(data, name, place) for name in names]


class MadeFromRatings:
    """Warns, once each, of columns of `images.parquet` that were computed from the rating itself: `predicted.beauty`.

    The value of an image then depends on the ratings of others, so it is no control of the kind that p assumes.
    """

    def __init__(self, scorer: str, logger: Logger) -> None:
        self._scorer = scorer
        self._logger = logger
        self._warned: set[tuple[str, str]] = set()

    def warn(self, data: ScoreInput, columns: Collection[str], ratings: Collection[str]) -> None:
        """Warns of those of these columns, which enter the tests of these ratings."""
        for column in columns:
            rating = column.partition(".")[2]
            if column not in data.of_images or f"l0.{rating}" in data.of_images:  # such as `l0.SPACE`
                continue
            if rating in ratings and (column, rating) not in self._warned:
                self._warned.add((column, rating))
                self._logger.warning(
                    "%s: %r was computed from the rating %r itself, so p of its relations is not correct: up to "
                    "several times too small if the prediction is poor, too large if it is good; use it only as "
                    "description, or take something that does not depend on the rating",
                    self._scorer,
                    column,
                    rating,
                )


def _control(data: ScoreInput | Table, name: str, place: str) -> Control:
    known = {**data.of_images, **dict.fromkeys(data.metadata), **data.ratings}
    column = column_of(name, known)
    given = known[column]
    if given is not None:
        numbers: FloatArray | None = np.asarray(given, dtype=np.float64)
        cells = [f"{value:g}" if math.isfinite(value) else "" for value in given]
    else:
        cells = list(data.metadata[column])
        if any(cell.strip().lower().lstrip("+-") in ("inf", "infinity") for cell in cells):
            raise ConfigError(f"{place}: {column!r} has an infinite value; leave a cell empty if its value is missing")
        numbers = _numbers(cells)
    if column != name or numbers is None:
        levels = _levels(cells, column, place)
        return Control(column, _dummies(cells, levels), f"{column} ({len(levels)} categories)", 0, levels)
    return Control(
        column,
        numbers[:, None],
        f"{column} ({'rating' if column in data.ratings else 'number'})",
        _few_whole_numbers(numbers),
    )


def _few_whole_numbers(numbers: FloatArray) -> int:
    """Number of different values if they look like codes of categories, else 0."""
    values = np.unique(numbers[np.isfinite(numbers)])
    is_coded = 2 < values.size <= FEW and not np.mod(values, 1).any()
    return values.size if is_coded else 0


def _numbers(cells: Sequence[str]) -> FloatArray | None:
    """The cells as numbers, as ratings are read, NaN for a missing one; None where one is something else.

    Words behind numbers, `1 - indoor`, tell of a category.
    """
    numbers, survey = read_numbers(cells), Survey.of(cells)
    if (
        survey.labelled
        or (not survey.numbers and any(map(str.strip, cells)))
        or any(number is None and not is_missing(cell) for number, cell in zip(numbers, cells, strict=True))
    ):
        return None
    return np.array([math.nan if number is None else number for number in numbers])


def _levels(cells: Sequence[str], name: str, place: str) -> tuple[str, ...]:
    categories = sorted({cell for cell in cells if cell.strip()})
    if len(categories) > MAX_CATEGORIES:
        some = ", ".join(map(repr, categories[:3]))
        raise ConfigError(
            f"{place}: {name!r} has {len(categories)} different values, such as {some}; a category has at most "
            f"{MAX_CATEGORIES}, and a number has nothing but numbers in its cells"
        )
    return tuple(categories)


def _dummies(cells: Sequence[str], categories: Sequence[str]) -> FloatArray:
    codes = {category: code for code, category in enumerate(categories)}
    dummies = np.zeros((len(cells), len(categories)))
    for row, cell in enumerate(cells):
        if cell in codes:
            dummies[row, codes[cell]] = 1.0
        else:
            dummies[row] = np.nan
    return dummies
