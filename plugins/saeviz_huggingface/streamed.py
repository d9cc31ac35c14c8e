"""The image provider `huggingface` where a data set is streamed: its Parquet files, in a folder or on the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from hashlib import sha256
from io import SEEK_SET, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import saeviz
from saeviz.toolkit.cells import Cell, listed
from saeviz.toolkit.hub_errors import what_the_hub_said
from saeviz.toolkit.names import same_form
from saeviz.toolkit.parquet_stream import ParquetStream
from saeviz.toolkit.ratings import Columns, choose_rating_columns
from saeviz.toolkit.streamed_rows import StreamedProvider, StreamedRows
from saeviz.toolkit.table_rows import JoinColumns
from saeviz.toolkit.table_stream import Source, TableStream, local_source
from saeviz.toolkit.torch import first_line
from saeviz_huggingface.loading import files_of, is_local, is_saved
from saeviz_huggingface.provider import HuggingFaceImages, class_name

if TYPE_CHECKING:
    from datasets import Features

    from saeviz_huggingface import HuggingFaceOptions

BLOCK = 1 << 20
"""Bytes of a file on the hub that are asked for at a time."""


def open_images(options: HuggingFaceOptions, context: saeviz.Context) -> HuggingFaceImages | StreamedImages:
    """The provider `huggingface`."""
    return StreamedImages(options, context) if options.stream else HuggingFaceImages(options, context)


class StreamedImages(StreamedProvider):
    """The rows of a data set's Parquet files, in order, read a few at a time: of the hub, by requests for parts.

    An item's id is what `item_column` has, otherwise `FILE/ROW`: the file without `.parquet`, and the row in it from 0.
    Class labels (by name) and text are metadata; lists and structures in a row are left out.
    """

    def __init__(self, options: HuggingFaceOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def images_of(self, stream: TableStream) -> StreamedRows:
        """The images, which are in a column."""
        item = self.options.item_column
        join = JoinColumns(None, None if item is None else self.first_rows.name_of(item, "item_column"), None)
        folder = Path(self.options.path).expanduser() if is_local(self.options.path) else None
        return StreamedRows(stream, join, self._columns, self._image_column, folder=folder)

    def open_stream(self) -> TableStream:
        """Open the Parquet files of the split."""
        path = self.options.path
        if is_saved(Path(path).expanduser()):
            raise saeviz.DataError(
                f"images.stream: {path} is from save_to_disk, which is read from the disk row by row; remove stream"
            )
        files, features = files_of(self.options, self.context)
        other = next((file for file in files if not file.endswith(".parquet")), None)
        if other is not None:
            raise saeviz.DataError(f"images.stream: only Parquet is streamed, not {Path(other).name}; remove stream")
        sources = _sources(files, path)
        return ParquetStream(
            sources, Path(path), "images.path", self.options.multi_labels, partial(_meanings, declared=features)
        )

    @cached_property
    def _image_column(self) -> str:
        unread, named = self.stream.unread, self.options.image_column
        found = [name for name, kind in unread.items() if kind == "pictures"]
        if named is None and len(found) == 1:
            return found[0]
        if named is not None and unread.get(named) in ("pictures", "bytes"):
            return named
        problem = "say which one" if named is None else f"{named!r} is not one of them"
        have = f"images are in {', '.join(found)}" if found else "no column has images"
        columns = listed([*self.stream.columns, *unread])
        raise saeviz.ConfigError(f"images.image_column: {problem}; {have}, the columns are {columns}")

    @cached_property
    def _columns(self) -> Columns:
        options = self.options
        if not self.first_rows.columns and not any(options.named_columns()):
            return Columns({}, [])
        return choose_rating_columns(self.first_rows, options.rating_columns, {options.item_column}, options)


def _sources(files: Sequence[str], path: str) -> list[Source]:
    """The files of a folder, or of the data set `path` on the hub, and of nowhere else."""
    if "://" not in "".join(files):
        base = Path(path).expanduser().resolve()
        return [local_source(Path(file), base) for file in files]
    sources = []
    for file in files:
        repository, _, name = file.removeprefix("hf://datasets/").partition("@")
        if not file.startswith("hf://datasets/") or repository != path:
            raise saeviz.DataError(f"images.path: {path} names data files elsewhere, which are not read")
        revision, _, inside = name.partition("/")
        version = f"hub-{sha256(file.encode()).hexdigest()[:16]}-{revision[:12]}"
        short = same_form(inside).removesuffix(".parquet")
        sources.append(Source(short, partial(_open, file, path), partial(str, version)))
    return sources


def _open(file: str, path: str) -> BinaryIO:
    return cast("BinaryIO", HubFile(file, path))


class HubFile(RawIOBase):
    """A file on the hub, of which parts are asked for as they are read. Errors are `OSError`s that say what to do."""

    def __init__(self, file: str, path: str) -> None:
        from huggingface_hub import HfFileSystem

        self._path = path
        self._file: Any = self._asked(lambda: HfFileSystem().open(file, "rb", block_size=BLOCK))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place in the file."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to another place; nothing is asked."""
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        return bytes(self._asked(lambda: self._file.read(size)))

    def close(self) -> None:
        """Ask for no more."""
        if not self.closed and "_file" in vars(self):
            self._file.close()
        super().close()

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except _of_the_network() as error:
            raise OSError(what_the_hub_said(error, f"datasets/{self._path}") or first_line(error)) from error


def _of_the_network() -> tuple[type[Exception], ...]:
    """What the hub's library raises; those of httpx, which newer ones use, are no `OSError`s."""
    try:
        from httpx import HTTPError
    except ImportError:
        return (OSError,)
    return (OSError, HTTPError)


def _meanings(schema: Any, declared: Features | None) -> Mapping[str, Callable[[Cell], Cell]]:
    """What turns the numbers of classes into their names, by column."""
    from datasets import ClassLabel, Features, LargeList, List

    meanings: dict[str, Callable[[Cell], Cell]] = {}
    for name, feature in (declared or Features.from_arrow_schema(schema)).items():
        inner = feature.feature if isinstance(feature, List | LargeList) else feature
        if isinstance(inner, ClassLabel):
            meanings[name] = partial(class_name, inner)
    return meanings
