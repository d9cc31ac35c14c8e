"""Read long tables, with one row per image and rater, into mean and individual ratings of each image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
_NAMELESS = ("", "")


class _Single(NamedTuple):
    """Individual ratings, sorted by image: rater `raters[i]` rated image `images[i]` as `values[i]`."""

    images: IntArray
    raters: IntArray
    values: FloatArray


class _Rows(NamedTuple):
    """The image and the rater of each row of a table, as indices."""

    table: Table
    images: list[tuple[str, str]]
    image_of_row: IntArray
    raters: Sequence[str]
    rater_of_row: IntArray


class LongTable(NamedTuple):
    """The images of a long table, and what its columns are.

    Of `columns`, all ratings and metadata are read; ratings and targets that are `known` of images have no raters.
    """

    rows: list[Row]
    columns: Columns
    known: frozenset[str]


def long_rows(
    table: Table, join: JoinColumns, columns: Columns, *, chosen: bool
) -> tuple[list[Row], list[str], list[str]]:
    """One row per image, in order of first occurrence; the names of the ratings; notes for the user.

    See `read_long`. The notes are without those of `columns`.
    """
    rows, decided, _ = read_long(table, join, columns, chosen=chosen)
    return rows, list(decided.ratings), decided.notes[len(columns.notes) :]


def read_long(table: Table, join: JoinColumns, columns: Columns, *, chosen: bool) -> LongTable:
    """One row per image, in order of first occurrence, and what the columns are, with notes for the user.

    A rating is the mean over raters, each of whom counts once. Unless the user has `chosen` the ratings, a column that
    is constant within each rater (such as age) is not a rating, and one that is constant within each image is a rating
    without raters. Metadata are the columns that are the same in all filled rows of each image. Raises `DataError` if
    the column of groups is not.
    """
    rows = _rows(table, join)
    ratings, notes = dict(columns.ratings), list(columns.notes)
    numbers = _numbers(table, columns)
    of_raters = [] if chosen else [n for n in numbers if _tells_only(numbers[n], rows.rater_of_row, rows.image_of_row)]
    if of_raters:
        notes.append(
            f"{table.path.name}: not ratings, because constant within each rater: {', '.join(of_raters)}; "
            "name the ratings in images.rating_columns to change that"
        )
        ratings = {name: reading for name, reading in ratings.items() if name not in of_raters}
    differ = [name for name in columns.metadata if _differs(table.columns[name], rows)]
    metadata = [name for name in columns.metadata if name not in differ]
    decided = replace(columns, ratings=ratings, metadata=metadata)
    asked = set(columns.ratings) if chosen else set()
    known: set[str] = set()

    def is_known(name: str, values: FloatArray) -> bool:
        if name not in asked and _is_known_of_images(values, rows.image_of_row):
            known.add(name)
        return name in known

    images, rated_notes = _images(rows, decided, numbers, is_known)
    notes += rated_notes
    if differ:
        verb = "differs" if len(differ) == 1 else "differ"
        notes.append(f"{table.path.name}: {', '.join(differ)} {verb} between rows of an image and cannot be metadata")
    return LongTable(images, replace(decided, notes=notes), frozenset(known))


def read_more(table: Table, join: JoinColumns, columns: Columns, known: Collection[str]) -> list[Row]:
    """One row per image of a part of a table whose `columns` and `known` ratings are those of its first part.

    Metadata that are not the same in all rows of an image are left out.
    """
    return _images(_rows(table, join), columns, _numbers(table, columns), lambda name, _: name in known)[0]


def _rows(table: Table, join: JoinColumns) -> _Rows:
    images, image_of_row = _codes(named_images(table, join))
    raters, rater_of_row = _codes(cell_text(cell) for cell in table.columns[join.rater or ""])
    return _Rows(table, images, image_of_row, raters, rater_of_row)


def _numbers(table: Table, columns: Columns) -> dict[str, FloatArray]:
    return {
        name: np.array([reading.number(cell) for cell in table.columns[name]], dtype=np.float64)
        for name, reading in columns.ratings.items()
    }


def _images(
    rows: _Rows, columns: Columns, numbers: Mapping[str, FloatArray], is_known: Callable[[str, FloatArray], bool]
) -> tuple[list[Row], list[str]]:
    table, image_of_row = rows.table, rows.image_of_row
    columns_of_numbers = chain(((name, numbers[name]) for name in columns.ratings), _levels(table, columns))
    means, individual, notes = _rated(rows, columns_of_numbers, is_known)
    metadata = _metadata(table, columns.metadata, image_of_row, len(rows.images))
    groups = _groups(rows, columns.group)
    first_rows = [table.rows[place] for place in np.unique(image_of_row, return_index=True)[1].tolist()]
    return [
        Row(first_rows[image], file, item_id, means[image], metadata[image], individual[image], groups[image])
        for image, (file, item_id) in enumerate(rows.images)
    ], notes


def _rated(
    rows: _Rows, columns: Iterable[tuple[str, FloatArray]], is_known: Callable[[str, FloatArray], bool]
) -> tuple[list[dict[str, float]], list[dict[str, dict[str, float]]], list[str]]:
    """For each image, the means of its ratings, and individual ratings by rater; notes for the user."""
    has_rater = np.array([bool(rater) for rater in rows.raters])[rows.rater_of_row]
    means: list[dict[str, float]] = [{} for _ in rows.images]
    individual: list[dict[str, dict[str, float]]] = [{} for _ in rows.images]
    nameless, again = np.zeros((2, len(rows.table)), dtype=bool)
    for name, values in columns:
        given = np.isfinite(values)
        single, repeated = _one_per_rater(values, given & has_rater, rows.image_of_row, rows.rater_of_row)
        nameless |= given & ~has_rater
        again |= repeated
        _add_means(means, name, single)
        if not is_known(name, values):
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
    return _varying(values, groups).size > 0


def _varying(values: FloatArray | IntArray, groups: IntArray) -> IntArray:
    """The groups that contain two different values."""
    if not values.size:
        return groups[:0]
    order = np.lexsort((values, groups))
    same_group = np.diff(groups[order]) == 0
    return np.unique(groups[order][1:][same_group & (np.diff(values[order]) != 0)])


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


def _differs(cells: Sequence[Cell], rows: _Rows) -> bool:
    """Whether cells differ between the rows of an image; rows that name none are about nothing in common."""
    filled, _, codes = _filled(cells)
    return any(rows.images[image] != _NAMELESS for image in _varying(codes, rows.image_of_row[filled]).tolist())


def _metadata(table: Table, names: Sequence[str], image_of_row: IntArray, n_images: int) -> list[dict[str, str]]:
    metadata: list[dict[str, str]] = [{} for _ in range(n_images)]
    for name in names:
        filled, texts, codes = _filled(table.columns[name])
        images = image_of_row[filled]
        one = ~np.isin(images, _varying(codes, images))
        for image, code in zip(images[one].tolist(), codes[one].tolist(), strict=True):
            metadata[image][name] = texts[code]
    return metadata


def _levels(table: Table, columns: Columns) -> Iterator[tuple[str, FloatArray]]:
    """The targets of categories and labels, and what each is in every row: 1, 0, or NaN where the cell is missing."""
    for levels in columns.levels:
        found = [levels.of(cell) for cell in table.columns[levels.column]]
        for level, name in levels.names.items():
            yield name, np.array([np.nan if cell is None else level in cell for cell in found], dtype=np.float64)


def _groups(rows: _Rows, name: str | None) -> list[str | None]:
    table, groups = rows.table, list[str | None]([None] * len(rows.images))
    if name is None:
        return groups
    first_row: dict[int, int] = {}
    for row, (image, cell) in enumerate(zip(rows.image_of_row.tolist(), table.columns[name], strict=True)):
        group = metadata_text(cell) if rows.images[image] != _NAMELESS else ""
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
