"""Tables in Parquet files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.parquet import check_size
from saeviz.toolkit.cells import Cell
from saeviz.toolkit.names import same_form
from saeviz.toolkit.table import Table, refuse_doubles

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path, lists: Collection[str] = ()) -> Table:
    """The table in a Parquet file, without the columns that hold no single values, but with `lists`."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        check_size(file, path)
        schema = file.schema_arrow
        refuse_doubles(schema.names)
        kinds = {column.name: kind_of_type(column.type) for column in schema}
        kinds |= {name: "" for name, kind in kinds.items() if kind == "lists" and same_form(name) in lists}
        unread = {same_form(name): kind for name, kind in kinds.items() if kind}
        wanted = [name for name, kind in kinds.items() if not kind]
        n_rows = file.metadata.num_rows
        read = file.read(columns=wanted)
    columns: dict[str, list[Cell]] = {}
    for name in wanted:
        columns[same_form(name)] = cells_of(read.column(name))
    return Table(path, columns, range(1, n_rows + 1), [], unread)


def cells_of(column: pa.Array | pa.ChunkedArray) -> list[Cell]:
    """The cells of a column; dates and times as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells: list[Cell] = (pc.cast(column, pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist()
    return cells


def kind_of_type(kind: pa.DataType) -> str:
    """The kind of nested values in a column of this type, '' for single values."""
    import pyarrow as pa

    types: Any = pa.types
    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
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
