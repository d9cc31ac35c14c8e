"""Read CSV and similar text a few rows at a time: one pass checks the table and finds where its parts begin."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence, Set
from itertools import islice
from pathlib import Path

import saeviz
from saeviz.toolkit.cells import Cell
from saeviz.toolkit.delimited import Records, lines_of, rows_of
from saeviz.toolkit.steady_file import SteadyFile
from saeviz.toolkit.table import IMAGE_COLUMNS, Table, explained
from saeviz.toolkit.table_kinds import refuse_what_is_no_text
from saeviz.toolkit.table_stream import BYTES_TOGETHER, ROWS_TOGETHER, Part
from saeviz.toolkit.table_text import delimiters_of, refuse_zeros
from saeviz.toolkit.text_encoding import encoding_of, text_of_start


class DelimitedStream:
    """The rows of a table in text, which are numbered by the lines of the file.

    Raises `DataError` where `read_table` does, and if the file changes after it was opened.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.path, self.option = path, option
        self.unread: dict[str, str] = {}
        with explained(path, option):
            self._file = SteadyFile(path)
            self.sources = [self._file.source]
            start = next(self._file.pieces(), b"")
            refuse_what_is_no_text(start)
            self._codec, self._mark, self._notes = encoding_of(self._file.pieces, path.name)
            refuse_zeros(text_of_start(start))
            self._place = self._line = 0
            records = Records(self._lines, delimiters_of(path), IMAGE_COLUMNS)
            self._parts = list(self._cut(records))
            self._file.check()
            self._names = records.names()
        self._delimiter, self._width = records.delimiter, len(records.header)
        self.columns: Sequence[str] = list(self._names.values())
        if not self._parts or not self.columns:
            raise saeviz.DataError(f"{option}: {path} has no rows")

    def parts(self) -> Iterator[Part]:
        """Parts of about a megabyte, each of whole records."""
        yield from self._parts

    def tables(self, part: Part, columns: Set[str] | None = None) -> Iterator[Table]:
        """The rows of a part, some at a time, with these columns or all."""
        wanted = {place: name for place, name in self._names.items() if columns is None or name in columns}
        with explained(self.path, self.option):
            text = io.StringIO(self._file.read(part.span).decode(self._codec), newline="")
            records = rows_of(lines_of(text), self._delimiter, self._width)
            while some := list(islice(records, ROWS_TOGETHER)):
                cells: dict[str, list[Cell]] = {
                    name: [record.cells[place] for record in some] for place, name in wanted.items()
                }
                numbers = [part.first_row + record.line for record in some]
                yield Table(self.path, cells, numbers, self._notes, delimiter=self._delimiter)

    def picture(self, _source: int, _column: str, _row: int, /) -> bytes | str | None:
        """There are none in text."""
        raise ValueError("a text file has no pictures in it")

    def close(self) -> None:
        """Nothing stays open."""

    def _cut(self, records: Records) -> Iterator[Part]:
        """The parts, the next of which begins where the record before it ends."""
        start, line, n_rows = self._place, self._line, 0
        for _ in records:
            n_rows += 1
            if self._place - start >= BYTES_TOGETHER:
                yield self._part(start, line, n_rows)
                start, line, n_rows = self._place, self._line, 0
        if n_rows:
            yield self._part(start, line, n_rows)

    def _part(self, start: int, line: int, n_rows: int) -> Part:
        return Part(f"{self._file.source.name}/{start}", 0, range(start, self._place), line, n_rows)

    def _lines(self) -> Iterator[str]:
        """The lines from the first; `_place` and `_line` are the byte and the number of the line that is read next."""
        self._place, self._line = self._mark, 0
        with self._file.source.open() as file:
            file.seek(self._mark)
            for line in lines_of(io.TextIOWrapper(file, self._codec, newline="")):
                self._place += len(line.encode(self._codec))
                self._line += 1
                yield line
