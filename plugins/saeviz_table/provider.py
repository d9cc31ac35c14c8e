"""The image providers `table` and `url`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import saeviz
from saeviz.toolkit.fetch.fetcher import Fetcher, RemoteImage
from saeviz.toolkit.fetch.urls import is_url, name_of
from saeviz.toolkit.ratings import choose_rating_columns, note_non_numbers, to_number
from saeviz.toolkit.tables import READERS, Table, cell_text, read_list, read_table

if TYPE_CHECKING:
    from saeviz_table import UrlOptions

FILE_COLUMNS = ("file", "filename", "file_name", "path", "file_path", "image", "image_path")
URL_COLUMNS = ("url", "image_url")
LOOKED_AT = 100


class TableImages:
    """The images that a table or a list names, in the order of its rows; nothing is read before the first call.

    What begins with a scheme (`https://`) is fetched when the image is opened, anything else is a path. Other columns
    are ratings and metadata. Raises `DataError` where two rows have the same id.
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
        """What did not fit: rows that name no image, cells that are not numbers."""
        ratings, notes = self._ratings
        nameless = len(self._table) - len(self._rows)
        if nameless and len(self._table.columns) > 1:
            rows = "row is" if nameless == 1 else "rows are"
            notes = [*notes, f"{nameless} {rows} without an image or an id in {self._table.path.name}"]
        numbers = (note for name in ratings for note in note_non_numbers(self._table, name))
        return [*self._table.notes, *notes, *numbers]

    def close(self) -> None:
        """Fetch no more."""
        if "_fetcher" in vars(self):
            self._fetcher.close()

    @cached_property
    def _table(self) -> Table:
        path = self.options.path
        return (read_table if path.suffix.lower() in READERS else read_list)(path, "images.path")

    @cached_property
    def _image_column(self) -> str:
        columns = self._table.columns
        if self.options.image_column is not None:
            self._table.column(self.options.image_column, "image_column")
            return self.options.image_column
        by_lower = {name.lower(): name for name in columns}
        found = next((by_lower[name] for name in self.image_columns if name in by_lower), None)
        if found is None:
            raise saeviz.ConfigError(
                f"images.image_column: which column of {self._table.path.name} has the images? None is called "
                f"{', '.join(self.image_columns)}; it has {', '.join(columns)}"
            )
        return found

    @cached_property
    def _images(self) -> list[str]:
        """The path or URL of each row, '' where there is none."""
        return [cell_text(cell) for cell in self._table.columns[self._image_column]]

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The row of each item."""
        column = self.options.item_column
        given = self._table.column(column, "item_column") if column else None
        rows: dict[str, int] = {}
        for row, image in enumerate(self._images):
            item_id = cell_text(given[row]) if given else name_of(image) if is_url(image) else image
            if image and item_id in rows:
                numbers = " and ".join(str(self._table.first_row + one) for one in (rows[item_id], row))
                raise saeviz.DataError(
                    f"images.path: rows {numbers} of {self._table.path.name} are both about {item_id!r}; keep one"
                )
            if image and item_id:
                rows[item_id] = row
        self._check([self._images[row] for row in rows.values()])
        return rows

    def _check(self, images: Sequence[str]) -> None:
        """Raise `DataError` where nothing can come of it."""
        if not images:
            raise saeviz.DataError(f"images.path: no row of {self._table.path} names an image")
        files = [self._file(image) for image in images[:LOOKED_AT] if not is_url(image)]
        if files and not any(map(_exists, files)):
            raise saeviz.DataError(
                f"images.path: of the first {len(files)} files that {self._table.path.name} names there is none, "
                f"for instance {files[0]}; set images.folder to what its paths are relative to"
            )

    @cached_property
    def _ratings(self) -> tuple[list[str], list[str]]:
        """The rating columns, and notes about the choice."""
        if list(self._table.columns) == [self._image_column]:
            return [], []
        taken = {self._image_column, self.options.item_column}
        return choose_rating_columns(self._table, self.options.rating_columns, taken)

    @cached_property
    def _metadata(self) -> list[str]:
        taken = {"", *self._ratings[0], self._image_column, self.options.item_column}
        return [name for name in self._table.columns if name not in taken]

    @cached_property
    def _fetcher(self) -> Fetcher:
        wanted = (self._images[row] for row in self._rows.values())
        return Fetcher(self.options, self.context, [image for image in wanted if is_url(image)])

    def _item(self, item_id: str, row: int) -> saeviz.ImageItem:
        image, ratings, metadata = self._images[row], self._ratings_of(row), self._metadata_of(row)
        if not is_url(image):
            return saeviz.ImageItem(item_id, self._file(image), ratings, metadata)
        source = RemoteImage(self._fetcher, image, item_id)
        return saeviz.ImageItem(item_id, source, ratings, metadata, version=self._fetcher.version(image))

    def _ratings_of(self, row: int) -> Mapping[str, float]:
        numbers = {name: to_number(self._table.columns[name][row]) for name in self._ratings[0]}
        return {name: number for name, number in numbers.items() if number is not None}

    def _metadata_of(self, row: int) -> Mapping[str, str]:
        texts = {name: cell_text(self._table.columns[name][row]) for name in self._metadata}
        return {name: text for name, text in texts.items() if text}

    def _file(self, name: str) -> Path:
        path = self.folder / name.replace("\0", "\ufffd")
        return path if "\\" not in name or _exists(path) else self.folder / name.replace("\\", os.sep)


class UrlImages(TableImages):
    """The images that a list or a table of URLs names."""

    image_columns: ClassVar[Sequence[str]] = (*URL_COLUMNS, *FILE_COLUMNS)

    def _check(self, images: Sequence[str]) -> None:
        wrong = next((image for image in images if not is_url(image)), None)
        if wrong is not None:
            raise saeviz.DataError(
                f"images.path: {self._table.path.name} names {wrong[:80]!r}, which is not a URL; "
                'use = "table" takes paths, too'
            )
        super()._check(images)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
