"""Parse delimited text: find the encoding, the delimiter and the header, and report malformed rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple, TextIO

from saeviz.toolkit.cells import Cell
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import twice
from saeviz.toolkit.text_encoding import PIECE, encoding_of

LONGEST_LINE = 16 << 20
_SAMPLE = 30
_SEPARATOR = re.compile(r'\s*"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)
_A_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d+)?\s*")
_AN_IMAGE = re.compile(r'\s*"?(https?://|[^,;\t"]+\.(jpe?g|png|webp|gif|tiff?|bmp|avif)\b)', re.IGNORECASE)


class Delimited(NamedTuple):
    """A parsed table: its columns, the line number at which each row begins, and its delimiter."""

    columns: dict[str, list[Cell]]
    lines: list[int]
    delimiter: str


Lines = Callable[[], Iterable[str]]
"""Goes through the lines of a table from the first, each with its end."""


class Record(NamedTuple):
    """A record: the number of its first line, how many cells it had, its cells, and its lines, with their ends."""

    line: int
    width: int
    cells: list[str]
    lines: Sequence[str]


def decode(data: bytes, name: str) -> tuple[str, list[str]]:
    """The decoded text, and a note if the encoding had to be guessed. Raises `ValueError` if the data are not text."""
    codec, mark, notes = encoding_of(lambda: (data[at : at + PIECE] for at in range(0, len(data), PIECE)), name)
    return str(memoryview(data)[mark:], codec), notes


def parse(text: str, candidates: str, known: Collection[str]) -> Delimited:
    """Parses a table. `candidates` are the possible delimiters, `known` common column names that help to choose one.

    Empty lines, comment lines (#) and columns with neither name nor content are left out. Raises `ValueError`, with the
    line number, if a row is too long or too short, a quotation mark is not closed, or two columns have the same name.
    """
    records = Records(lambda: lines_of(io.StringIO(text, newline="")), candidates, known)
    numbers: list[int] = []
    cells: list[list[Cell]] = [[] for _ in records.header]
    for record in records:
        numbers.append(record.line)
        for column, cell in zip(cells, record.cells, strict=True):
            column.append(cell)
    return Delimited({name: cells[place] for place, name in records.names().items()}, numbers, records.delimiter)


def lines_of(file: TextIO) -> Iterator[str]:
    """The lines of a file that was opened with `newline=""`. Raises `ValueError` for one that is too long."""
    for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), ""), 1):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"line {number} has more than {LONGEST_LINE >> 20} million characters")
        yield line


class Records:
    """The records of a table after its header, one at a time: checked, and as long as the header.

    Once they have been gone through, `names` gives the columns. Raises what `parse` does.
    """

    def __init__(self, lines: Lines, candidates: str, known: Collection[str]) -> None:
        marked, skip = _separator(lines())
        self.delimiter = marked or _delimiter(lines, candidates, known)
        self._records = _without_comments(records_of(lines(), self.delimiter, skip))
        first = next(self._records, None)
        self.header = [] if first is None else [same_form(name.strip()) for name in first.cells]
        if self.header and self.header[0].startswith("#"):
            self.header[0] = self.header[0].lstrip("# ") or "#"
        self._blank = set(range(len(self.header)))

    def __iter__(self) -> Iterator[Record]:
        width = len(self.header)
        left_out: dict[int, Record] = {}
        for record in self._records:
            row = record.cells
            fit(row, width)
            missing = range(len(row), width)
            if len(row) > width or not self._blank.issuperset(missing):
                raise _ragged(record, self.header)
            for place in missing:
                left_out.setdefault(place, record)
            row += [""] * len(missing)
            found = {place for place in self._blank if row[place].strip()}
            if found & left_out.keys():
                raise _ragged(left_out[min(found & left_out.keys())], self.header)
            self._blank -= found
            if len(record.lines) > 1:
                _refuse_swallowed(record, self.delimiter, width)
            yield record

    def names(self) -> dict[int, str]:
        """The names of the columns by their places.

        One without a name is named as pandas would; one with neither name nor content is left out.
        """
        named = {
            place: name or f"Unnamed: {place}"
            for place, name in enumerate(self.header)
            if name or place not in self._blank
        }
        if (name := twice(named.values())) is not None:
            raise ValueError(f"two columns are called {name!r}")
        return named


def rows_of(lines: Iterable[str], delimiter: str, width: int) -> Iterator[Record]:
    """The records of a part of a table that has been checked: of whole records after the header, of `width` cells."""
    for record in records_of(lines, delimiter):
        if record.width == width or not _is_comment(record):
            fit(record.cells, width)
            yield record._replace(cells=record.cells + [""] * (width - len(record.cells)))


def fit(row: list[str], width: int) -> None:
    """Take empty cells from the end of a row until it has no more than `width`."""
    while len(row) > width and not row[-1].strip():
        row.pop()


def records_of(lines: Iterable[str], delimiter: str, skip: int = 0) -> Iterator[Record]:
    """The records that are not blank. Raises `ValueError` for a quotation mark that is not closed."""
    taken: list[str] = []
    rows = csv.reader(_noted(lines, taken), delimiter=delimiter, strict=True)
    line = 0
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            if "field limit" in str(error):
                raise ValueError(
                    f"in the row that begins in line {line + 1}, a quotation mark is not closed, or a cell has more "
                    f"than {csv.field_size_limit():,} characters"
                ) from error
            raise ValueError(
                f"in the row that begins in line {line + 1}, a quotation mark is not closed or text follows a "
                f"closed one ({error}); write a quotation mark inside a cell twice"
            ) from error
        if row is None:
            return
        start, line = line + 1, rows.line_num
        if start > skip and any(map(str.strip, row)):
            yield Record(start, len(row), row, tuple(taken))
        taken.clear()


def _noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _separator(lines: Iterable[str]) -> tuple[str, int]:
    """The delimiter that the first line names (`sep=;`), and the number of that line; '' and 0 if it names none."""
    first = next(((number, line) for number, line in enumerate(lines, 1) if line.strip("\r\n")), None)
    found = None if first is None else _SEPARATOR.fullmatch(first[1].rstrip("\r\n"))
    return ("", 0) if first is None or found is None else (found[1], first[0])


def _is_comment(record: Record) -> bool:
    return record.cells[0].lstrip().startswith("#")


def _without_comments(records: Iterator[Record]) -> Iterator[Record]:
    """The records without comment lines, which begin with # and have fewer or more cells than the next record."""
    width = n_comments = 0
    comment: Record | None = None
    for record in records:
        is_comment = _is_comment(record)
        if not width and not is_comment:
            width = record.width
            if comment and n_comments == 1 and 1 < comment.width == width and _has_data(record):
                yield comment  # a header that begins with #
            yield record
        elif not width:
            comment, n_comments = comment or record, n_comments + 1
        elif not is_comment or record.width == width:
            yield record
    if comment and not width:
        yield comment


def _has_data(record: Record) -> bool:
    return any(_A_NUMBER.fullmatch(cell) or _AN_IMAGE.match(cell) for cell in record.cells)


def _delimiter(lines: Lines, candidates: str, known: Collection[str]) -> str:
    """The delimiter that gives a known name in the first line and splits most lines into as many cells as the first."""
    best, best_fit = candidates[0], (False, 0.0, 0)
    for candidate in candidates:
        sample: list[Record] = []
        with suppress(ValueError):
            sample.extend(islice(_without_comments(records_of(lines(), candidate)), _SAMPLE))
        if not sample or sample[0].width < 2:
            continue
        is_known = any(cell.strip(" #").lower() in known for cell in sample[0].cells)
        fit = (is_known, sum(record.width == sample[0].width for record in sample) / len(sample), sample[0].width)
        if fit > best_fit:
            best, best_fit = candidate, fit
    return best


def _ragged(record: Record, header: Sequence[str]) -> ValueError:
    columns = "1 column" if len(header) == 1 else f"{len(header)} columns"
    return ValueError(
        f"line {record.line} has {record.width} cells, but the header has {columns}; put cells that contain the "
        f"delimiter in quotation marks"
    )


def _refuse_swallowed(record: Record, delimiter: str, width: int) -> None:
    """Raise `ValueError` for a record that spans several lines, each of which would be a valid row."""
    if (
        width > 1
        and all(line.count(delimiter) == width - 1 for line in record.lines)
        and (width > 2 or any(_AN_IMAGE.match(line) for line in record.lines[1:]))
    ):
        raise ValueError(
            f"a quotation mark in line {record.line} seems not to be closed: the cell extends to line "
            f"{record.line + len(record.lines) - 1}, and each of these lines would be a valid row"
        )
