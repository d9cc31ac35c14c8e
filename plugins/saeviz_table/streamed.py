"""The image providers `table` and `url` where a table is streamed: no row, no picture is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.fetch.fetcher import Fetcher
from saeviz.toolkit.line_stream import LISTS, RECORDS, LineStream
from saeviz.toolkit.parquet_stream import ParquetStream, sources_of
from saeviz.toolkit.ratings import Columns, note_non_numbers
from saeviz.toolkit.streamed_rows import StreamedRows
from saeviz.toolkit.table_rows import JoinColumns, Row, wide_rows
from saeviz.toolkit.table_stream import TableStream, head, note_unread
from saeviz.toolkit.tables import Table
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
    """The images that a list, JSON lines or Parquet files name, or that are in these, in the order of the rows.

    A picture in a table is read when it is opened. Without a column of ids or of names, an item's id is `FILE/ROW`: the
    name of its file without `.parquet`, and the number of the row in it, from 0. That an id occurs twice is found by
    the run.
    """

    def __init__(self, options: UrlOptions, context: saeviz.Context) -> None:
        super().__init__(options, context)
        if options.path.is_dir():
            self.folder = getattr(options, "folder", None) or options.path

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        return self._streamed.get_image(item_id)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, neither fetched nor decoded; with `filter_labeled` only those that have a rating."""
        return self._streamed.iter_images(filter_labeled, limit)

    def shards(self) -> Sequence[str]:
        """The names of the parts of the table: row groups of its files, or a megabyte of lines."""
        return self._streamed.shards()

    def iter_shard(self, name: str) -> Iterator[saeviz.ImageItem]:
        """The images of one part of the table."""
        return self._streamed.iter_shard(name)

    def notes(self) -> Sequence[str]:
        """What does not fit, in the first rows, and how many rows name no image."""
        n, name = self._streamed.n_nameless, self.options.path.name
        nameless = f"{n} {'row is' if n == 1 else 'rows are'} without an image or an id in {name}"
        unread = note_unread(self._stream, besides={self._image_column})
        numbers = note_non_numbers(self._table, self._chosen)
        return [*unread, *self._chosen.notes, *([nameless] if n else []), *numbers]

    def close(self) -> None:
        """Fetch no more, and close the files."""
        super().close()
        if "_stream" in vars(self):
            self._stream.close()

    @cached_property
    def _streamed(self) -> StreamedRows:
        join = self._columns
        if join.file is not None:
            images = [row.file for row in wide_rows(self._table, join, Columns({}, []))]
            self._check([image for image in images if image])
        named = None if join.file is None else self._item
        return StreamedRows(self._stream, join, self._chosen, self._image_column, named=named, folder=self.folder)

    @cached_property
    def _stream(self) -> TableStream:
        path, lists = self.options.path, self.options.multi_labels
        if path.is_file() and path.suffix.lower() in LISTS | RECORDS:
            return LineStream(path, "images.path", lists)
        if path.is_file() and path.suffix.lower() != ".parquet":
            raise saeviz.DataError(
                f"images.stream: {path.name} is neither Parquet, JSON lines (.jsonl) nor a list (.txt); save the table "
                "as Parquet, for instance with pandas or DuckDB, or remove stream"
            )
        return ParquetStream(sources_of(path, "images.path"), path, "images.path", lists)

    @cached_property
    def _table(self) -> Table:
        """The first rows, by which the columns are chosen."""
        return head(self._stream)

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
    def _columns(self) -> JoinColumns:
        item = self.options.item_column
        return JoinColumns(
            None if self._image_column in self._stream.unread else self._image_column,
            None if item is None else self._table.name_of(item, "item_column"),
            None,
        )

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self.options, self.context)


class StreamedUrls(StreamedImages):
    """The images that a table of URLs names, read a few rows at a time."""

    image_columns: ClassVar[Sequence[str]] = UrlImages.image_columns

    def _item(self, item_id: str, row: Row) -> saeviz.ImageItem:
        refuse_paths([row.file], self.options.path)
        return super()._item(item_id, row)
