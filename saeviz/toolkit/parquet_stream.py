"""Read Parquet files a few rows at a time, pictures among them, so that no table and no picture is held."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import saeviz
from saeviz.toolkit.cells import Cell
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import Table, refuse_doubles
from saeviz.toolkit.table_parquet import cells_of, kind_of_type
from saeviz.toolkit.table_stream import ROWS_TOGETHER, Part, Source, local_source
from saeviz.values.regular import reason_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FEWEST_ROWS = 1000
"""Rows of a part: as many row groups as it takes to have these."""
PICTURES_TOGETHER = 16
"""Pictures that are read at once."""
FEWEST_RECENT, MOST_RECENT, KEPT = 4, 64, 32 << 20
"""How many times as many are kept for others who ask a little later: as many as take this many bytes, within limits."""
READERS, OPEN_FILES = 2, 2
NEAR = 1000
"""Rows of the next row group that are passed over rather than beginning there."""
_BUFFER = 1 << 20
_TOO_FEW = "it is damaged: it has fewer rows than it says"


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

    def parts(self) -> Iterator[Part]:
        """The parts of the files, known from their ends: row groups, several together if they are small."""
        for number, source in enumerate(self.sources):
            with self._opened(number) as file:
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            first_group = first_row = n_rows = 0
            for group, size in enumerate(sizes):
                n_rows += size
                if n_rows >= FEWEST_ROWS or (n_rows and group + 1 == len(sizes)):
                    yield Part(f"{source.name}/{first_row}", number, range(first_group, group + 1), first_row, n_rows)
                    first_group, first_row, n_rows = group + 1, first_row + n_rows, 0

    def tables(self, part: Part, columns: Set[str] | None = None) -> Iterator[Table]:
        """The rows of a part, some at a time, with these columns or all that are read."""
        first, wanted = part.first_row, set(self.columns) if columns is None else columns
        with self._opened(part.source) as file:
            names = [name for name in file.schema_arrow.names if same_form(name) in wanted]
            if len(names) < len(wanted):
                raise ValueError("it has not all columns of the first file")
            for batch in file.iter_batches(ROWS_TOGETHER, list(part.span), names, use_threads=False):
                found = {same_form(name): self._cells(name, batch.column(name)) for name in names}
                where = self.path if len(self.sources) == 1 else Path(f"{self.sources[part.source].name}.parquet")
                yield Table(where, found, range(first + 1, first + batch.num_rows + 1), [], self.unread)
                first += batch.num_rows
            if first != part.first_row + part.n_rows:
                raise ValueError(_TOO_FEW)

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

    Two readers go through the file, so that a run that returns to the pictures it has just extracted goes through it
    twice, and not from the beginning of a row group each time.
    """

    def __init__(self, source: Source, column: str) -> None:
        self._source, self._column = source, column
        self._lock = Lock()
        self._readers: list[_Reader] = []

    def read(self, row: int) -> bytes | str | None:
        """The bytes of the picture of a row, the path of its file, or None if it has neither.

        Raises `OSError` or `ValueError`.
        """
        with self._lock:
            reader = next((one for one in self._readers if one.has(row)), None) or self._reader_before(row)
            try:
                cell = reader.read(row)
            except BaseException:
                self._readers.remove(reader)
                reader.close()
                raise
        found: bytes | str | None = (cell.get("bytes") or cell.get("path")) if isinstance(cell, dict) else cell
        return found

    def close(self) -> None:
        """Close the file; another picture opens it again."""
        with self._lock:
            for reader in self._readers:
                reader.close()
            self._readers.clear()

    def _reader_before(self, row: int) -> _Reader:
        """The reader that comes to this row soonest; if there is none, a new one in place of that used longest ago."""
        on_the_way = [one for one in self._readers if one.comes_to(row)]
        if on_the_way:
            reader = max(on_the_way, key=lambda one: one.next_row)
            self._readers.remove(reader)
        else:
            reader = _Reader(self._source, self._column, row)
            while len(self._readers) >= READERS:
                self._readers.pop(0).close()
        self._readers.append(reader)
        return reader


class _Reader:
    """Goes through the pictures of a file from the row group that has a row, and keeps the last ones it has read."""

    def __init__(self, source: Source, column: str, row: int) -> None:
        import pyarrow.parquet as pq

        self._handle = source.open()
        try:
            file = pq.ParquetFile(self._handle, pre_buffer=False, buffer_size=_BUFFER)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            names = [name for name in file.schema_arrow.names if same_form(name) == column]
            if not names or row >= sum(sizes):
                raise ValueError("the table has changed since it was first read")
        except BaseException:
            self._handle.close()
            raise
        self._starts: list[int] = list(accumulate(sizes, initial=0))
        group = bisect_right(self._starts, row) - 1
        self.next_row: int = self._starts[group]
        groups = list(range(group, len(sizes)))
        self._batches = file.iter_batches(PICTURES_TOGETHER, groups, names, use_threads=False)
        self._recent: deque[tuple[int, Any]] = deque()
        self._n_bytes = 0

    def has(self, row: int) -> bool:
        """Whether a row is among the last ones that were read."""
        return any(row in range(first, first + len(batch)) for first, batch in self._recent)

    def comes_to(self, row: int) -> bool:
        """Whether going on leads to a row about as soon as beginning with its row group would."""
        start: int = self._starts[bisect_right(self._starts, row) - 1]
        return start - NEAR <= self.next_row <= row

    def read(self, row: int) -> Any:
        """The cell of a row, which must not be before those that are kept."""
        while self.next_row <= row:
            found = next(self._batches, None)
            if found is None:
                raise ValueError(_TOO_FEW)
            batch = found.column(0)
            self._recent.append((self.next_row, batch))
            self.next_row += len(batch)
            self._n_bytes += batch.nbytes
            while len(self._recent) > FEWEST_RECENT and (len(self._recent) > MOST_RECENT or self._n_bytes > KEPT):
                self._n_bytes -= self._recent.popleft()[1].nbytes
        return next(batch[row - first].as_py() for first, batch in self._recent if row - first < len(batch))

    def close(self) -> None:
        """Close the file."""
        self._recent.clear()
        self._handle.close()


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
