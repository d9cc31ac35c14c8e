"""What tables have in common that are read a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from saeviz.toolkit.cells import Cell, not_read
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import Table
from saeviz.values.regular import open_regular

ROWS_TOGETHER = 10_000
"""Rows of a table in memory at a time, and those by which its columns are chosen."""
BYTES_TOGETHER = 1 << 20
"""Bytes of a part of a text file, up to the next end of a record."""


class Source(NamedTuple):
    """A file: its name in ids and messages, a function that opens it, and one whose text changes with it."""

    name: str
    open: Callable[[], BinaryIO]
    version: Callable[[], str]


class Part(NamedTuple):
    """A part of a file: its row groups, or its bytes.

    Its rows are numbered from `first_row` + 1; `n_rows` is 0 if that is not known without reading it.
    """

    name: str
    source: int
    span: range
    first_row: int = 0
    n_rows: int = 0


class TableStream(Protocol):
    """The rows of one or several files, one file after another."""

    @property
    def sources(self) -> Sequence[Source]:
        """The files."""
        ...

    @property
    def path(self) -> Path:
        """The file or the folder of all, for messages."""
        ...

    @property
    def option(self) -> str:
        """The option that names the files."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """The columns that are read, in order."""
        ...

    @property
    def unread(self) -> Mapping[str, str]:
        """The columns that are not read, by the kind of their values."""
        ...

    def parts(self) -> Iterator[Part]:
        """The parts of the files, in order, known without reading the rows."""
        ...

    def tables(self, part: Part, columns: Set[str] | None = None) -> Iterator[Table]:
        """The rows of a part, some at a time, with these columns or all that are read.

        Their numbers are unique in their file. Raises `DataError` if they cannot be read.
        """
        ...

    def picture(self, source: int, column: str, row: int, /) -> bytes | str | None:
        """What a row has in a column of pictures: its bytes, the path of a file, or None. For threads.

        Raises `OSError` or `ValueError`.
        """
        ...

    def close(self) -> None:
        """Close the files; reading opens one again."""
        ...


def head(stream: TableStream, n: int = ROWS_TOGETHER) -> Table:
    """The first rows, `n` at most."""
    columns: dict[str, list[Cell]] = {name: [] for name in stream.columns}
    first = Table(stream.path, columns, [], [], stream.unread)
    numbers: list[int] = []
    for table in chain.from_iterable(map(stream.tables, stream.parts())):
        for name, cells in table.columns.items():
            columns[name].extend(cells[: n - len(numbers)])
        numbers.extend(table.rows[: n - len(numbers)])
        first = replace(first, notes=table.notes, delimiter=table.delimiter)
        if len(numbers) == n:
            break
    return replace(first, rows=numbers)


def note_unread(stream: TableStream, besides: Collection[str] = ()) -> list[str]:
    """A note on the columns that are not read, but for those that are read otherwise."""
    unread = {name: kind for name, kind in stream.unread.items() if name not in besides}
    return [f"{stream.path.name}: {not_read(unread)}"] if unread else []


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
