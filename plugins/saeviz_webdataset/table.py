"""A table of ratings beside the tar files, joined by the keys of the samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.names import same_form
from saeviz.toolkit.raters import long_rows
from saeviz.toolkit.ratings import choose_rating_columns, note_non_numbers
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images, wide_rows
from saeviz.toolkit.tables import Table, read_table
from saeviz_webdataset import WebDatasetOptions

KEY_COLUMNS = ("__key__", "key", "item_id", "id")
NOTHING = Row(0, "", "", {}, {})


class Ratings:
    """The rows of a table by what each calls its sample: `TAR/KEY`, or the key alone."""

    def __init__(self, path: Path, options: WebDatasetOptions) -> None:
        self._table = read_table(path, lists=options.multi_labels)
        self._rows, self._notes = _read(self._table, options)
        self._used: dict[str, str] = {}

    def row(self, item_id: str, key: str) -> Row:
        """The row about a sample; an empty one if there is none.

        Raises `DataError` if a row names a key that two tar files have.
        """
        name = item_id if item_id in self._rows else key
        row = self._rows.get(name)
        if row is None:
            return NOTHING
        if (other := self._used.setdefault(name, item_id)) != item_id:
            raise saeviz.DataError(
                f"images.ratings: {row} of {self._table.path.name} fits two images, {other} and {item_id}; "
                "write TAR/KEY in place of the key"
            )
        return row

    def check(self) -> None:
        """Raise `DataError` if no row fits any of the images, all of which have been read."""
        if not self._used:
            raise saeviz.DataError(
                f"images.ratings: no row of {self._table.path.name} fits an image: the first is about "
                f"{next(iter(self._rows.values()))}; it takes the key of a sample, or TAR/KEY (images.item_column)"
            )

    def notes(self, *, is_all: bool) -> Sequence[str]:
        """What did not fit; rows without an image only if `is_all`: all images have been read."""
        lost = [str(row) for name, row in self._rows.items() if name not in self._used] if is_all else []
        rows = "row" if len(lost) == 1 else "rows"
        fit = [f"{len(lost)} {rows} of {self._table.path.name} without an image: {listed(lost[:3])}"] if lost else []
        return [*self._table.notes, *self._notes, *fit]


def _read(table: Table, options: WebDatasetOptions) -> tuple[dict[str, Row], list[str]]:
    join = JoinColumns(None, _key_column(table, options), _named(table, options.rater_column, "rater_column"))
    images = None if join.rater is None else list(named_images(table, join))
    columns = choose_rating_columns(table, options.rating_columns, {join.item, join.rater}, options, images)
    names, notes = list(columns.ratings), list(columns.notes)
    rows: Iterable[Row] = wide_rows(table, join, columns)
    if join.rater is not None:
        rows, names, more_notes = long_rows(table, join, columns, chosen=options.rating_columns is not None)
        notes += more_notes
    found: dict[str, Row] = {}
    nameless = 0
    for row in rows:
        name = same_form(row.item_id)
        nameless += not name
        if name in found:
            raise saeviz.DataError(
                f"images.ratings: rows {found[name].number} and {row.number} of {table.path.name} are both about "
                f"{name!r}; keep one, or name the column of the raters in images.rater_column"
            )
        if name:
            found[name] = row
    if not found:
        raise saeviz.DataError(f"images.ratings: no row of {table.path} has anything in {join.item!r}")
    if nameless:
        notes.append(f"{nameless} {'row is' if nameless == 1 else 'rows are'} without a key in {table.path.name}")
    return found, [*notes, *note_non_numbers(table, columns, names)]


def _key_column(table: Table, options: WebDatasetOptions) -> str:
    named = _named(table, options.item_column, "item_column")
    found = named or table.find(KEY_COLUMNS, "item_column", "the keys of samples")
    if found is None:
        raise saeviz.ConfigError(
            f"images.item_column: which column of {table.path.name} has the keys of samples? None is called "
            f"{', '.join(KEY_COLUMNS)}; it has {listed(list(table.columns))}"
        )
    return found


def _named(table: Table, name: str | None, option: str) -> str | None:
    return None if name is None else table.name_of(name, option)
