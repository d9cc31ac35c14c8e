"""What a table says of each image, a row of the table each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from saeviz.toolkit.cells import cell_text
from saeviz.toolkit.ratings import Columns
from saeviz.toolkit.tables import Table


@dataclass(frozen=True)
class Row:
    """What the table says of one image; `file` and `item_id` are '' where it does not name them.

    `number` is that of its first row; `individual` has the ratings of single raters, by rating and rater.
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
    """Which columns say what a row is about, and by whom."""

    file: str | None
    item: str | None
    rater: str | None


def named_images(table: Table, join: JoinColumns) -> Iterator[tuple[str, str]]:
    """What each row calls its image: file and item id, '' where it does not say."""
    files = table.columns[join.file] if join.file else [None] * len(table)
    item_ids = table.columns[join.item] if join.item else [None] * len(table)
    return ((cell_text(file), cell_text(item_id)) for file, item_id in zip(files, item_ids, strict=True))


def wide_rows(table: Table, join: JoinColumns, columns: Columns) -> Iterator[Row]:
    """A row for an image."""
    read = {name: table.columns[name] for name in columns.read}
    for index, (file, item_id) in enumerate(named_images(table, join)):
        known = columns.known({name: cells[index] for name, cells in read.items()})
        yield Row(
            number=table.rows[index],
            file=file,
            item_id=item_id,
            **known,
        )
