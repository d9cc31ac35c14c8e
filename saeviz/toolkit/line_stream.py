"""Read files with a record or the name of an image in each line a few lines at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence, Set
from itertools import chain, islice
from pathlib import Path

from saeviz.toolkit.cells import Cell, kind_of_column, nested_kind
from saeviz.toolkit.names import same_form
from saeviz.toolkit.steady_file import SteadyFile
from saeviz.toolkit.table import Table, explained
from saeviz.toolkit.table_json import one_of_each
from saeviz.toolkit.table_stream import BYTES_TOGETHER, ROWS_TOGETHER, Part

LISTS = frozenset({".txt", ".text", ".lst", ".list", ".urls", ""})
RECORDS = frozenset({".jsonl", ".ndjson"})
LONGEST_LINE = 16 << 20


class LineStream:
    """The lines of a file in UTF-8: records in JSON, or a list, whose lines are the column `image`.

    A row is numbered by its line. Columns are those of the first 10,000 lines. Raises `DataError` for a file that
    cannot be read, or that changes after it was opened.
    """

    def __init__(self, path: Path, option: str, lists: Collection[str] = ()) -> None:
        self.path, self.option = path, option
        self._is_list = path.suffix.lower() in LISTS
        with explained(path, option):
            self._file = SteadyFile(path)
        self.sources = [self._file.source]
        self.unread: dict[str, str] = {}
        self.columns: Sequence[str] = ["image"]
        if self._is_list:
            return
        records = [record for _, record in islice(chain.from_iterable(map(self._lines, self.parts())), ROWS_TOGETHER)]
        names = dict.fromkeys(name for record in records for name in record)
        kinds = {name: kind_of_column((record.get(name) for record in records), _kind) for name in names}
        wanted = frozenset(map(same_form, lists))
        self.unread = {name: kind for name, kind in kinds.items() if kind and not (kind == "lists" and name in wanted)}
        self.columns = [name for name in names if name not in self.unread]

    def parts(self) -> Iterator[Part]:
        """Parts of about a megabyte, each of whole lines."""
        start = line = 0
        with explained(self.path, self.option), self._file.source.open() as file:
            while data := file.read(BYTES_TOGETHER):
                data += file.readline(LONGEST_LINE)
                yield Part(f"{self._file.source.name}/{start}", 0, range(start, start + len(data)), line)
                start, line = start + len(data), line + data.count(b"\n")
            self._file.check()

    def tables(self, part: Part, columns: Set[str] | None = None) -> Iterator[Table]:
        """The lines of a part, some at a time, without empty lines and comments of a list."""
        wanted = [name for name in self.columns if columns is None or name in columns]
        lines = self._lines(part)
        while some := list(islice(lines, ROWS_TOGETHER)):
            cells: dict[str, list[Cell]] = {name: [record.get(name) for _, record in some] for name in wanted}
            yield Table(self.path, cells, [number for number, _ in some], [], self.unread)

    def picture(self, _source: int, _column: str, _row: int, /) -> bytes | str | None:
        """There are none in text."""
        raise ValueError("a text file has no pictures in it")

    def close(self) -> None:
        """Nothing stays open."""

    def _lines(self, part: Part) -> Iterator[tuple[int, dict[str, Cell]]]:
        """What is in each line of this part, with its number."""
        with explained(self.path, self.option):
            for number, line in enumerate(self._file.read(part.span).split(b"\n"), part.first_row + 1):
                if len(line) >= LONGEST_LINE:
                    raise ValueError(f"line {number} has more than {LONGEST_LINE >> 20} MiB")
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise ValueError(f"line {number} is not valid UTF-8; save it as UTF-8") from error
                record = self._listed(text, number) if self._is_list else self._record(text, number)
                if record is not None:
                    yield number, record

    def _listed(self, text: str, number: int) -> dict[str, Cell] | None:
        if "\t" in text:
            raise ValueError(f"line {number} has a tab, so this is a table; give it the ending .tsv")
        return {"image": text} if text and not text.startswith("#") else None

    def _record(self, text: str, number: int) -> dict[str, Cell] | None:
        if not text:
            return None
        try:
            record = json.loads(text, object_pairs_hook=one_of_each)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not a JSON record: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not a record ({{...}})")
        return {same_form(name): cell for name, cell in record.items()}


def _kind(cell: Cell) -> str:
    return "" if isinstance(cell, str) else nested_kind(cell)
