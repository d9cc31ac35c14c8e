"""Images that a query finds: files by their paths, URLs, or pictures kept in the database itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.fetch.fetcher import Fetcher, RemoteImage
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.records import (
    missing_picture,
    picture_at,
    rating_columns,
    require_column,
    unique_ids,
    unread_columns,
)
from saeviz.toolkit.sources import FileSource
from saeviz_sql.database import Database

if TYPE_CHECKING:
    from sqlalchemy import TextClause

    from saeviz.toolkit.records import Record
    from saeviz_sql import SqlImagesOptions

RECORDS_AT_ONCE = 500
MOST_RECORDS = 5_000_000
MOST_SECONDS = 600
"""For one query: a recursive or crossed one has no end."""
MOST_BYTES = 256 * 2**20
"""Of one picture in the database."""
LOOKED_AT = 20
WHERE = "the query"


class SqlImages:
    """The records of a query, in the order of their ids.

    Records are streamed. Of a picture in the database only a digest is read until it is opened, so that a changed one
    is noticed. The query is only ever read from.
    """

    def __init__(self, options: SqlImagesOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self._base = options.folder or (options.path.parent if options.path else Path())
        self._database = Database("images", options.url, options.path or Path(), context)

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        if not item_id or "\0" in item_id or not _is_text(item_id):
            return None
        found = next(self._records(where="where cast({id} as text) = :item_id", values={"item_id": item_id}), None)
        return None if found is None else self._item(*found)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, not decoded; with `filter_labeled` only those that have a rating."""
        items = (self._item(item_id, record) for item_id, record in self._records())
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> Sequence[str]:
        """What the user should know of the columns."""
        return self._ratings.notes

    def close(self) -> None:
        """Close the connections and fetch no more."""
        self._database.close()
        if "_fetcher" in vars(self):
            self._fetcher.close()

    def _records(self, where: str = "", values: dict[str, Any] | None = None) -> Iterator[tuple[str, Record]]:
        """Ids and records, as the database sends them."""
        options = self.options
        columns = [f"q.{_quoted(name)}" for name in self._read]
        if options.image_column:
            columns.append(f"sha256(q.{_quoted(options.image_column)}) as saeviz_digest")
        number = f"q.{_quoted(options.id_column)}"
        _ = self._ratings  # asked for before these rows are streamed, not in between
        query = self._query(
            f"cast({number} as text) as saeviz_id, {', '.join(columns)}",
            f"{where.format(id=number)} order by {number}",
            limit="" if where else f" limit {MOST_RECORDS + 1} offset 0",  # SQLite would sort first without an offset
        )
        with self._database.reading(MOST_SECONDS) as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=RECORDS_AT_ONCE)
            rows = streaming.execute(query, values or {})
            yield from unique_ids(((row.saeviz_id, row._asdict()) for row in _at_most(rows)), "id_column")

    def _item(self, item_id: str, record: Record) -> saeviz.ImageItem:
        known = self._ratings.known(record)
        options = self.options
        if options.path_column:
            path = record[options.path_column]
            found = None if path is None else str(path)
            source = picture_at(item_id, found, self._base, inside=options.folder is not None)
            return saeviz.ImageItem(item_id, source, **known)
        if options.url_column:
            url = str(record[options.url_column] or "")
            if not url:
                return saeviz.ImageItem(item_id, missing_picture(item_id, "its record has no URL"), **known)
            remote = RemoteImage(self._fetcher, url, item_id)
            return saeviz.ImageItem(item_id, remote, **known, version=self._fetcher.version(url))
        digest: bytes | None = record["saeviz_digest"]
        if digest is None:
            return saeviz.ImageItem(item_id, missing_picture(item_id, "its record has no picture"), **known)
        stored = FileSource(item_id, partial(self._file, item_id, record[options.id_column]))
        return saeviz.ImageItem(item_id, stored, **known, version=digest.hex()[:16])

    @cached_property
    def _fetcher(self) -> Fetcher:
        column = self.options.url_column or ""
        urls = (record[column] for _, record in self._records())
        return Fetcher(self.options, self.context, [str(url) for url in urls if url])

    def _file(self, item_id: str, number: Any) -> bytes:
        name, where = _quoted(self.options.image_column or ""), f"where q.{_quoted(self.options.id_column)} = :number"
        with self._database.reading() as connection:
            sized = f"length(q.{name}), case when length(q.{name}) <= {MOST_BYTES} then q.{name} end"
            size, data = connection.execute(self._query(sized, where), {"number": number}).first() or (0, None)
        if size and size > MOST_BYTES:
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: it has more than {MOST_BYTES >> 20} MiB")
        if not isinstance(data, bytes | memoryview):
            what = "nothing" if data is None else f"a value of type {type(data).__name__}"
            raise saeviz.ImageError(
                f"image {item_id!r} cannot be read: its column {self.options.image_column!r} holds {what}, "
                "not the bytes of an image file"
            )
        return bytes(data)

    def _query(self, columns: str, rest: str, limit: str = "") -> TextClause:
        from sqlalchemy import text

        query = self.options.query.strip().rstrip(";").replace(":", r"\:")
        if limit:
            query = f"select * from (\n{query}\n) as saeviz_all{limit}"  # noqa: S608 - the same
        return text(f"select {columns} from (\n{query}\n) as q {rest}")  # noqa: S608 - the query is the user's own

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        options = self.options
        if options.path is not None and not options.path.is_file():
            raise saeviz.DataError(f"images.path: no file {options.path}")
        with self._database.reading(MOST_SECONDS) as connection:
            columns = tuple(connection.execute(self._query("q.*", "limit 0")).keys())
        for option in ("id_column", "path_column", "url_column", "image_column"):
            name = getattr(options, option)
            if name is not None:
                require_column(columns, name, option)
        return columns

    @cached_property
    def _unread(self) -> dict[str, str]:
        """The columns that hold no single values but lists, structures or bytes, by a look at the first rows."""
        columns = [name for name in self._columns if name not in self._taken]
        if not columns:
            return {}
        with self._database.reading() as connection:
            query = self._query(", ".join(f"q.{_quoted(name)}" for name in columns), f"limit {LOOKED_AT}")
            rows = [row._asdict() for row in connection.execute(query)]
        return unread_columns(rows, columns, lists=self.options.multi_labels)

    @cached_property
    def _read(self) -> list[str]:
        """The columns that are read with every row."""
        return [name for name in self._columns if name != self.options.image_column and name not in self._unread]

    @property
    def _taken(self) -> set[str]:
        options = self.options
        taken = (options.id_column, options.path_column, options.url_column, options.image_column)
        return {name for name in taken if name}

    @cached_property
    def _ratings(self) -> Columns:
        """What is made of the columns; for that all rows are read, but for the pictures."""
        options, picture = self.options, self.options.image_column
        free = [name for name in self._read if name not in self._taken]
        wanted = list(dict.fromkeys([*free, *(name for _, name in options.named_columns())]))
        unread = self._unread | ({picture: "bytes"} if picture in wanted else {})
        records = self._values(wanted)
        return rating_columns(records, self._columns, options.rating_columns, self._taken, WHERE, options, unread)

    def _values(self, wanted: Sequence[str]) -> Iterator[Record]:
        """Some columns of all records."""
        with self._database.reading() as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=RECORDS_AT_ONCE)
            rows = streaming.execute(self._query(", ".join(f"q.{_quoted(name)}" for name in wanted), ""))
            yield from (dict(zip(wanted, row, strict=True)) for row in rows)


def _at_most(rows: Iterable[Any]) -> Iterator[Any]:
    for number, row in enumerate(rows):
        if number == MOST_RECORDS:
            raise saeviz.DataError(f"images.query: it gives more than {MOST_RECORDS:,} rows; does it terminate?")
        yield row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace(":", r"\:") + '"'


def _is_text(item_id: str) -> bool:
    try:
        item_id.encode()
    except UnicodeEncodeError:
        return False
    return True
