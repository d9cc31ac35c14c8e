"""Rows of a table, one per image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from saeviz.toolkit.cells import cell_text
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.tables import Table


@dataclass(frozen=True)
class Row:
    """One image in the table; `file` and `item_id` are '' if the table does not give them.

    `number` is the number of its first row; `individual[rating][rater]` is the rating by one rater.
    """

    number: int
    file: str
    item_id: str
    ratings: Mapping[str, float]
    metadata: Mapping[str, str]
    individual: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    group: str | None = None

    def __str__(self) -> str:
        return f"{(self.item_id or self.file)!r} (row {self.number})"


@dataclass(frozen=True)
class JoinColumns:
    """The columns that identify a row's image and its rater; None if the table has no such column."""

    file: str | None
    item: str | None
    rater: str | None


def named_images(table: Table, join: JoinColumns) -> Iterator[tuple[str, str]]:
    """The file and the item id of each row's image, '' if not given."""
    files = table.columns[join.file] if join.file else [None] * len(table)
    item_ids = table.columns[join.item] if join.item else [None] * len(table)
    return ((cell_text(file), cell_text(item_id)) for file, item_id in zip(files, item_ids, strict=True))


def wide_rows(table: Table, join: JoinColumns, columns: Columns) -> Iterator[Row]:
    """The rows of a wide table, which has one row per image."""
    read = {name: table.columns[name] for name in columns.read}
    for index, (file, item_id) in enumerate(named_images(table, join)):
        known = columns.known({name: cells[index] for name, cells in read.items()})
        yield Row(
            number=table.rows[index],
            file=file,
            item_id=item_id,
            **known,
        )
