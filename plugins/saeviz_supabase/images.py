"""Images that the rows of a Supabase table are about, with their files in a storage bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.cells import nested_kind
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.records import missing_picture, rating_columns, require_column, unique_ids, unread_columns
from saeviz.toolkit.sources import remote_source
from saeviz_supabase.project import Project, Record

if TYPE_CHECKING:
    from saeviz_supabase import SupabaseImagesOptions

MOST_RECORDS = 5_000_000
RECORDS_AT_ONCE = 1000
LOOKED_AT = 20
_PLAIN_NAME = re.compile(r"\w+", re.ASCII)
_BYTES = re.compile(r"\\x(?:[0-9a-f]{2}){32,}")
_CHECK_TABLE = "look at images.table; only tables and views of the schema public are there"


class SupabaseImages:
    """The rows of a table, in the order of their ids. Files are downloaded when they are opened.

    If a column gives their version, they are stored in the cache, and runs share features and embeddings of them.
    """

    def __init__(self, options: SupabaseImagesOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self._project = Project("images", options, context, _CHECK_TABLE)

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        name = self.options.id_column
        try:
            item_id.encode()
            records = (
                self._records(self._select().eq(name, item_id).limit(1)) if item_id and "\0" not in item_id else []
            )
        except UnicodeEncodeError:
            return None
        except saeviz.SaevizError as error:
            if "22P02" in str(error) or "22003" in str(error):  # the ids are numbers, and this one is not
                return None
            raise
        return self._item(item_id, records[0]) if records and str(records[0][name]) == item_id else None

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, not downloaded; with `filter_labeled` only those that have a rating."""
        pairs = ((_text(record[self.options.id_column]), record) for record in self._rows())
        items = (self._item(item_id, record) for item_id, record in unique_ids(pairs, "id_column"))
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> Sequence[str]:
        """What the user should know of the columns."""
        return self._ratings.notes

    def close(self) -> None:
        """Close the connections."""
        self._project.close()

    def _select(self) -> Any:
        return self._project.client.table(self.options.table).select(
            *(map(_quoted, self._read) if self._unread else "*")
        )

    @cached_property
    def _beginning(self) -> list[Record]:
        """A few rows with all columns."""
        return self._records(self._project.client.table(self.options.table).select("*").limit(LOOKED_AT))

    @cached_property
    def _unread(self) -> dict[str, str]:
        """The columns that hold no single values, by a look at the beginning; with long tables they are most of it."""
        options = self.options
        taken = (options.id_column, options.path_column, options.version_column)
        columns = [name for name in self._beginning[0] if name not in taken] if self._beginning else []
        return unread_columns(self._beginning, columns, _kind, options.multi_labels)

    @property
    def _read(self) -> list[str]:
        return [name for name in self._beginning[0] if name not in self._unread]

    def _records(self, query: Any) -> list[Record]:
        return self._project.records(query)

    def _rows(self) -> Iterator[Record]:
        """The rows. Each request takes up after the last id of the one before."""
        name = self.options.id_column
        query, last, n_records = self._select(), None, 0
        while records := self._records(query.order(name).limit(RECORDS_AT_ONCE)):
            yield from records
            before, last = last, records[-1][name]
            n_records += len(records)
            if last is None:
                return
            if last == before or n_records > MOST_RECORDS:
                raise saeviz.DataError(f"{self._project.place}.table: {self.options.table} has no end")
            query = self._select().gt(name, last)

    def _item(self, item_id: str, record: Mapping[str, Any]) -> saeviz.ImageItem:
        options = self.options
        known = self._ratings.known(record)
        path = _text(record[options.path_column])
        if not path:
            return saeviz.ImageItem(item_id, missing_picture(item_id, "its row has no path"), **known)
        changed = _text(record[options.version_column]) if options.version_column else None
        version = path if changed is None else f"{path} {changed}"
        name = None if changed is None else f"supabase {self._project.url} {options.bucket} {version}"
        source = remote_source(self.context, item_id, name, partial(self._file, item_id, path))
        return saeviz.ImageItem(item_id, source, **known, version=version)

    @cached_property
    def _ratings(self) -> Columns:
        """What is made of the columns; for that all rows are read."""
        options = self.options
        if not self._beginning:
            return Columns({}, [])
        for option in ("id_column", "path_column", "version_column"):
            if getattr(options, option) is not None:
                require_column(tuple(self._beginning[0]), getattr(options, option), option)
        taken = {options.id_column, options.path_column}
        named, columns = options.rating_columns, tuple(self._beginning[0])
        return rating_columns(self._rows(), columns, named, taken, options.table, options, self._unread)

    def _file(self, item_id: str, path: str) -> bytes:
        if {".", ".."} & set(path.split("/")):
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: its path {path!r} leads out of the bucket")
        data = self._project.download(self.options.bucket, path)
        if data is None:
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: the bucket has no file {path!r}")
        return data


def _kind(value: Any) -> str:
    """The kind of a value that is not a single one; bytes come as text of hexadecimal digits."""
    return "bytes" if isinstance(value, str) and _BYTES.fullmatch(value) else nested_kind(value)


def _quoted(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
