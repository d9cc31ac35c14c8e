"""The image providers `table` and `url` where a table is streamed: no row, no picture is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.fetch.fetcher import Fetcher
from saeviz.toolkit.fetch.urls import is_url, name_of
from saeviz.toolkit.files import read_regular, reason_of
from saeviz.toolkit.parquet_stream import ROWS_TOGETHER, ParquetStream, Shard, sources_of
from saeviz.toolkit.ratings import Columns, note_non_numbers
from saeviz.toolkit.sources import FileSource
from saeviz.toolkit.table_rows import JoinColumns, Row, wide_rows
from saeviz.toolkit.tables import Table
from saeviz_table.ids import Ids
from saeviz_table.provider import TableImages, UrlImages, refuse_paths

if TYPE_CHECKING:
    from saeviz_table import TableOptions, UrlOptions

PICTURES = ("pictures", "bytes")


def open_table(options: TableOptions, context: saeviz.Context) -> TableImages:
    """The provider `table`."""
    return StreamedImages(options, context) if options.stream else TableImages(options, context)


def open_urls(options: UrlOptions, context: saeviz.Context) -> TableImages:
    """The provider `url`."""
    return StreamedUrls(options, context) if options.stream else UrlImages(options, context)


class StreamedImages(TableImages):
    """The images that Parquet files name, or have in them, in the order of the rows.

    A picture in a table is read when it is opened. Without a column of ids or of names, an item's id is `FILE/ROW`: the
    name of its file without `.parquet`, and the number of the row in it, from 0. That an id occurs twice is found by
    the run.
    """

    def __init__(self, options: UrlOptions, context: saeviz.Context) -> None:
        super().__init__(options, context)
        if options.path.is_dir():
            self.folder = getattr(options, "folder", None) or options.path
        self._nameless: dict[str, int] = {}

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        for shard, number in self._places(item_id):
            tables = self._stream.tables(shard, self._wanted)
            table = next((table for table in tables if number in table.rows), None)
            if table is not None:
                found = next(self._items(shard, table.row(table.rows.index(number))), None)
                if found is not None and found.item_id == item_id:
                    return found
        return None

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, neither fetched nor decoded; with `filter_labeled` only those that have a rating."""
        items = (item for shard in self.shards() for item in self.iter_shard(shard))
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def shards(self) -> Sequence[str]:
        """The names of the parts of the table: row groups of its files, several together where they are small."""
        return list(self._shards)

    def iter_shard(self, name: str) -> Iterator[saeviz.ImageItem]:
        """The images of one part of the table."""
        shard = self._shards.get(name)
        if shard is None:
            raise saeviz.DataError(f"images.path: {self.options.path.name} has no part {name!r}")
        self._check_first()
        n_items = 0
        for table in self._stream.tables(shard, self._wanted):
            for item in self._items(shard, table):
                yield item
                n_items += 1
        self._nameless[name] = shard.n_rows - n_items

    def notes(self) -> Sequence[str]:
        """What does not fit, in the first rows, and how many rows name no image."""
        n = sum(self._nameless.values())
        nameless = f"{n} {'row is' if n == 1 else 'rows are'} without an image or an id in {self.options.path.name}"
        unread = self._stream.note_unread(besides={self._image_column})
        return [*unread, *self._chosen.notes, *note_non_numbers(self._table, self._chosen), *([nameless] if n else [])]

    def close(self) -> None:
        """Fetch no more, and close the files."""
        super().close()
        if "_stream" in vars(self):
            self._stream.close()

    @cached_property
    def _stream(self) -> ParquetStream:
        path = self.options.path
        if not path.is_dir() and path.suffix.lower() != ".parquet":
            raise saeviz.DataError(
                f"images.stream: {path.name} is not a Parquet file; save the table as Parquet, for instance with "
                "pandas or DuckDB, or remove stream"
            )
        return ParquetStream(sources_of(path, "images.path"), path, "images.path", self.options.multi_labels)

    @cached_property
    def _shards(self) -> dict[str, Shard]:
        shards = {shard.name: shard for shard in self._stream.shards()}
        if not shards:
            raise saeviz.DataError(f"images.path: {self.options.path} has no rows")
        return shards

    @cached_property
    def _table(self) -> Table:
        """The first rows, by which the columns are chosen."""
        return self._stream.head(ROWS_TOGETHER)

    @cached_property
    def _image_column(self) -> str:
        named, unread = self.options.image_column, self._stream.unread
        if named is not None:
            return named if unread.get(named) in PICTURES else self._table.name_of(named, "image_column")
        with_pictures = [name for name, kind in unread.items() if kind == "pictures" or self._is_picture(name)]
        if len(with_pictures) > 1:
            raise saeviz.ConfigError(
                f"images.image_column: say which one; {self.options.path.name} has pictures in {listed(with_pictures)}"
            )
        return with_pictures[0] if with_pictures else super()._image_column

    def _is_picture(self, name: str) -> bool:
        return self._stream.unread[name] == "bytes" and name.lower() in self.image_columns

    @cached_property
    def _has_pictures(self) -> bool:
        return self._image_column in self._stream.unread

    @cached_property
    def _columns(self) -> JoinColumns:
        item = self.options.item_column
        return JoinColumns(
            None if self._has_pictures else self._image_column,
            None if item is None else self._table.name_of(item, "item_column"),
            None,
        )

    @cached_property
    def _versions(self) -> list[str]:
        return [source.version() for source in self._stream.sources]

    @cached_property
    def _wanted(self) -> frozenset[str]:
        """The columns that are read with every row."""
        names = {*self._chosen.read, self._columns.file, self._columns.item}
        return frozenset(name for name in names if name is not None)

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self.options, self.context)

    def _items(self, shard: Shard, table: Table) -> Iterator[saeviz.ImageItem]:
        for row in wide_rows(table, self._columns, self._chosen):
            item_id = self._id_of(shard, row)
            if item_id:
                yield self._picture_item(item_id, shard, row) if self._has_pictures else self._item(item_id, row)

    def _id_of(self, shard: Shard, row: Row) -> str:
        if self._columns.item is not None:
            return row.item_id if row.file or self._has_pictures else ""
        if self._has_pictures:
            return f"{self._stream.sources[shard.source].name}/{row.number - 1}"
        return name_of(row.file) if is_url(row.file) else row.file

    def _picture_item(self, item_id: str, shard: Shard, row: Row) -> saeviz.ImageItem:
        source = FileSource(item_id, partial(self._picture, item_id, shard.source, row.number - 1))
        version = f"{self._versions[shard.source]}-{row.number - 1}"
        return saeviz.ImageItem(item_id, source, row.ratings, row.metadata, version, group=row.group)

    def _picture(self, item_id: str, source: int, row: int) -> bytes:
        try:
            found = self._stream.picture(source, self._image_column, row)
            if isinstance(found, str):
                return read_regular(self._file(found))
            if found is not None:
                return found
        except (OSError, ValueError) as error:
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: {reason_of(error)}") from error
        raise saeviz.ImageError(f"image {item_id!r} cannot be read: row {row + 1} has no picture")

    def _check_first(self) -> None:
        """Raise `DataError` if nothing can come of the first rows, of which at least one names an image."""
        if not self._has_pictures:
            images = [row.file for row in wide_rows(self._table, self._columns, Columns({}, []))]
            self._check([image for image in images if image])

    def _places(self, item_id: str) -> Iterator[tuple[Shard, int]]:
        """The parts and rows, from 1, where this id may be."""
        if self._has_pictures and self._columns.item is None:
            name, _, row = item_id.rpartition("/")
            shards = [shard for shard in self._shards.values() if self._stream.sources[shard.source].name == name]
            number = int(row) if row.isascii() and row.isdigit() and len(row) < 16 else -1
            yield from ((shard, number + 1) for shard in shards if 0 <= number - shard.first_row < shard.n_rows)
            return
        shard_of = list(self._shards.values())
        yield from ((shard_of[part], number) for part, number in self._ids.find(item_id))

    @cached_property
    def _ids(self) -> Ids:
        wanted = frozenset(name for name in (self._columns.file, self._columns.item) if name is not None)
        return Ids(
            (self._id_of(shard, row), part, row.number)
            for part, shard in enumerate(self._shards.values())
            for table in self._stream.tables(shard, wanted)
            for row in wide_rows(table, self._columns, Columns({}, []))
        )


class StreamedUrls(StreamedImages):
    """The images that a table of URLs names, read a few rows at a time."""

    image_columns: ClassVar[Sequence[str]] = UrlImages.image_columns

    def _item(self, item_id: str, row: Row) -> saeviz.ImageItem:
        refuse_paths([row.file], self.options.path)
        return super()._item(item_id, row)
