"""Read Parquet files a few rows at a time, pictures among them, so that no table and no picture is held."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import saeviz
from saeviz.toolkit.cells import Cell
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import Table, refuse_doubles
from saeviz.toolkit.table_parquet import cells_of, kind_of_type
from saeviz.toolkit.table_stream import ROWS_TOGETHER, Shard, Source
from saeviz.values.regular import open_regular, reason_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FEWEST_ROWS = 1000
"""Rows of a shard: as many row groups as it takes to have these."""
PICTURES_TOGETHER, RECENT = 16, 4
"""Pictures that are read at once, and how many times as many are kept for those who ask a little later."""
OPEN_FILES = 4
_BUFFER = 1 << 20


class ParquetStream:
    """The rows of one or several Parquet files, one file after another; a row is numbered from 0 in its file.

    `option` names the files in messages. Lists are read only in the columns `lists`; `meanings` gives what turns
    the cells of some columns into others, such as the number of a class into its name. Raises `DataError` for files
    that cannot be read, or that do not all have the columns of the first.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        path: Path,
        option: str,
        lists: Collection[str] = (),
        meanings: Callable[[pa.Schema], Mapping[str, Callable[[Cell], Cell]]] | None = None,
    ) -> None:
        self.sources = sources
        self.path = path
        self.option = option
        self._lists = frozenset(map(same_form, lists))
        self._lock = Lock()
        self._pictures: dict[int, Pictures] = {}
        with self._opened(0) as file:
            schema = file.schema_arrow
        self._meanings = {} if meanings is None else meanings(schema)
        kinds = {same_form(field.name): kind_of_type(field.type) for field in schema}
        kinds |= {name: "" for name, kind in kinds.items() if kind == "lists" and name in self._lists}
        self.unread = {name: kind for name, kind in kinds.items() if kind}
        self.columns = [name for name, kind in kinds.items() if not kind]

    def shards(self) -> Iterator[Shard]:
        """The parts of the files, known from their ends: row groups, several together if they are small."""
        for number, source in enumerate(self.sources):
            with self._opened(number) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            first_group = first_row = n_rows = 0
            for group, size in enumerate(sizes):
                n_rows += size
                if n_rows >= FEWEST_ROWS or (n_rows and group + 1 == len(sizes)):
                    yield Shard(f"{source.name}/{first_row}", number, range(first_group, group + 1), first_row, n_rows)
                    first_group, first_row, n_rows = group + 1, first_row + n_rows, 0

    def tables(self, shard: Shard, columns: Set[str] | None = None) -> Iterator[Table]:
        """The rows of a shard, some at a time, with these columns or all that are read."""
        first, wanted = shard.first_row, set(self.columns) if columns is None else columns
        with self._opened(shard.source) as file:
            names = [name for name in file.schema_arrow.names if same_form(name) in wanted]
            if len(names) < len(wanted):
                raise ValueError("it has not all columns of the first file")
            for batch in file.iter_batches(ROWS_TOGETHER, list(shard.part), names, use_threads=False):
                found = {same_form(name): self._cells(name, batch.column(name)) for name in names}
                where = self.path if len(self.sources) == 1 else Path(f"{self.sources[shard.source].name}.parquet")
                yield Table(where, found, range(first + 1, first + batch.num_rows + 1), [], self.unread)
                first += batch.num_rows

    def picture(self, source: int, column: str, row: int, /) -> bytes | str | None:
        """What a row has in a column of pictures: its bytes, the path of a file, or None. For threads.

        Raises `OSError` or `ValueError`.
        """
        with self._lock:
            pictures = self._pictures.pop(source, None) or Pictures(self.sources[source], column)
            self._pictures[source] = pictures
            old = list(self._pictures)[:-OPEN_FILES]
            closed = [self._pictures.pop(number) for number in old]
        for one in closed:
            one.close()
        return pictures.read(row)

    def close(self) -> None:
        """Close the files with pictures; another picture opens one again."""
        with self._lock:
            for pictures in self._pictures.values():
                pictures.close()

    def _cells(self, name: str, column: pa.Array) -> list[Cell]:
        meaning = self._meanings.get(name)
        return cells_of(column) if meaning is None else list(map(meaning, cells_of(column)))

    @contextmanager
    def _opened(self, number: int) -> Iterator[pq.ParquetFile]:
        source = self.sources[number]
        try:
            with source.open() as handle, opened(handle) as file:
                refuse_doubles(file.schema_arrow.names)
                yield file
        except (OSError, ValueError, NotImplementedError) as error:
            raise saeviz.DataError(f"{self.option}: {source.name} cannot be read: {reason_of(error)}") from error


class Pictures:
    """The pictures in one column, of bytes or of `{bytes, path}`, read when they are asked for. For threads.

    Those who ask in order, or nearly so, cause each to be read once; going back means reading its row groups again.
    """

    def __init__(self, source: Source, column: str) -> None:
        self._source = source
        self._column = column
        self._lock = Lock()
        self._handle: BinaryIO | None = None
        self._rows: Iterator[tuple[int, Any]] = iter(())
        self._next = -1
        self._recent: deque[tuple[int, Any]] = deque(maxlen=RECENT)

    def read(self, row: int) -> bytes | str | None:
        """The bytes of the picture of a row, the path of its file, or None if it has neither.

        Raises `OSError` or `ValueError`.
        """
        with self._lock:
            found = self._among_recent(row)
            if found is None:
                if not 0 <= self._next <= row:
                    self._start(row)
                while self._next <= row:
                    first, batch = next(self._rows, (0, None))
                    if batch is None:
                        raise ValueError("the table has fewer rows than before")
                    self._next = first + len(batch)
                    self._recent.append((first, batch))
                found = self._among_recent(row)
            cell = None if found is None else found.as_py()
        if isinstance(cell, dict):
            return cell.get("bytes") or cell.get("path")
        return cell

    def close(self) -> None:
        """Close the file; another picture opens it again."""
        with self._lock:
            self._forget()

    def _among_recent(self, row: int) -> Any:
        return next((batch[row - first] for first, batch in self._recent if first <= row < first + len(batch)), None)

    def _start(self, row: int) -> None:
        """Begin with the row group that has this row."""
        import pyarrow.parquet as pq

        self._forget()
        self._handle = self._source.open()
        file = pq.ParquetFile(self._handle, pre_buffer=False, buffer_size=_BUFFER)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = list(accumulate(sizes, initial=0))
        group = max(bisect_right(starts, row) - 1, 0)
        self._rows = self._batches(file, range(group, len(sizes)), starts[min(group, len(sizes))])
        self._next = starts[min(group, len(sizes))]

    def _batches(self, file: pq.ParquetFile, groups: range, first: int) -> Iterator[tuple[int, Any]]:
        names = [name for name in file.schema_arrow.names if same_form(name) == self._column]
        if not names:
            raise ValueError(f"it has no column {self._column!r} any more")
        for group in groups:
            for batch in file.iter_batches(PICTURES_TOGETHER, [group], names, use_threads=False):
                yield first, batch.column(0)
                first += batch.num_rows

    def _forget(self) -> None:
        self._rows, self._next = iter(()), -1
        self._recent.clear()
        if self._handle is not None:
            self._handle.close()
            self._handle = None


@contextmanager
def opened(handle: BinaryIO) -> Iterator[pq.ParquetFile]:
    """A Parquet file that is read piece by piece."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(handle, pre_buffer=False, buffer_size=_BUFFER) as file:
        yield file


def sources_of(path: Path, option: str) -> list[Source]:
    """The Parquet file, or those in a folder and below it, by name. Raises `DataError` if there is none."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if not file.name.startswith("."))
    if not files or not path.exists():
        raise saeviz.DataError(
            f"{option}: no Parquet files in {path}" if path.exists() else f"{option}: no file {path}"
        )
    base = path if path.is_dir() else path.parent
    return [local_source(file, base) for file in files]


def local_source(file: Path, base: Path) -> Source:
    """A file on this machine, called by its path below `base`."""
    return Source(_name_of(file, base), partial(open_regular, file), partial(_version_of, file))


def _name_of(file: Path, base: Path) -> str:
    path = file.relative_to(base) if file.is_relative_to(base) else Path(file.name)
    name = path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return same_form(name).removesuffix(".parquet")


def _version_of(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}-{stat.st_mtime_ns}"
