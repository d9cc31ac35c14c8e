"""Read a table of any of the formats that ratings come in."""

from __future__ import annotations

import csv
import difflib
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.cells import Cell, cell_text, is_missing, nested_kind
from saeviz.toolkit.delimited import decode, parse
from saeviz.toolkit.files import open_regular
from saeviz.toolkit.names import same_form

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["READERS", "Cell", "Table", "cell_text", "is_list", "is_missing", "read_list", "read_table"]

MOST_UNPACKED = 1 << 30
IMAGE_COLUMNS = ("file", "filename", "file_name", "path", "file_path", "image", "image_path", "url", "image_url")
"""What a column of images is called where no option names it."""

_LISTS = frozenset({"", ".txt", ".text", ".lst", ".list", ".urls"})
_AS_CSV = "save it as CSV (UTF-8)"
_ADVICE = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), f"{_AS_CSV} from the spreadsheet program"),
    **dict.fromkeys((".sav", ".zsav", ".por"), f"{_AS_CSV} from SPSS, or with pandas.read_spss"),
    **dict.fromkeys((".dta",), f"{_AS_CSV} from Stata, or with pandas.read_stata"),
    **dict.fromkeys((".rds", ".rda", ".rdata"), f"{_AS_CSV} from R with write.csv"),
    **dict.fromkeys((".sas7bdat", ".xpt"), f"{_AS_CSV} from SAS, or with pandas.read_sas"),
    **dict.fromkeys(
        (".feather", ".arrow", ".ipc", ".orc", ".h5", ".hdf5"), "save it as Parquet or CSV, for instance with pandas"
    ),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz"), "save it as Parquet or CSV; pickles are never opened"),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db"), 'images.use = "sql" reads it'),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z"), "unpack it, or compress it with gzip (.csv.gz)"),
}
_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive", ".xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", ".xls"),
    (b"\x1f\x8b", "compressed with gzip; let its name end in .gz", ""),
    (b"PAR1", "a Parquet file; let its name end in .parquet", ""),
    (b"SQLite format 3\0", "a SQLite database", ".sqlite"),
    (b"%PDF", "a PDF document", ""),
    (b"$FL2", "an SPSS file", ".sav"),
    (b"<stata_dta>", "a Stata file", ".dta"),
    (b"<!DOCTYPE html", "a web page, perhaps from a failed download", ""),
    (b"<html", "a web page, perhaps from a failed download", ""),
)


@dataclass(frozen=True)
class Table:
    """Columns of equal length. `rows` are the numbers that people see at them.

    `unread` are the columns that hold no single values but lists, structures or bytes; they are not read.
    """

    path: Path
    columns: Mapping[str, list[Cell]]
    rows: Sequence[int]
    notes: list[str] = field(default_factory=list)
    unread: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def name_of(self, name: str, option: str) -> str:
        """The name of the column that `option` names; `ConfigError` where there is none."""
        if same_form(name) in self.columns:
            return same_form(name)
        if name in self.columns:
            return name
        if name in self.unread:
            raise saeviz.ConfigError(
                f"images.{option}: the column {name!r} of {self.path.name} holds {self.unread[name]}, "
                f"which are not read{_next_step(self.unread[name])}"
            )
        close = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(self.columns)}"
        raise saeviz.ConfigError(f"images.{option}: {self.path.name} has no column {name!r}; {hint}")

    def column(self, name: str, option: str) -> list[Cell]:
        """The column that `option` names; `ConfigError` where there is none."""
        return self.columns[self.name_of(name, option)]

    def find(self, names: Sequence[str], option: str, what: str) -> str | None:
        """The first of these columns that is there, whatever its case; `ConfigError` where it is not read."""
        by_lower = {name.lower(): name for name in reversed(list(self.columns))}
        exact = (name if name in self.columns else by_lower.get(name) for name in names)
        found = next(filter(None, exact), None)
        if found is None:
            for name, kind in self.unread.items():
                if name.lower() in names or kind == "pictures":
                    raise saeviz.ConfigError(
                        f"images.{option}: {self.path.name} has no column that names {what}; {name!r} holds "
                        f"{kind}{_next_step(kind)}"
                    )
        return found


def read_table(path: Path, option: str = "images.ratings") -> Table:
    """The table in `path`, which `option` names; what it is, its ending says. Raises `DataError` where it is none."""
    ending = _ending(path)
    read = READERS.get(ending.removesuffix(".gz"))
    if read is None:
        raise saeviz.DataError(
            f"{option}: {path} is not a table of a known kind ({', '.join(READERS)}); {_advice(ending)}"
        )
    return _checked(read, path, option)


def read_list(path: Path, option: str) -> Table:
    """The lines of a text file as the column `image`; one that is empty or begins with # is a missing cell."""
    return _checked(_read_list, path, option)


def is_list(path: Path, option: str) -> bool:
    """Whether a file is a list, a line per image, and not a table with columns. Raises `DataError` where unreadable."""
    if path.suffix.lower() not in _LISTS:
        return False
    if not path.is_file():
        return True
    try:
        first = next((line for line in _text(path)[0].splitlines() if line.strip() and not line.startswith("#")), "")
    except (OSError, ValueError) as error:
        raise _unreadable(error, path, option) from error
    return "\t" not in first and not any(
        len(cells) > 1 and {cell.strip().strip('"').lower() for cell in cells} & set(IMAGE_COLUMNS)
        for cells in (first.split(delimiter) for delimiter in ",;|")
    )


def _ending(path: Path) -> str:
    return "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _advice(ending: str) -> str:
    return _ADVICE.get(ending, "save it as CSV (UTF-8) or Parquet")


def _next_step(kind: str) -> str:
    return (
        ', as data sets on the Hugging Face hub do; images.use = "huggingface" reads them' if kind == "pictures" else ""
    )


def _checked(read: Callable[[Path], Table], path: Path, option: str) -> Table:
    try:
        open_regular(path).close()  # a pipe would be waited for
        table = read(path)
    except (OSError, EOFError, ValueError, csv.Error, RecursionError, NotImplementedError, zlib.error) as error:
        raise _unreadable(error, path, option) from error
    if not len(table) or not (table.columns or table.unread):
        raise saeviz.DataError(f"{option}: {path} has no rows")
    if table.unread:
        columns = ", ".join(f"{name} ({kind})" for name, kind in table.unread.items())
        table.notes.append(f"{path.name}: not read, because they are not single values: {columns}")
    return table


def _unreadable(error: Exception, path: Path, option: str) -> saeviz.DataError:
    if isinstance(error, FileNotFoundError):
        return saeviz.DataError(f"{option}: no file {path}")
    return saeviz.DataError(f"{option}: {path} cannot be read: {error}")


def _text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, unpacked where it ends in .gz, and notes on its encoding."""
    data = path.read_bytes() if path.suffix.lower() != ".gz" else _unpacked(path)
    for magic, what, ending in _MAGIC:
        if data[: len(magic)].lower() == magic.lower():
            raise ValueError(f"it is {what}" + (f"; {_advice(ending)}" if ending else ""))
    text, notes = decode(data, path.name)
    if text.count("\0", 0, 1000) > 10:
        raise ValueError("it is not a text file")
    return text, notes


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        data = file.read(MOST_UNPACKED + 1)
    if len(data) > MOST_UNPACKED:
        raise ValueError(f"it is larger than {MOST_UNPACKED >> 20} MB when it is unpacked")
    return data


def _read_csv(path: Path) -> Table:
    text, notes = _text(path)
    ending = _ending(path).removesuffix(".gz")
    found = parse(text, {".csv": ",;\t|", ".txt": "\t;,|"}.get(ending, "\t,;|"), IMAGE_COLUMNS)
    return Table(path, found.columns, found.lines, notes, delimiter=found.delimiter)


def _read_list(path: Path) -> Table:
    text, notes = _text(path)
    lines = [line.strip() for line in text.splitlines()]
    return Table(
        path, {"image": ["" if line.startswith("#") else line for line in lines]}, range(1, len(lines) + 1), notes
    )


def _read_json(path: Path) -> Table:
    text, notes = _text(path)
    content = json.loads(text, object_pairs_hook=_one_of_each)
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return _of_records(path, content, range(1, len(content) + 1), notes)
    if isinstance(content, dict) and all(isinstance(column, dict) for column in content.values()):
        content = _align(content)
    if isinstance(content, dict) and all(isinstance(column, list) for column in content.values()):
        lengths = {len(column) for column in content.values()}
        if len(lengths) > 1:
            raise ValueError("its columns differ in length")
        return _without_nested(path, content, range(1, max(lengths, default=0) + 1), notes)
    raise ValueError("it is neither a list of records nor an object of columns")


def _read_json_lines(path: Path) -> Table:
    text, notes = _text(path)
    records: list[dict[str, Cell]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_one_of_each)
        except ValueError as error:
            raise ValueError(f"line {number} is not a JSON record: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not a record ({{...}})")
        records.append(record)
        lines.append(number)
    return _of_records(path, records, lines, notes)


def _one_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; `json` itself would silently keep the last of two values with the same name."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError(f"an object has two values called {_twice(name for name, _ in pairs)!r}")
    return record


def _twice(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _of_records(path: Path, records: Sequence[Mapping[str, Cell]], rows: Sequence[int], notes: list[str]) -> Table:
    names = dict.fromkeys(name for record in records for name in record)
    return _without_nested(path, {name: [record.get(name) for record in records] for name in names}, rows, notes)


def _without_nested(path: Path, columns: Mapping[str, list[Cell]], rows: Sequence[int], notes: list[str]) -> Table:
    """The table without the columns in which every value is a list or a structure."""
    unread: dict[str, str] = {}
    for name, cells in columns.items():
        kinds = {nested_kind(cell) for cell in cells if not isinstance(cell, str) and not is_missing(cell)}
        if kinds and "" not in kinds and not any(isinstance(cell, str) and not is_missing(cell) for cell in cells):
            unread[same_form(name)] = sorted(kinds)[0]
    if (twice := _twice(map(same_form, columns))) is not None:
        raise ValueError(f"two columns are called {twice!r}")
    kept = {same_form(name): cells for name, cells in columns.items() if same_form(name) not in unread}
    return Table(path, kept, rows, notes, unread)


def _align(columns: Mapping[str, Mapping[str, Cell]]) -> dict[str, list[Cell]]:
    rows: Iterable[str] = dict.fromkeys(row for column in columns.values() for row in column)
    return {name: [column.get(row) for row in rows] for name, column in columns.items()}


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        if (twice := _twice(map(same_form, schema.names))) is not None:
            raise ValueError(f"two columns are called {twice!r}")
        kinds = {column.name: _kind_of_type(column.type) for column in schema}
        unread = {same_form(name): kind for name, kind in kinds.items() if kind}
        wanted = [name for name, kind in kinds.items() if not kind]
        n_rows = file.metadata.num_rows
        read = file.read(columns=wanted)
    columns: dict[str, list[Cell]] = {}
    for name in wanted:
        column = read.column(name)
        if pa.types.is_temporal(column.type):
            column = pc.cast(column, pa.string())
        columns[same_form(name)] = column.to_pylist()
    return Table(path, columns, range(1, n_rows + 1), [], unread)


def _kind_of_type(kind: pa.DataType) -> str:
    """What a column of this type holds that is no single value, '' where it holds single ones."""
    import pyarrow as pa

    types: Any = pa.types
    if types.is_dictionary(kind):
        return _kind_of_type(kind.value_type)
    if types.is_struct(kind):
        return "pictures" if {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)} else "structures"
    if types.is_map(kind) or types.is_union(kind):
        return "structures"
    if types.is_nested(kind):
        return "lists"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes"
    single = types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind)
    is_text = types.is_string(kind) or types.is_large_string(kind) or str(kind) in ("string_view",)
    return "" if single or is_text else str(kind)


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".tab": _read_csv,
    ".txt": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
"""For each ending the reader; the text formats may be compressed with gzip, too (`.csv.gz`)."""
