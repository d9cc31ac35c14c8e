"""Parse delimited text: find the encoding, the delimiter and the header, and report malformed rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from saeviz.toolkit.cells import Cell
from saeviz.toolkit.names import same_form

_SAMPLE = 30
_MAC_LETTERS = frozenset(b"\x80\x81\x82\x83\x84\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x9a\x9b\x9c\x9d\x9e\x9f")
_ANSI_LETTERS = frozenset(range(0xC0, 0x100))
_NOT_IN_ANSI = frozenset(b"\x81\x8d\x8f\x90\x9d")
_SEPARATOR = re.compile(r'\s*"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)
_A_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d+)?\s*")
_AN_IMAGE = re.compile(r'\s*"?(https?://|[^,;\t"]+\.(jpe?g|png|webp|gif|tiff?|bmp|avif)\b)', re.IGNORECASE)


class Delimited(NamedTuple):
    """A parsed table: its columns, the line number at which each row begins, and its delimiter."""

    columns: dict[str, list[Cell]]
    lines: list[int]
    delimiter: str


class _Record(NamedTuple):
    line: int
    last_line: int
    width: int
    cells: list[str]


def decode(data: bytes, name: str) -> tuple[str, list[str]]:
    """The decoded text, and a note if the encoding had to be guessed. Raises `ValueError` if the data are not text."""
    marks = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    marked = next((encoding for mark, encoding in marks if data.startswith(mark)), None)
    if marked:
        return data.decode(marked), []
    if b"\0" in data[:1000]:
        for encoding, zeros in (("utf-16-le", data[1:1000:2]), ("utf-16-be", data[0:1000:2])):
            if zeros.count(0) > 0.7 * len(zeros):
                return data.decode(encoding), [f"{name} was read as UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        return _decode_old(data, name, error)


def _decode_old(data: bytes, name: str, error: UnicodeDecodeError) -> tuple[str, list[str]]:
    text = data.decode("utf-8", "replace")
    line = data.count(b"\n", 0, error.start) + 1
    if sum(sign > "\x7f" and sign != "\ufffd" for sign in text) > text.count("\ufffd"):
        raise ValueError(f"line {line} is not valid UTF-8, although the rest is; save it as UTF-8 again") from error
    high = [byte for byte in data if byte > 0x7F]
    mac = sum(byte in _MAC_LETTERS for byte in high)
    letters = sum(byte < 0x80 and chr(byte).isalpha() for byte in data)
    if max(sum(byte in _ANSI_LETTERS for byte in high), len(high) - mac) < mac < 0.3 * letters:
        return data.decode("mac_roman"), [f"{name} is not UTF-8; it was read as Mac Roman"]
    if any(byte in _NOT_IN_ANSI for byte in high):
        raise ValueError(f"its encoding is unknown (line {line}); save it as UTF-8") from error
    return data.decode("cp1252"), [f"{name} is not UTF-8; it was read as Windows-1252 (Latin-1)"]


def parse(text: str, candidates: str, known: Collection[str]) -> Delimited:
    """Parses a table. `candidates` are the possible delimiters, `known` common column names that help to choose one.

    Empty lines, comment lines (#) and columns with neither name nor content are left out. Raises `ValueError`, with the
    line number, if a row is too long or too short, a quotation mark is not closed, or two columns have the same name.
    """
    blank = len(text) - len(text.lstrip("\r\n"))
    marked = _SEPARATOR.fullmatch(text[blank:].split("\n", 1)[0].rstrip("\r"))
    delimiter = marked[1] if marked else _delimiter(text, candidates, known)
    records = _without_comments(_records(text, delimiter, skip=len(text[:blank].splitlines()) + 1 if marked else 0))
    first = next(records, None)
    if first is None:
        return Delimited({}, [], delimiter)
    header = [same_form(name.strip()) for name in first.cells]
    if header[0].startswith("#"):
        header[0] = header[0].lstrip("# ") or "#"
    return _filled(header, records, text, delimiter)


def _filled(header: Sequence[str], records: Iterator[_Record], text: str, delimiter: str) -> Delimited:
    lines: list[int] = []
    cells: list[list[str]] = [[] for _ in header]
    physical: list[str] = []
    blank = set(range(len(header)))
    left_out: dict[int, _Record] = {}
    for record in records:
        row = record.cells
        while len(row) > len(header) and not row[-1].strip():
            row.pop()
        missing = range(len(row), len(header))
        if len(row) > len(header) or not blank.issuperset(missing):
            raise _ragged(record, header)
        for place in missing:
            left_out.setdefault(place, record)
        row += [""] * len(missing)
        found = {place for place in blank if row[place].strip()}
        if found & left_out.keys():
            raise _ragged(left_out[min(found & left_out.keys())], header)
        blank -= found
        if record.last_line > record.line:
            physical = physical or _lines(text)
            _refuse_swallowed(record, physical, delimiter, len(header))
        lines.append(record.line)
        for column, cell in zip(cells, row, strict=True):
            column.append(cell)
    return Delimited(_named(header, cells), lines, delimiter)


def _named(header: Sequence[str], cells: list[list[str]]) -> dict[str, list[Cell]]:
    """Columns by name. One without a name is named as pandas would; one with neither name nor content is left out."""
    columns: dict[str, list[Cell]] = {}
    for place, (name, column) in enumerate(zip(header, cells, strict=True)):
        if not name:
            if not any(cell.strip() for cell in column):
                continue
            name = f"Unnamed: {place}"  # noqa: PLW2901
        if name in columns:
            raise ValueError(f"two columns are called {name!r}")
        columns[name] = [*column]
    return columns


def _records(text: str, delimiter: str, skip: int = 0) -> Iterator[_Record]:
    """The records that are not blank. Raises `ValueError` for a quotation mark that is not closed."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 0
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ValueError(
                f"in the row that begins in line {line + 1}, a quotation mark is not closed or text follows a "
                f"closed one ({error}); write a quotation mark inside a cell twice"
            ) from error
        if row is None:
            return
        start, line = line + 1, rows.line_num
        if start > skip and any(map(str.strip, row)):
            yield _Record(start, line, len(row), row)


def _without_comments(records: Iterator[_Record]) -> Iterator[_Record]:
    """The records without comment lines, which begin with # and have fewer or more cells than the next record."""
    width = 0
    comments: list[_Record] = []
    for record in records:
        is_comment = record.cells[0].lstrip().startswith("#")
        if not width and not is_comment:
            width = record.width
            if len(comments) == 1 and 1 < comments[0].width == width and _has_data(record):
                yield comments[0]  # a header that begins with #
            yield record
        elif not width:
            comments.append(record)
        elif not is_comment or record.width == width:
            yield record
    if not width:
        yield from comments[:1]


def _has_data(record: _Record) -> bool:
    return any(_A_NUMBER.fullmatch(cell) or _AN_IMAGE.match(cell) for cell in record.cells)


def _delimiter(text: str, candidates: str, known: Collection[str]) -> str:
    """The delimiter that gives a known name in the first line and splits most lines into as many cells as the first."""
    best, best_fit = candidates[0], (False, 0.0, 0)
    for candidate in candidates:
        sample: list[_Record] = []
        with suppress(ValueError):
            sample.extend(islice(_without_comments(_records(text, candidate)), _SAMPLE))
        if not sample or sample[0].width < 2:
            continue
        is_known = any(cell.strip(" #").lower() in known for cell in sample[0].cells)
        fit = (is_known, sum(record.width == sample[0].width for record in sample) / len(sample), sample[0].width)
        if fit > best_fit:
            best, best_fit = candidate, fit
    return best


def _ragged(record: _Record, header: Sequence[str]) -> ValueError:
    columns = "1 column" if len(header) == 1 else f"{len(header)} columns"
    return ValueError(
        f"line {record.line} has {record.width} cells, but the header has {columns}; put cells that contain the "
        f"delimiter in quotation marks"
    )


def _refuse_swallowed(record: _Record, physical: Sequence[str], delimiter: str, width: int) -> None:
    """Raise `ValueError` for a record that spans several lines, each of which would be a valid row."""
    lines = physical[record.line - 1 : record.last_line]
    if (
        width > 1
        and all(line.count(delimiter) == width - 1 for line in lines)
        and (width > 2 or any(_AN_IMAGE.match(line) for line in lines[1:]))
    ):
        raise ValueError(
            f"a quotation mark in line {record.line} seems not to be closed: the cell extends to line "
            f"{record.last_line}, and each of these lines would be a valid row"
        )


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
