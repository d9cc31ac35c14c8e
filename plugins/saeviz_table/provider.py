"""The image providers `table` and `url`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.fetch.fetcher import Fetcher, RemoteImage
from saeviz.toolkit.fetch.urls import is_url, name_of
from saeviz.toolkit.names import existing, is_there
from saeviz.toolkit.raters import long_rows
from saeviz.toolkit.ratings import Columns, choose_rating_columns, note_non_numbers
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images, wide_rows
from saeviz.toolkit.tables import Table, is_list, read_list, read_table

if TYPE_CHECKING:
    from saeviz_table import UrlOptions

FILE_COLUMNS = ("file", "filename", "file_name", "path", "file_path", "image", "image_path")
URL_COLUMNS = ("url", "image_url")
LOOKED_AT = 100


class _Said(NamedTuple):
    """What a table says of its images, which ratings there are, and notes for the user."""

    rows: list[Row]
    columns: Columns
    ratings: list[str]
    notes: list[str]


class TableImages:
    """The images that a table or a list names, in the order of its rows; nothing is read before the first call.

    What begins with a scheme (`https://`) is fetched when the image is opened, anything else is a path. Other columns
    are ratings and metadata. Raises `DataError` if two rows have the same id, unless they are by different raters.
    """

    image_columns: ClassVar[Sequence[str]] = (*FILE_COLUMNS, *URL_COLUMNS)

    def __init__(self, options: UrlOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self.folder: Path = getattr(options, "folder", None) or options.path.parent

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        row = self._rows.get(item_id)
        return None if row is None else self._item(item_id, row)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, neither fetched nor decoded; with `filter_labeled` only those that have a rating."""
        items = (self._item(item_id, row) for item_id, row in self._rows.items())
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> Sequence[str]:
        """What did not fit: rows that name no image, cells that are not numbers, raters that are not known."""
        said = self._said
        notes = list(said.notes)
        nameless = sum(not self._is_named(*names) for names in named_images(self._table, self._columns))
        if nameless and len(self._table.columns) > 1:
            rows = "row is" if nameless == 1 else "rows are"
            notes.append(f"{nameless} {rows} without an image or an id in {self._table.path.name}")
        numbers = note_non_numbers(self._table, said.columns, said.ratings)
        return [*self._table.notes, *notes, *numbers]

    def close(self) -> None:
        """Fetch no more."""
        if "_fetcher" in vars(self):
            self._fetcher.close()

    @cached_property
    def _table(self) -> Table:
        path = self.options.path
        if is_list(path, "images.path"):
            return read_list(path, "images.path")
        return read_table(path, "images.path", self.options.multi_labels)

    @cached_property
    def _image_column(self) -> str:
        columns = self._table.columns
        if self.options.image_column is not None:
            return self._table.name_of(self.options.image_column, "image_column")
        found = self._table.find(self.image_columns, "image_column", "the images")
        if found is None:
            raise saeviz.ConfigError(
                f"images.image_column: which column of {self._table.path.name} has the images? None is called "
                f"{', '.join(self.image_columns)}; it has {listed(list(columns))}"
            )
        return found

    @cached_property
    def _columns(self) -> JoinColumns:
        item, rater = (
            None if name is None else self._table.name_of(name, option)
            for option, name in (
                ("item_column", self.options.item_column),
                ("rater_column", self.options.rater_column),
            )
        )
        return JoinColumns(self._image_column, item, rater)

    @cached_property
    def _chosen(self) -> Columns:
        """Which columns are ratings and metadata."""
        table, join = self._table, self._columns
        if set(table.columns) <= {self._image_column} and not table.unread and not any(self.options.named_columns()):
            return Columns({}, [])
        images = None if join.rater is None else list(named_images(table, join))
        taken = {join.file, join.item, join.rater}
        return choose_rating_columns(table, self.options.rating_columns, taken, self.options, images)

    @cached_property
    def _said(self) -> _Said:
        table, join, columns = self._table, self._columns, self._chosen
        if join.rater is None:
            return _Said(list(wide_rows(table, join, columns)), columns, list(columns.ratings), columns.notes)
        chosen = self.options.rating_columns is not None
        rows, ratings, more_notes = long_rows(table, join, columns, chosen=chosen)
        return _Said(rows, columns, ratings, columns.notes + more_notes)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        """What the table says of each item; `file` is its path or URL."""
        rows: dict[str, Row] = {}
        for row in self._said.rows:
            if not self._is_named(row.file, row.item_id):
                continue
            item_id = row.item_id or (name_of(row.file) if is_url(row.file) else row.file)
            if item_id in rows:
                step = "keep one" if self._columns.rater is None else "call an image the same in all of its rows"
                raise saeviz.DataError(
                    f"images.path: rows {rows[item_id].number} and {row.number} of {self._table.path.name} are both "
                    f"about {item_id!r}; {step}"
                )
            rows[item_id] = row
        self._check([row.file for row in rows.values()])
        return rows

    def _is_named(self, image: str, item_id: str) -> bool:
        return bool(image and (item_id or self._columns.item is None))

    def _check(self, images: Sequence[str]) -> None:
        """Raise `DataError` if nothing can come of it."""
        if not images:
            raise saeviz.DataError(f"images.path: no row of {self._table.path} names an image")
        files = [self._file(image) for image in images[:LOOKED_AT] if not is_url(image)]
        if files and not any(map(is_there, files)):
            raise saeviz.DataError(
                f"images.path: none of the first {len(files)} files that {self._table.path.name} names exists, "
                f"for instance {files[0]}; set images.folder to what its paths are relative to"
            )

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self.options, self.context, [row.file for row in self._rows.values() if is_url(row.file)])

    def _item(self, item_id: str, row: Row) -> saeviz.ImageItem:
        source: Path | RemoteImage
        if is_url(row.file):
            source, version = RemoteImage(self._fetcher, row.file, item_id), self._fetcher.version(row.file)
        else:
            source, version = self._file(row.file), ""
        return saeviz.ImageItem(item_id, source, row.ratings, row.metadata, version, row.individual, row.group)

    def _file(self, name: str) -> Path:
        path = existing(self.folder / name.replace("\0", "\ufffd"))
        return path if "\\" not in name or is_there(path) else existing(self.folder / name.replace("\\", os.sep))


class UrlImages(TableImages):
    """The images that a list or a table of URLs names."""

    image_columns: ClassVar[Sequence[str]] = (*URL_COLUMNS, *FILE_COLUMNS)

    def _check(self, images: Sequence[str]) -> None:
        refuse_paths(images, self.options.path)
        super()._check(images)


def refuse_paths(images: Sequence[str], path: Path) -> None:
    """Raise `DataError` for an image that is no URL."""
    wrong = next((image for image in images if not is_url(image)), None)
    if wrong is not None:
        raise saeviz.DataError(
            f'images.path: {path.name} names {wrong[:80]!r}, which is not a URL; use = "table" takes paths, too'
        )
