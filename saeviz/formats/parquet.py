"""Read rows of a Parquet table without loading all of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.damage import UNREADABLE
from saeviz.values.columns import ColumnInfo, attrs_of, infos_in, infos_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

ATTRS = b"PANDAS_ATTRS"
"""Where pandas has the `attrs` of a table in its file."""
MOST_COLUMNS = 1000
ALWAYS_READ, MOST_TIMES = 2**30, 50
"""Bytes in memory that any table may take, and beyond these the multiple of its file."""
_BYTES_PER_VALUE = 8
_AT_A_TIME = 4096
ROWS_TOGETHER = 1 << 16
"""Rows per group of a table that is written; reading the rows of one feature skips the groups without it."""


def read_whole(path: Path, most_columns: int = MOST_COLUMNS) -> pd.DataFrame:
    """Read a table, one column at a time, which halves the peak memory."""
    import pandas as pd
    import pyarrow.parquet as pq

    columns = []
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        _check_columns(file, most_columns)
        check_size(file, path)
        for name in file.schema_arrow.names:
            columns.append(file.read([name], use_threads=False).to_pandas(ignore_metadata=True))
            release_memory()
        found = pd.concat(columns, axis=1)
        found.attrs |= attrs_of(found, infos_in(_attrs(file)))
    return found


def batches_of(path: Path, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """These columns, some thousand rows at a time. Raises one of `UNREADABLE` for a damaged table."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        _check_columns(file, MOST_COLUMNS)
        check_size(file, path)
        if missing := [name for name in columns if name not in file.schema_arrow.names]:
            raise ValueError(f"it has no column {missing[0]!r}")
        yield from file.iter_batches(_AT_A_TIME, columns=list(columns), use_threads=False)


def release_memory() -> None:
    """Give back the memory of tables that are gone, which pyarrow would keep."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def columns_in(path: Path) -> list[ColumnInfo]:
    """The columns of a table, with what it says of them. Raises one of `UNREADABLE` for a damaged one."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        known = infos_of(names, infos_in(_attrs(file)))
    return [replace(known[name], name=name) if name in known else ColumnInfo(name) for name in names]


def _attrs(file: pq.ParquetFile) -> Any:
    """The `attrs` of a table as pandas writes them; a table of an earlier version has none."""
    try:
        return json.loads((file.schema_arrow.metadata or {}).get(ATTRS, b"{}"))
    except UNREADABLE:
        return {}


def rows_where(path: Path, where: Mapping[str, Any], columns: Collection[str] | None = None) -> pa.Table:
    """The rows with the values in `where`, with those of `columns` that exist, or all.

    A column that the table lacks is taken to be empty, so '' leaves all rows.

    Row groups that cannot contain matches are skipped, and only few rows at a time are in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        _check_columns(file, MOST_COLUMNS)
        check_size(file, path)
        schema = file.schema_arrow
        where = _as_stored(where, schema)
        kept = [name for name in schema.names if columns is None or name in columns]
        groups = [n for n in range(file.num_row_groups) if _may_hold(file.metadata.row_group(n), where)]
        batches = (
            file.iter_batches(ROWS_TOGETHER, groups, [*dict.fromkeys([*kept, *where])], use_threads=False)
            if groups
            else ()
        )
        found = [_those(batch, where).select(kept) for batch in batches]
    release_memory()
    return pa.Table.from_batches(found, pa.schema([schema.field(name) for name in kept]))


def check_size(file: pq.ParquetFile, path: Path) -> None:
    """Raise `ValueError` for a small file of more values than fit into memory; repeated ones take no room in it."""
    known = file.metadata
    size = known.num_rows * known.num_columns * _BYTES_PER_VALUE
    if size > max(ALWAYS_READ, MOST_TIMES * path.stat().st_size):
        raise ValueError(f"it would unpack to {size / 2**30:,.0f} GB")


def _check_columns(file: pq.ParquetFile, most: int) -> None:
    """Raise `ValueError` for more columns than such a table has, or two of one name."""
    names = file.schema_arrow.names
    if len(names) > most:
        raise ValueError(f"it has {len(names):,} columns")
    if len(set(names)) < len(names):
        raise ValueError("it has two columns of the same name")


def _as_stored(where: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The values as the columns have them: a layer is a number or, beside named stages, text."""
    import pyarrow as pa

    found = {}
    for name, value in where.items():
        if name in schema.names or value != "":
            kind = schema.field(name).type
            is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
            found[name] = str(value) if is_text else value
    return found


def _may_hold(group: Any, where: Mapping[str, Any]) -> bool:
    for number in range(group.num_columns):
        column = group.column(number)
        value, known = where.get(column.path_in_schema), column.statistics
        is_told = known is not None and known.has_min_max and isinstance(value, type(known.min))
        if is_told and not known.min <= value <= known.max:
            return False
    return True


def _those(batch: pa.RecordBatch, where: Mapping[str, Any]) -> pa.RecordBatch:
    import pyarrow.compute as pc

    for name, value in where.items():
        batch = batch.filter(pc.equal(batch[name], value))
    return batch
