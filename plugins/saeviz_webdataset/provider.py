"""The image provider `webdataset`."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from io import BufferedReader
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.cells import Cell
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.toolkit.files import open_regular, reason_of
from saeviz.toolkit.images import IMAGE_ENDINGS
from saeviz.toolkit.names import same_form
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.records import rating_columns, unread_columns
from saeviz.toolkit.sources import FileSource
from saeviz_webdataset.index import TEXTS, Index, Place, read_at, read_index
from saeviz_webdataset.shards import Shards
from saeviz_webdataset.table import Ratings

if TYPE_CHECKING:
    from saeviz_webdataset import WebDatasetOptions

FILES_OF_TEXT = ("txt", "cls")
LOOKED_AT = 10_000
"""Samples from the beginning, by which it is decided which fields are ratings."""
MOST_TEXT, MOST_PICTURE = 1 << 20, 1 << 28
"""Bytes of a sample's .json, .txt or .cls, and of its picture."""
OPEN_INDICES = 4


class WebDatasetImages:
    """The samples of tar files that have a picture, tar by tar, in the order of the tar files and of their members.

    An item's id is `TAR/KEY`: the name of its tar file without `.tar`, and the key of the sample, so that an id is
    known from one tar file alone and stays when others are added. Nothing is held but which bytes of a tar file a
    sample has, of a few tar files at a time.
    """

    def __init__(self, options: WebDatasetOptions, context: saeviz.Context) -> None:
        self.options = options
        self._shards = Shards(options, context)
        self._indices: OrderedDict[str, Index] = OrderedDict()
        self._left_out: dict[str, Mapping[str, tuple[int, str]]] = {}
        self._unreadable: dict[tuple[str, str], str] = {}
        self._read: dict[str, int] = {}
        self._lock = Lock()

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        for end in (place for place, character in enumerate(item_id) if character == "/"):
            shard, key = item_id[:end], item_id[end + 1 :]
            files = self._index(shard).samples.get(key) if shard in self._shards.names else None
            if files is not None:
                with open_regular(self._shards.path(shard)) as file:
                    return self._item(shard, key, files, file)
        return None

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images, not decoded; with `filter_labeled` only those that have a rating.

        Raises `DataError` if there are none, and where a tar file is damaged or cannot be fetched.
        """
        items = (item for shard in self.shards() for item in self.iter_shard(shard))
        yield from islice((item for item in items if item.ratings or not filter_labeled), limit)

    def shards(self) -> Sequence[str]:
        """The names of the tar files, in order."""
        return list(self._shards.names)

    def iter_shard(self, name: str) -> Iterator[saeviz.ImageItem]:
        """The images of one tar file, in the order of its samples."""
        if name not in self._shards.names:
            raise saeviz.DataError(f"images: there is no tar file {name!r}")
        index = self._index(name)
        with open_regular(self._shards.path(name)) as file:
            for key, files in index.samples.items():
                yield self._item(name, key, files, file)
        self._read[name] = len(index.samples)
        if len(self._read) == len(self._shards.names):
            self._check()

    def notes(self) -> Sequence[str]:
        """What is left out of the tar files read so far, and what was found out about the ratings."""
        totals: Counter[str] = Counter()
        first: dict[str, str] = {}
        for shard in self._shards.names:
            for why, (n, name) in self._left_out.get(shard, {}).items():
                totals[why] += n
                first.setdefault(why, f"{name} in {shard}")
        notes = [f"left out of the tar files, because they {why}: {n}, first {first[why]}" for why, n in totals.items()]
        if self._unreadable:
            notes.append(f"{len(self._unreadable)} texts cannot be read, first {next(iter(self._unreadable.values()))}")
        is_all = len(self._read) == len(self._shards.names)
        return [*notes, *self._columns.notes, *(self._table.notes(is_all=is_all) if self._table else ())]

    def close(self) -> None:
        """Fetch no more."""
        self._shards.close()

    @cached_property
    def _table(self) -> Ratings | None:
        return Ratings(self.options.ratings, self.options) if self.options.ratings else None

    @cached_property
    def _columns(self) -> Columns:
        """Which fields of the samples are ratings and metadata; if there is a table, none is a rating."""
        options = ColumnOptions() if self._table else self.options
        records = list(islice(self._records(), LOOKED_AT))
        names = list(dict.fromkeys(name for record in records for name in record))
        if not names and not any(options.named_columns()):
            return Columns({}, [])
        whole = [{name: record.get(name) for name in names} for record in records]
        unread = unread_columns(whole, names, lists=options.multi_labels)
        named = () if self._table else options.rating_columns
        texts = {*FILES_OF_TEXT} - {*(named or ())}
        found = rating_columns(whole, names, named, texts, "the samples", options, unread)
        return replace(found, metadata=[*found.metadata, *(name for name in FILES_OF_TEXT if name in texts)])

    def _records(self) -> Iterator[Mapping[str, Cell]]:
        for shard in self.shards():
            index = self._index(shard)
            with open_regular(self._shards.path(shard)) as file:
                for key, files in index.samples.items():
                    yield self._record(shard, key, files, file)

    def _record(self, shard: str, key: str, files: Mapping[str, Place], file: BufferedReader) -> dict[str, Cell]:
        """What the sample's .json, .txt and .cls say."""
        found: dict[str, Cell] = {}
        for ending in ("json", *FILES_OF_TEXT):
            if ending not in files:
                continue
            try:
                data = read_at(file, files[ending], MOST_TEXT)
                found |= _fields(data) if ending == "json" else {ending: data.decode("utf-8-sig", "replace").strip()}
            except (ValueError, RecursionError) as error:
                self._unreadable[shard, key] = f"{key}.{ending} in {shard}: {str(error)[:200]}"
        return found

    def _item(self, shard: str, key: str, files: Mapping[str, Place], file: BufferedReader) -> saeviz.ImageItem:
        item_id = f"{shard}/{key}"
        place = next(place for ending, place in files.items() if ending not in TEXTS)
        source = FileSource(item_id, partial(self._picture, item_id, shard, place))
        version = f"{self._shards.version(shard)}-{place.offset}"
        record, columns = self._record(shard, key, files, file), self._columns
        known = columns.known({name: record.get(name) for name in columns.read})
        if self._table is None:
            return saeviz.ImageItem(item_id, source, **known, version=version)
        row = self._table.row(item_id, key)
        metadata = {name: text for name, text in known["metadata"].items() if name not in row.ratings}
        return saeviz.ImageItem(
            item_id, source, row.ratings, {**metadata, **row.metadata}, version, row.individual, row.group
        )

    def _picture(self, item_id: str, shard: str, place: Place) -> bytes:
        try:
            with open_regular(self._shards.path(shard)) as file:
                return read_at(file, place, MOST_PICTURE)
        except (OSError, ValueError, saeviz.DataError) as error:
            raise saeviz.ImageError(f"image {item_id!r} cannot be read: {reason_of(error)}") from error

    def _index(self, shard: str) -> Index:
        with self._lock:
            index = self._indices.pop(shard, None)
            if index is None:
                index = read_index(self._shards.path(shard), self._shards.names[shard])
                if index.left_out:
                    self._left_out[shard] = index.left_out
                while len(self._indices) >= OPEN_INDICES:
                    self._indices.popitem(last=False)
            self._indices[shard] = index
        return index

    def _check(self) -> None:
        """Raise `DataError` if nothing can come of the tar files, all of which have been read."""
        if not any(self._read.values()):
            looked_for = ", ".join(sorted(ending[1:] for ending in IMAGE_ENDINGS))
            raise saeviz.DataError(
                "; ".join(
                    [f"images: no images in {len(self._read)} tar files (looked for {looked_for})", *self.notes()]
                )
            )
        if self._table is not None:
            self._table.check()


def _fields(data: bytes) -> dict[str, Cell]:
    content: Any = json.loads(data.decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError("it is not an object of fields")
    return {same_form(name).encode("utf-8", "replace").decode(): cell for name, cell in content.items() if name}
