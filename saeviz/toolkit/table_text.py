"""Read tables and lists in text files: CSV and similar formats, or one image per line."""

from __future__ import annotations

import gzip
from collections.abc import Collection
from pathlib import Path

from saeviz.toolkit.delimited import decode, parse
from saeviz.toolkit.files import read_regular
from saeviz.toolkit.table import IMAGE_COLUMNS, Table
from saeviz.toolkit.table_kinds import ending_of, refuse_what_is_no_text

MOST_UNPACKED = 1 << 30


def read_csv(path: Path, lists: Collection[str] = ()) -> Table:  # noqa: ARG001 - its cells are text
    """Read a table whose cells are separated by commas, tabs, semicolons or bars."""
    text, notes = text_of(path)
    found = parse(text, delimiters_of(path), IMAGE_COLUMNS)
    return Table(path, found.columns, found.lines, notes, delimiter=found.delimiter)


def delimiters_of(path: Path) -> str:
    """The delimiters that a table may have, the likeliest first."""
    return {".csv": ",;\t|", ".txt": "\t;,|"}.get(ending_of(path).removesuffix(".gz"), "\t,;|")


def read_lines(path: Path) -> Table:
    """Read the lines of a file as the column `image`; an empty line or a # comment is a missing cell."""
    text, notes = text_of(path)
    lines = [line.strip() for line in text.splitlines()]
    return Table(
        path, {"image": ["" if line.startswith("#") else line for line in lines]}, range(1, len(lines) + 1), notes
    )


def text_of(path: Path) -> tuple[str, list[str]]:
    """The text of a file, decompressed if its name ends in .gz, and notes on its encoding."""
    data = read_regular(path, MOST_UNPACKED) if path.suffix.lower() != ".gz" else _unpacked(path)
    refuse_what_is_no_text(data)
    text, notes = decode(data, path.name)
    refuse_zeros(text)
    return text, notes


def refuse_zeros(text: str) -> None:
    """Raise `ValueError` for the beginning of what is no text."""
    if text.count("\0", 0, 1000) > 10:
        raise ValueError("it is not a text file")


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        data = file.read(MOST_UNPACKED + 1)
    if len(data) > MOST_UNPACKED:
        raise ValueError(f"it is larger than {MOST_UNPACKED >> 20} MB when decompressed")
    return data
