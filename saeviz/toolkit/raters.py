"""Read long tables, with one row per image and rater, into mean and individual ratings of each image."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

import saeviz
from saeviz.toolkit.cells import Cell, cell_text, metadata_text
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images
from saeviz.toolkit.tables import Table

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray, Mask


T = TypeVar("T", bound=Hashable)


class _Single(NamedTuple):
    """Individual ratings, sorted by image: rater `raters[i]` rated image `images[i]` as `values[i]`."""

    images: IntArray
    raters: IntArray
    values: FloatArray


class _Rows(NamedTuple):
    """The image and the rater of each row of a table, as indices."""

    table: Table
    n_images: int
    image_of_row: IntArray
    raters: Sequence[str]
    rater_of_row: IntArray


def long_rows(
    table: Table, join: JoinColumns, columns: Columns, *, chosen: bool
) -> tuple[list[Row], list[str], list[str]]:
    """One row per image, in order of first occurrence; the names of the ratings; notes for the user.

    A rating is the mean over raters, each of whom counts once. Unless the user has `chosen` the ratings, a column that
    is constant within each rater (such as age) is not a rating, and one that is constant within each image is a rating
    without raters. Metadata are the columns that are the same in all filled rows of each image. Raises `DataError` if
    the column of groups is not.
    """
    images, image_of_row = _codes(named_images(table, join))
    raters, rater_of_row = _codes(cell_text(cell) for cell in table.columns[join.rater or ""])
    rows_of = _Rows(table, len(images), image_of_row, raters, rater_of_row)
    numbers = {
        name: np.array([reading.number(cell) for cell in table.columns[name]], dtype=np.float64)
        for name, reading in columns.ratings.items()
    }
    notes: list[str] = []
    of_raters = [] if chosen else [n for n in numbers if _tells_only(numbers[n], rater_of_row, image_of_row)]
    if of_raters:
        notes.append(
            f"{table.path.name}: not ratings, because constant within each rater: {', '.join(of_raters)}; "
            "name the ratings in images.rating_columns to change that"
        )
    kept = [name for name in numbers if name not in of_raters]
    columns_of_numbers = chain(((name, numbers[name]) for name in kept), _levels(table, columns))
    means, individual, rated_notes = _rated(rows_of, columns_of_numbers, set(columns.ratings) if chosen else set())
    metadata, more_notes = _metadata(table, columns.metadata, image_of_row, len(images))
    groups = _groups(table, columns.group, image_of_row, len(images))
    first_rows = [table.rows[place] for place in np.unique(image_of_row, return_index=True)[1].tolist()]
    rows = [
        Row(first_rows[image], file, item_id, means[image], metadata[image], individual[image], groups[image])
        for image, (file, item_id) in enumerate(images)
    ]
    return rows, kept, [*notes, *rated_notes, *more_notes]


def _rated(
    rows: _Rows, columns: Iterable[tuple[str, FloatArray]], chosen: Collection[str]
) -> tuple[list[dict[str, float]], list[dict[str, dict[str, float]]], list[str]]:
    """For each image, the means of its ratings, and individual ratings by rater; notes for the user."""
    has_rater = np.array([bool(rater) for rater in rows.raters])[rows.rater_of_row]
    means: list[dict[str, float]] = [{} for _ in range(rows.n_images)]
    individual: list[dict[str, dict[str, float]]] = [{} for _ in range(rows.n_images)]
    nameless, again = np.zeros((2, len(rows.table)), dtype=bool)
    for name, values in columns:
        given = np.isfinite(values)
        single, repeated = _one_per_rater(values, given & has_rater, rows.image_of_row, rows.rater_of_row)
        nameless |= given & ~has_rater
        again |= repeated
        _add_means(means, name, single)
        if name in chosen or not _is_known_of_images(values, rows.image_of_row):
            _add_individual(individual, name, single, rows.raters)
    notes = _note_rows(rows.table, nameless, "with a rating but no rater: left out")
    notes += _note_rows(
        rows.table, again, "with another rating of an image by the same rater: their mean counts as one"
    )
    return means, individual, notes


def _codes(things: Iterable[T]) -> tuple[list[T], IntArray]:
    """The distinct things in order of first occurrence, and for each thing its position among them."""
    places: dict[T, int] = {}
    codes = np.array([places.setdefault(thing, len(places)) for thing in things], dtype=np.int64)
    return list(places), codes


def _varies_within(values: FloatArray | IntArray, groups: IntArray) -> bool:
    """Whether any group contains two different values."""
    if not values.size:
        return False
    order = np.lexsort((values, groups))
    same_group = np.diff(groups[order]) == 0
    return bool((same_group & (np.diff(values[order]) != 0)).any())


def _has_two(groups: IntArray) -> bool:
    return np.unique(groups).size < groups.size


def _tells_only(numbers: FloatArray, raters: IntArray, images: IntArray) -> bool:
    """Whether a column describes the raters: constant within each rater, but not within images."""
    given = np.isfinite(numbers)
    numbers, raters, images = numbers[given], raters[given], images[given]
    return _has_two(raters) and not _varies_within(numbers, raters) and _varies_within(numbers, images)


def _is_known_of_images(numbers: FloatArray, images: IntArray) -> bool:
    given = np.isfinite(numbers)
    return _has_two(images[given]) and not _varies_within(numbers[given], images[given])


def _one_per_rater(numbers: FloatArray, rated: Mask, images: IntArray, raters: IntArray) -> tuple[_Single, Mask]:
    """The mean rating of each image by each rater, and a mask of the rows that repeat an earlier one."""
    rows = np.flatnonzero(rated)
    n_raters = int(raters.max()) + 1
    pairs, first, pair_of_row, count = np.unique(
        images[rows] * n_raters + raters[rows], return_index=True, return_inverse=True, return_counts=True
    )
    repeated = rated.copy()
    repeated[rows[first]] = False
    values = np.bincount(pair_of_row, numbers[rows], pairs.size) / count
    return _Single(pairs // n_raters, pairs % n_raters, values), repeated


def _add_means(means: list[dict[str, float]], name: str, single: _Single) -> None:
    count = np.bincount(single.images, minlength=len(means))
    total = np.bincount(single.images, single.values, len(means))
    for image in np.flatnonzero(count).tolist():
        means[image][name] = float(total[image] / count[image])


def _add_individual(
    individual: list[dict[str, dict[str, float]]], name: str, single: _Single, raters: Sequence[str]
) -> None:
    bounds = np.searchsorted(single.images, np.arange(len(individual) + 1)).tolist()
    names, values = [raters[rater] for rater in single.raters.tolist()], single.values.tolist()
    for ratings, start, stop in zip(individual, bounds, bounds[1:], strict=False):
        if stop > start:
            ratings[name] = dict(zip(names[start:stop], values[start:stop], strict=True))


def _metadata(
    table: Table, names: Sequence[str], image_of_row: IntArray, n_images: int
) -> tuple[list[dict[str, str]], list[str]]:
    metadata: list[dict[str, str]] = [{} for _ in range(n_images)]
    differ = []
    for name in names:
        filled, texts, codes = _filled(table.columns[name])
        images = image_of_row[filled]
        if _varies_within(codes, images):
            differ.append(name)
            continue
        for image, code in zip(images.tolist(), codes.tolist(), strict=True):
            metadata[image][name] = texts[code]
    if not differ:
        return metadata, []
    verb = "differs" if len(differ) == 1 else "differ"
    return metadata, [f"{table.path.name}: {', '.join(differ)} {verb} between rows of an image and cannot be metadata"]


def _levels(table: Table, columns: Columns) -> Iterator[tuple[str, FloatArray]]:
    """The targets of categories and labels, and what each is in every row: 1, 0, or NaN where the cell is missing."""
    for levels in columns.levels:
        found = [levels.of(cell) for cell in table.columns[levels.column]]
        for level, name in levels.names.items():
            yield name, np.array([np.nan if cell is None else level in cell for cell in found], dtype=np.float64)


def _groups(table: Table, name: str | None, image_of_row: IntArray, n_images: int) -> list[str | None]:
    groups: list[str | None] = [None] * n_images
    if name is None:
        return groups
    first_row: dict[int, int] = {}
    for row, (image, cell) in enumerate(zip(image_of_row.tolist(), table.columns[name], strict=True)):
        group = metadata_text(cell)
        if group and groups[image] not in (None, group):
            raise saeviz.DataError(
                f"images.group_column: rows {table.rows[first_row[image]]} and {table.rows[row]} of {table.path.name} "
                f"are about one image, but {name!r} is {groups[image]!r} in one and {group!r} in the other"
            )
        if group:
            groups[image] = group
            first_row.setdefault(image, row)
    return groups


def _filled(cells: Sequence[Cell]) -> tuple[Mask, list[str], IntArray]:
    """A mask of the filled cells, the distinct texts, and the index of the text of each filled cell."""
    texts, codes = _codes(map(metadata_text, cells))
    filled = np.array([bool(text) for text in texts])[codes]
    return filled, texts, codes[filled]


def _note_rows(table: Table, rows: Mask, what: str) -> list[str]:
    places = np.flatnonzero(rows)
    if not places.size:
        return []
    noun = "row" if places.size == 1 else "rows"
    return [f"{table.path.name}: {places.size} {noun} {what}; the first is row {table.rows[int(places[0])]}"]
