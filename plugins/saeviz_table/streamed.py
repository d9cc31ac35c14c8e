"""The image providers `table` and `url` where a table is streamed: no row, no picture is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import saeviz
from saeviz.toolkit.cells import listed
from saeviz.toolkit.delimited_stream import DelimitedStream
from saeviz.toolkit.fetch.fetcher import Fetcher
from saeviz.toolkit.line_stream import RECORDS, LineStream
from saeviz.toolkit.parquet_stream import ParquetStream, sources_of
from saeviz.toolkit.raters import read_long
from saeviz.toolkit.streamed_rows import StreamedProvider, StreamedRows
from saeviz.toolkit.table_rows import JoinColumns, Row, named_images
from saeviz.toolkit.table_stream import TableStream
from saeviz.toolkit.table_text import read_csv
from saeviz.toolkit.tables import READERS, Table, is_list
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


class StreamedImages(StreamedProvider, TableImages):
    """The images that a list, JSON lines or Parquet files name, or that are in these, in the order of the rows.

    A picture in a table is read when it is opened. Without a column of ids or of names, an item's id is `FILE/ROW`: the
    name of its file without `.parquet`, and the number of the row in it, from 0. That an id occurs twice is found by
    the run.
    """

    def __init__(self, options: UrlOptions, context: saeviz.Context) -> None:
        super().__init__(options, context)
        if options.path.is_dir():
            self.folder = getattr(options, "folder", None) or options.path

    def close(self) -> None:
        """Fetch no more, and close the files."""
        StreamedProvider.close(self)
        TableImages.close(self)

    def images_of(self, stream: TableStream) -> StreamedRows:
        """The images, which a column names or has."""
        join, column = self._columns, self._image_column
        if join.file is None:
            return StreamedRows(stream, join, self._chosen, column, folder=self.folder)
        self._check([image for image, _ in dict.fromkeys(named_images(self._table, join)) if image])
        if join.rater is None:
            return StreamedRows(stream, join, self._chosen, column, named=self._item)
        chosen = self.options.rating_columns is not None
        _, columns, known = read_long(self._table, join, self._chosen, chosen=chosen)
        return StreamedRows(stream, join, columns, column, named=self._item, known=known)

    def open_stream(self) -> TableStream:
        """Open the table, by its ending."""
        path, lists = self.options.path, self.options.multi_labels
        ending = path.suffix.lower()
        if path.is_dir() or ending == ".parquet":
            return ParquetStream(sources_of(path, "images.path"), path, "images.path", lists)
        if ending in RECORDS or is_list(path, "images.path"):
            return LineStream(path, "images.path", lists)
        if READERS.get(ending) is read_csv:
            return DelimitedStream(path, "images.path")
        step = "unpack it" if ending == ".gz" else "save the table as one of these"
        raise saeviz.DataError(
            f"images.stream: {path.name} is neither Parquet, CSV (.csv, .tsv), JSON lines (.jsonl) nor a list (.txt); "
            f"{step}, or remove stream"
        )

    @property
    def _table(self) -> Table:
        return self.first_rows

    @cached_property
    def _image_column(self) -> str:
        named, unread = self.options.image_column, self.stream.unread
        if named is not None:
            return named if unread.get(named) in PICTURES else self._table.name_of(named, "image_column")
        with_pictures = [name for name, kind in unread.items() if kind == "pictures" or self._is_picture(name)]
        if len(with_pictures) > 1:
            raise saeviz.ConfigError(
                f"images.image_column: say which one; {self.options.path.name} has pictures in {listed(with_pictures)}"
            )
        return with_pictures[0] if with_pictures else super()._image_column

    def _is_picture(self, name: str) -> bool:
        return self.stream.unread[name] == "bytes" and name.lower() in self.image_columns

    @cached_property
    def _columns(self) -> JoinColumns:
        join = super()._columns
        if self._image_column not in self.stream.unread:
            return join
        if join.rater is not None:
            raise saeviz.ConfigError(
                f"images.rater_column: {self.options.path.name} has the pictures in {self._image_column!r}, so each "
                "of its rows is an image; name a column of paths or URLs in images.image_column, or remove the option"
            )
        return replace(join, file=None)

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self.options, self.context)


class StreamedUrls(StreamedImages):
    """The images that a table of URLs names, read a few rows at a time."""

    image_columns: ClassVar[Sequence[str]] = UrlImages.image_columns

    def _item(self, item_id: str, row: Row) -> saeviz.ImageItem:
        refuse_paths([row.file], self.options.path)
        return super()._item(item_id, row)
