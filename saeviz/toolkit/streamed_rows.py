"""Images from the rows of a streamed table, whose pictures are named in a column or in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from saeviz.toolkit.fetch.urls import is_url, name_of
from saeviz.toolkit.files import read_regular, reason_of
from saeviz.toolkit.names import existing
from saeviz.toolkit.ratings import Columns, note_non_numbers
from saeviz.toolkit.rows_by_image import LongRows, WideRows
from saeviz.toolkit.sources import FileSource
from saeviz.toolkit.table import Table
from saeviz.toolkit.table_rows import JoinColumns, Row
from saeviz.toolkit.table_stream import Part, TableStream, head, note_unread
from saeviz.values.errors import DataError, ImageError
from saeviz.values.images import ImageItem


class StreamedRows:
    """What an image provider does (`ImageProvider`, `DividesIntoShards`) with the rows of a stream.

    Images are named in the column `join.file`, of which `named` makes items; without one, they are in the column
    `pictures`. An id is what a row has in `join.item`, otherwise the path or URL, or `FILE/ROW`. Files that a column of
    pictures names are looked for in `folder`; with None they are not read. With `join.rater`, an image has several rows
    (see `LongRows`), and `known` are the ratings without raters.
    """

    def __init__(
        self,
        stream: TableStream,
        join: JoinColumns,
        columns: Columns,
        pictures: str,
        *,
        named: Callable[[str, Row], ImageItem] | None = None,
        folder: Path | None = None,
        known: Collection[str] = (),
    ) -> None:
        self._stream, self._join, self._columns, self._column = stream, join, columns, pictures
        self._named, self._folder = named, folder
        self._nameless: dict[str, int] = {}
        if join.rater is None:
            self._rows = WideRows(stream, join, columns, self._own_id)
        else:
            self._rows = LongRows(stream, join, columns, self._own_id, known)

    def get_image(self, item_id: str) -> ImageItem | None:
        """The image with this id, or None."""
        found = (self._item(self._rows.parts[place], row) for place, row in self._found(item_id))
        return next((item for item in found if item is not None and item.item_id == item_id), None)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """All images; with `filter_labeled` only those that have a rating."""
        items = (item for part in self.shards() for item in self.iter_shard(part))
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def shards(self) -> Sequence[str]:
        """The names of the parts: row groups, several together where they are small."""
        return list(self._parts)

    def iter_shard(self, name: str) -> Iterator[ImageItem]:
        """The images of one part."""
        place = self._parts.get(name)
        if place is None:
            raise DataError(f"{self._stream.option}: {self._stream.path.name} has no part {name!r}")
        n_nameless = 0
        for row in self._rows.rows(place):
            item = self._item(self._rows.parts[place], row)
            if item is None:
                n_nameless += 1
            else:
                yield item
        self._nameless[name] = n_nameless

    @property
    def n_nameless(self) -> int:
        """How many rows name no image, of those read so far."""
        return self._rows.n_nameless if isinstance(self._rows, LongRows) else sum(self._nameless.values())

    def notes(self, first: Table) -> list[str]:
        """What does not fit in the `first` rows, and how many rows name no image."""
        n, name = self.n_nameless, self._stream.path.name
        nameless = f"{n} {'row is' if n == 1 else 'rows are'} without an image or an id in {name}"
        unread = note_unread(self._stream, besides={self._column})
        numbers = note_non_numbers(first, self._columns)
        return [*first.notes, *unread, *self._columns.notes, *([nameless] if n else []), *numbers]

    def close(self) -> None:
        """Close the files."""
        self._stream.close()

    @cached_property
    def _parts(self) -> dict[str, int]:
        return {part.name: place for place, part in enumerate(self._rows.parts)}

    @cached_property
    def _versions(self) -> list[str]:
        return [source.version() for source in self._stream.sources]

    def _item(self, part: Part, row: Row) -> ImageItem | None:
        item_id = self._own_id(row.file, row.item_id)
        if self._named is None and self._join.item is None:
            item_id = f"{self._stream.sources[part.source].name}/{row.number - 1}"
        if not item_id:
            return None
        return self._with_picture(item_id, part, row) if self._named is None else self._named(item_id, row)

    def _own_id(self, file: str, item_id: str) -> str:
        """What a row calls its image, '' if it names none."""
        if self._join.item is not None:
            return item_id if file or self._named is None else ""
        return name_of(file) if is_url(file) else file

    def _with_picture(self, item_id: str, part: Part, row: Row) -> ImageItem:
        source = FileSource(item_id, partial(self._picture, item_id, part.source, row.number - 1))
        version = f"{self._versions[part.source]}-{row.number - 1}"
        return ImageItem(item_id, source, row.ratings, row.metadata, version, group=row.group)

    def _picture(self, item_id: str, source: int, row: int) -> bytes:
        reason = f"row {row + 1} has no picture"
        try:
            found = self._stream.picture(source, self._column, row)
            if isinstance(found, bytes):
                return found
            if found is not None and self._folder is not None:
                return read_regular(existing(self._folder / found.replace("\0", "\ufffd")))
            if found is not None:
                reason = f"row {row + 1} has no picture, but names a file, which a data set from the hub may not"
        except (OSError, ValueError) as error:
            raise ImageError(f"image {item_id!r} cannot be read: {reason_of(error)}") from error
        raise ImageError(f"image {item_id!r} cannot be read: {reason}")

    def _found(self, item_id: str) -> Iterator[tuple[int, Row]]:
        """The parts and rows where this id may be."""
        if self._named is not None or self._join.item is not None:
            yield from self._rows.find(item_id)
            return
        name, _, digits = item_id.rpartition("/")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else -1
        for place, part in enumerate(self._rows.parts):
            is_here = self._stream.sources[part.source].name == name and 0 <= number - part.first_row < part.n_rows
            row = self._rows.row(place, number + 1) if is_here else None
            if row is not None:
                yield place, row


class StreamedProvider(ABC):
    """An image provider whose images are the rows of a stream, which the first call opens."""

    @abstractmethod
    def open_stream(self) -> TableStream:
        """Open the table."""

    @abstractmethod
    def images_of(self, stream: TableStream) -> StreamedRows:
        """Say what the columns are, by the first rows, which are in `first_rows`."""

    def get_image(self, item_id: str) -> ImageItem | None:
        """The image with this id, or None."""
        return self._streamed.get_image(item_id)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """All images, neither fetched nor decoded; with `filter_labeled` only those that have a rating."""
        return self._streamed.iter_images(filter_labeled, limit)

    def shards(self) -> Sequence[str]:
        """The names of the parts of the table."""
        return self._streamed.shards()

    def iter_shard(self, name: str) -> Iterator[ImageItem]:
        """The images of one part of the table."""
        return self._streamed.iter_shard(name)

    def notes(self) -> Sequence[str]:
        """What does not fit in the first rows, and how many rows name no image."""
        return self._streamed.notes(self.first_rows)

    def close(self) -> None:
        """Close the files."""
        if "stream" in vars(self):
            self.stream.close()

    @cached_property
    def stream(self) -> TableStream:
        """The table."""
        return self.open_stream()

    @cached_property
    def first_rows(self) -> Table:
        """The first rows, by which the columns are chosen."""
        return head(self.stream)

    @cached_property
    def _streamed(self) -> StreamedRows:
        return self.images_of(self.stream)
