"""Read tables in JSON: a list of records, an object of columns, or one record per line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saeviz.toolkit.cells import Cell, kind_of_column, nested_kind
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import Table, refuse_doubles, twice
from saeviz.toolkit.table_text import text_of


def read_json(path: Path, lists: Collection[str] = ()) -> Table:
    """Read a table from a JSON file. Raises `ValueError` if it is not one."""
    text, notes = text_of(path)
    content = json.loads(text, object_pairs_hook=one_of_each)
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return _of_records(path, content, range(1, len(content) + 1), notes, lists)
    if isinstance(content, dict) and all(isinstance(column, dict) for column in content.values()):
        content = _align(content)
    if isinstance(content, dict) and all(isinstance(column, list) for column in content.values()):
        lengths = {len(column) for column in content.values()}
        if len(lengths) > 1:
            raise ValueError("its columns differ in length")
        return _without_nested(path, content, range(1, max(lengths, default=0) + 1), notes, lists)
    raise ValueError("it is neither a list of records nor an object of columns")


def read_json_lines(path: Path, lists: Collection[str] = ()) -> Table:
    """Read a table from a file with one JSON record per line."""
    text, notes = text_of(path)
    records: list[dict[str, Cell]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=one_of_each)
        except ValueError as error:
            raise ValueError(f"line {number} is not a JSON record: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not a record ({{...}})")
        records.append(record)
        lines.append(number)
    return _of_records(path, records, lines, notes, lists)


def one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate names; `json` itself would silently keep only the last of two values."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError(f"an object has two values called {twice(name for name, _ in pairs)!r}")
    return record


def _of_records(
    path: Path, records: Sequence[Mapping[str, Cell]], rows: Sequence[int], notes: list[str], lists: Collection[str]
) -> Table:
    names = dict.fromkeys(name for record in records for name in record)
    return _without_nested(path, {name: [record.get(name) for record in records] for name in names}, rows, notes, lists)


def _without_nested(
    path: Path, columns: Mapping[str, list[Cell]], rows: Sequence[int], notes: list[str], lists: Collection[str]
) -> Table:
    """The table without the columns in which every value is a list or a structure, but with `lists`."""
    kinds = {same_form(name): kind_of_column(cells, _kind) for name, cells in columns.items()}
    unread = {name: kind for name, kind in kinds.items() if kind and not (kind == "lists" and name in lists)}
    refuse_doubles(columns)
    kept = {same_form(name): cells for name, cells in columns.items() if same_form(name) not in unread}
    return Table(path, kept, rows, notes, unread)


def _kind(cell: Cell) -> str:
    """Text is read, even text that is a list of numbers."""
    return "" if isinstance(cell, str) else nested_kind(cell)


def _align(columns: Mapping[str, Mapping[str, Cell]]) -> dict[str, list[Cell]]:
    rows: Iterable[str] = dict.fromkeys(row for column in columns.values() for row in column)
    return {name: [column.get(row) for row in rows] for name, column in columns.items()}
