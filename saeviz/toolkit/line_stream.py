"""Read files with a record or the name of an image in each line a few lines at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import saeviz
from saeviz.toolkit.cells import Cell, kind_of_column, nested_kind
from saeviz.toolkit.names import same_form
from saeviz.toolkit.parquet_stream import local_source
from saeviz.toolkit.table import Table
from saeviz.toolkit.table_json import one_of_each
from saeviz.toolkit.table_stream import ROWS_TOGETHER, Part
from saeviz.values.regular import open_regular, reason_of

LISTS = frozenset({".txt", ".text", ".lst", ".list", ".urls", ""})
RECORDS = frozenset({".jsonl", ".ndjson"})
BYTES_TOGETHER = 1 << 20
"""Bytes of a part, up to the next end of a line."""
LONGEST_LINE = 16 << 20


class LineStream:
    """The lines of a file in UTF-8: records in JSON, or a list, whose lines are the column `image`.

    A row is numbered by the byte where its line begins, from 1. Columns are those of the first 10,000 lines. Raises
    `DataError` for a file that cannot be read.
    """

    def __init__(self, path: Path, option: str, lists: Collection[str] = ()) -> None:
        self.path, self.option = path, option
        self.sources = [local_source(path, path.parent)]
        self._is_list = path.suffix.lower() in LISTS
        self.unread: dict[str, str] = {}
        self.columns: Sequence[str] = ["image"]
        if self._is_list:
            return
        size = self._size()
        records = [record for _, record in islice(self._lines(range(size)), ROWS_TOGETHER)]
        names = dict.fromkeys(name for record in records for name in record)
        kinds = {name: kind_of_column((record.get(name) for record in records), _kind) for name in names}
        wanted = frozenset(map(same_form, lists))
        self.unread = {name: kind for name, kind in kinds.items() if kind and not (kind == "lists" and name in wanted)}
        self.columns = [name for name in names if name not in self.unread]

    def parts(self) -> Iterator[Part]:
        """Parts of about a megabyte, each of whole lines."""
        with self._opened() as file:
            size, start = self._size(), 0
            while start < size:
                stop = min(start + BYTES_TOGETHER, size)
                if stop < size:
                    file.seek(stop - 1)
                    file.readline(LONGEST_LINE)
                    stop = file.tell()
                yield Part(f"{self.sources[0].name}/{start}", 0, range(start, stop))
                start = stop

    def tables(self, part: Part, columns: Set[str] | None = None) -> Iterator[Table]:
        """The lines of a part, some at a time, without empty lines and comments of a list."""
        wanted = [name for name in self.columns if columns is None or name in columns]
        lines = self._lines(part.span)
        while some := list(islice(lines, ROWS_TOGETHER)):
            cells: dict[str, list[Cell]] = {name: [record.get(name) for _, record in some] for name in wanted}
            yield Table(self.path, cells, [number for number, _ in some], [], self.unread)

    def picture(self, _source: int, _column: str, _row: int, /) -> bytes | str | None:
        """There are none in text."""
        raise ValueError("a text file has no pictures in it")

    def close(self) -> None:
        """Nothing stays open."""

    def _lines(self, part: range) -> Iterator[tuple[int, dict[str, Cell]]]:
        """What is in each line that begins in this part, with the number of its row."""
        with self._opened() as file:
            file.seek(part.start)
            place = part.start
            while place < part.stop and (line := file.readline(LONGEST_LINE)):
                number, place = place + 1, place + len(line)
                try:
                    if len(line) == LONGEST_LINE:
                        raise ValueError(f"it has more than {LONGEST_LINE >> 20} MiB")
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                    record = self._record(text)
                except (ValueError, RecursionError) as error:
                    raise saeviz.DataError(
                        f"{self.option}: the line of {self.path.name} that begins at byte {number - 1:,} cannot be "
                        f"read: {error}"
                    ) from error
                if record is not None:
                    yield number, record

    def _record(self, text: str) -> dict[str, Cell] | None:
        if self._is_list:
            if "\t" in text:
                raise ValueError("it has a tab, so this is a table; save it as Parquet or JSON lines")
            return {"image": text} if text and not text.startswith("#") else None
        if not text:
            return None
        record = json.loads(text, object_pairs_hook=one_of_each)
        if not isinstance(record, dict):
            raise ValueError("it is not a record ({...})")
        return {same_form(name): cell for name, cell in record.items()}

    def _opened(self) -> BinaryIO:
        try:
            return open_regular(self.path)
        except OSError as error:
            raise saeviz.DataError(f"{self.option}: {self.path} cannot be read: {reason_of(error)}") from error

    def _size(self) -> int:
        with self._opened() as file:
            return file.seek(0, 2)


def _kind(cell: Cell) -> str:
    return "" if isinstance(cell, str) else nested_kind(cell)
