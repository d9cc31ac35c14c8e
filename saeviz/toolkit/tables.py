"""Read tables of ratings in any supported format."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import saeviz
from saeviz.toolkit.cells import Cell, cell_text, is_missing, not_read
from saeviz.toolkit.files import open_regular
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import IMAGE_COLUMNS, Table, explained
from saeviz.toolkit.table_json import read_json, read_json_lines
from saeviz.toolkit.table_kinds import advice_on, ending_of, refuse_what_is_no_text
from saeviz.toolkit.table_parquet import read_parquet
from saeviz.toolkit.table_text import read_csv, read_lines
from saeviz.toolkit.text_encoding import PIECE, text_of_start

__all__ = ["READERS", "Cell", "Table", "cell_text", "is_list", "is_missing", "read_list", "read_table"]

_LISTS = frozenset({"", ".txt", ".text", ".lst", ".list", ".urls"})
READERS: dict[str, Callable[..., Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".tab": read_csv,
    ".txt": read_csv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
}
"""The reader for each file name ending; text formats may also be compressed with gzip (`.csv.gz`)."""


def read_table(path: Path, option: str = "images.ratings", lists: Collection[str] = ()) -> Table:
    """Read the table in `path`; its file name ending tells the format.

    `option` is the option that named it. Lists are read only in the columns `lists`. Raises `DataError` if it cannot be
    read or has no rows.
    """
    ending = ending_of(path)
    read = READERS.get(ending.removesuffix(".gz"))
    if read is None:
        raise saeviz.DataError(
            f"{option}: {path} is not a table of a known kind ({', '.join(READERS)}); {advice_on(ending)}"
        )
    return _checked(partial(read, lists=frozenset(map(same_form, lists))), path, option)


def read_list(path: Path, option: str) -> Table:
    """Read the lines of a text file as the column `image`; an empty line or a # comment is a missing cell."""
    return _checked(read_lines, path, option)


def is_list(path: Path, option: str) -> bool:
    """Whether a file is a list with one image per line rather than a table. Raises `DataError` if it is unreadable."""
    if path.suffix.lower() not in _LISTS:
        return False
    if not path.is_file():
        return True
    with explained(path, option), open_regular(path) as file:
        start = file.read(PIECE)
        refuse_what_is_no_text(start)
    lines = text_of_start(start).splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return "\t" not in first and not any(
        len(cells) > 1 and {cell.strip().strip('"').lower() for cell in cells} & set(IMAGE_COLUMNS)
        for cells in (first.split(delimiter) for delimiter in ",;|")
    )


def _checked(read: Callable[[Path], Table], path: Path, option: str) -> Table:
    with explained(path, option):
        open_regular(path).close()  # fails for a pipe instead of blocking
        table = read(path)
    if not len(table) or not (table.columns or table.unread):
        raise saeviz.DataError(f"{option}: {path} has no rows")
    if table.unread:
        table.notes.append(f"{path.name}: {not_read(table.unread)}")
    return table
