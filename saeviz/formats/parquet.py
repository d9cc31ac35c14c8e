"""Rows of a Parquet table, read without the rest of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ROWS_TOGETHER = 1 << 16
"""Of a table that is written; whoever wants the rows of one feature passes over all groups without it."""


def read_whole(path: Path) -> pd.DataFrame:
    """The table. A column at a time is read: all at once would take twice the memory."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = []
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for name in file.schema_arrow.names:
            columns.append(file.read([name], use_threads=False).to_pandas())
            pa.default_memory_pool().release_unused()
    return pd.concat(columns, axis=1)


def rows_where(path: Path, where: Mapping[str, Any], columns: Collection[str] | None = None) -> pa.Table:
    """The rows that have the values `where`; those of `columns` that there are, or else all.

    Groups of rows that cannot hold what is wanted are passed over, and of the others few rows at a time are in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        kept = [name for name in schema.names if columns is None or name in columns]
        groups = [n for n in range(file.num_row_groups) if _may_hold(file.metadata.row_group(n), where)]
        batches = (
            file.iter_batches(ROWS_TOGETHER, groups, [*dict.fromkeys([*kept, *where])], use_threads=False)
            if groups
            else ()
        )
        found = [_those(batch, where).select(kept) for batch in batches]
    pa.default_memory_pool().release_unused()
    return pa.Table.from_batches(found, pa.schema([schema.field(name) for name in kept]))


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
