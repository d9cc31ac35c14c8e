"""Read a table of any of the formats that ratings come in."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import saeviz
from saeviz.toolkit.names import same_form

Cell = Any
"""Text, a number or None, as the file has it."""


@dataclass(frozen=True)
class Table:
    """Columns of equal length. `first_row` is the number that people see at the first of them."""

    path: Path
    columns: Mapping[str, list[Cell]]
    first_row: int
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str, option: str) -> list[Cell]:
        """The column that `option` names; `ConfigError` where there is none."""
        if name in self.columns:
            return self.columns[name]
        close = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(self.columns)}"
        raise saeviz.ConfigError(f"images.{option}: {self.path.name} has no column {name!r}; {hint}")


def read_table(path: Path, option: str = "images.ratings") -> Table:
    """The table in `path`, which `option` names; what it is, its ending says. Raises `DataError` where it is none."""
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise saeviz.DataError(f"{option}: {path} is none of {', '.join(READERS)}")
    return _checked(read, path, option)


def read_list(path: Path, option: str) -> Table:
    """The lines of a text file as the column `image`; one that is empty or begins with # is a missing cell."""
    return _checked(_read_list, path, option)


def _checked(read: Callable[[Path], Table], path: Path, option: str) -> Table:
    try:
        table = read(path)
    except FileNotFoundError as error:
        raise saeviz.DataError(f"{option}: there is no file {path}") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise saeviz.DataError(f"{option}: {path} cannot be read: {error}") from error
    if not table.columns or not len(table):
        raise saeviz.DataError(f"{option}: {path} has no rows")
    return table


def cell_text(cell: Cell) -> str:
    """A cell as text that can be written anywhere, '' where it is missing; 12.0 is written 12."""
    if is_missing(cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = str(cell).strip()
    return text if text.isascii() else same_form(text).encode("utf-8", "replace").decode()


def is_missing(cell: Cell) -> bool:
    """Whether there is nothing: no value, blank text, or NaN, however it is written."""
    if isinstance(cell, str):
        return cell.strip().lower() in {"", "nan"}
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _read_csv(path: Path) -> Table:
    text, notes = _decode(path)
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t" if path.suffix.lower() == ".csv" else "\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip() for name in next(rows, [])]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}")
    columns: dict[str, list[Cell]] = {name: [] for name in names}
    for row in rows:
        if not row:
            continue
        if len(row) > len(names):
            raise ValueError(f"line {rows.line_num} has {len(row)} cells, but the header names {len(names)} columns")
        for name, cell in zip(names, row + [""] * (len(names) - len(row)), strict=True):
            columns[name].append(cell)
    return Table(path, columns, first_row=2, notes=notes)


def _read_list(path: Path) -> Table:
    text, notes = _decode(path)
    lines = [line.strip() for line in text.splitlines()]
    return Table(path, {"image": ["" if line.startswith("#") else line for line in lines]}, 1, notes)


def _decode(path: Path) -> tuple[str, list[str]]:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), [f"{path.name} is not UTF-8; it was read as Windows-1252 (Latin-1)"]


def _read_json(path: Path) -> Table:
    content = json.loads(path.read_bytes())
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        names = dict.fromkeys(name for row in content for name in row)
        return Table(path, {name: [row.get(name) for row in content] for name in names}, first_row=1)
    if isinstance(content, dict) and all(isinstance(column, dict) for column in content.values()):
        content = _align(content)
    if isinstance(content, dict) and all(isinstance(column, list) for column in content.values()):
        if len({len(column) for column in content.values()}) > 1:
            raise ValueError("its columns differ in length")
        return Table(path, content, first_row=1)
    raise ValueError("it is neither a list of records nor an object of columns")


def _align(columns: Mapping[str, Mapping[str, Cell]]) -> dict[str, list[Cell]]:
    rows: Iterable[str] = dict.fromkeys(row for column in columns.values() for row in column)
    return {name: [column.get(row) for row in rows] for name, column in columns.items()}


def _read_parquet(path: Path) -> Table:
    from pyarrow import parquet

    return Table(path, parquet.read_table(path).to_pydict(), first_row=1)


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
