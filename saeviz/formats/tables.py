"""Write tables as CSV for people and as Parquet for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.files import atomic_path, write_atomic
from saeviz.formats.parquet import ROWS_TOGETHER, release_memory
from saeviz.formats.plain import csv_cell

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from saeviz.values.texts import Texts


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Replace a CSV table, which is for people: see `csv_cell` for text from outside in it."""
    shown = table.apply(lambda column: column.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell))
    shown.columns = [csv_cell(str(name)) for name in shown.columns]
    write_atomic(path, shown.to_csv(index=False, lineterminator="\n"))


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Replace a Parquet table."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True, row_group_size=ROWS_TOGETHER)
    release_memory()


def table_of_texts(columns: Mapping[str, Texts]) -> pd.DataFrame:
    """Columns of texts, which are not made objects in memory where pandas can do without."""
    import pandas as pd
    import pyarrow as pa

    arrays = {
        name: pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(texts.bounds), pa.py_buffer(texts.data))
        for name, texts in columns.items()
    }
    return pd.DataFrame({name: pd.Series(array, dtype="str") for name, array in arrays.items()})


def table_of_images(item_ids: Texts, columns: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Columns of numbers of these images, which are not copied."""
    import pandas as pd

    return pd.DataFrame({"item_id": table_of_texts({"item_id": item_ids})["item_id"], **columns}, copy=False)
