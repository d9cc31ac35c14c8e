"""Turn database records into images: find the rating and metadata columns, and locate the pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from saeviz.toolkit.cells import Cell, kind_of_column, nested_kind, not_read
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.toolkit.names import existing
from saeviz.toolkit.ratings import Columns, choose, non_numbers
from saeviz.values.errors import ConfigError, DataError, ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

Record = Mapping[str, Any]

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def rating_columns(
    records: Iterable[Record],
    columns: Sequence[str],
    named: Sequence[str] | None,
    taken: Collection[str],
    where: str,
    options: ColumnOptions | None = None,
    unread: Mapping[str, str] | None = None,
) -> Columns:
    """Find the rating and metadata columns of records, see `saeviz.toolkit.ratings.choose`.

    `unread` columns are not in the records, see `unread_columns`. Raises `ConfigError` for a column that is named and
    is one of them, or not among `columns`.
    """
    unread, options = unread or {}, options or ColumnOptions()
    for name in named or ():
        require_column(columns, name, "rating_columns", unread, "numbers")
    for option, name in options.named_columns():
        require_column(columns, name, option, unread, "text")
    looked_at = [name for name in columns if name not in taken and name not in unread]
    further = (name for _, name in options.named_columns())
    cells: dict[str, list[Cell]] = {name: [] for name in (*looked_at, *(named or ()), *further)}
    notes = [f"{where}: {not_read(unread)}"] if unread else []
    if not cells:
        return Columns({}, [], notes)
    for record in records:
        for name, column in cells.items():
            column.append(record[name] if name in options.multi_labels else brief(record[name]))
    chosen = choose(cells, named and list(dict.fromkeys(named)), taken, where, options=options)
    odd = (note for name, reading in chosen.ratings.items() for note in non_numbers(name, reading, cells[name], where))
    return replace(chosen, notes=[*notes, *chosen.notes, *odd])


def unread_columns(
    records: Sequence[Record],
    columns: Iterable[str],
    kind_of: Callable[[Cell], str] = nested_kind,
    lists: Collection[str] = (),
) -> dict[str, str]:
    """Columns that hold no single values in these records but lists, structures or bytes, by what they hold.

    A database need not send them with every record; with long lists they are most of it. Lists are read in `lists`.
    """
    kinds = {name: kind_of_column((record[name] for record in records), kind_of) for name in columns}
    return {name: kind for name, kind in kinds.items() if kind and not (kind == "lists" and name in lists)}


def brief(cell: Cell) -> Cell:
    """The cell, or for a list, structure or bytes an empty value of the same kind, to save memory."""
    if isinstance(cell, str) or not nested_kind(cell):
        return cell
    return {"bytes": b"", "pictures": {"bytes": None, "path": None}, "structures": {}}.get(nested_kind(cell), [])


def require_column(
    columns: Sequence[str], name: str, option: str, unread: Mapping[str, str] | None = None, needed: str = ""
) -> None:
    """Raise `ConfigError` unless there is a column `name` that is not `unread`; `option` is how the user chose it.

    `needed` is what the column has to hold.
    """
    if unread and name in unread:
        raise ConfigError(f"images.{option}: {name!r} holds {unread[name]}, not {needed}")
    if name not in columns:
        raise ConfigError(f"images.{option}: no column {name!r}; there are: {', '.join(columns)}")


def unique_ids(records: Iterator[tuple[str | None, Record]], option: str) -> Iterator[tuple[str, Record]]:
    """The records with their ids; raises `DataError` if an id is missing or occurs twice."""
    seen: set[str] = set()
    for number, (item_id, record) in enumerate(records, 1):
        if not item_id:
            raise DataError(f"images.{option}: record {number} has no id")
        if item_id in seen:
            raise DataError(f"images.{option}: the id {item_id!r} occurs more than once; ids must be unique")
        seen.add(item_id)
        yield item_id, record


def picture_at(item_id: str, path: str | None, base: Path, *, inside: bool) -> Path | Callable[[], Image]:
    """The `ImageItem.source` of an item whose file is `path`, relative to `base`.

    Opening the source raises `ImageError` if there is no path or, with `inside`, if the file is outside `base`. Raises
    `DataError` if the path is a URL; the message does not quote it, because it may contain a password.
    """
    if not path:
        return missing_picture(item_id, "its record has no path")
    if _URL.match(path):
        raise DataError(
            f"images.path_column: item {item_id!r} has a URL instead of a file path; URLs belong in images.url_column"
        )
    file = Path(os.path.normpath(base / path))
    if "\0" in path or (inside and not file.is_relative_to(os.path.normpath(base))):
        return missing_picture(item_id, f"its path {path!r} leads out of images.folder")
    return existing(file)


def missing_picture(item_id: str, reason: str) -> Callable[[], Image]:
    """The `ImageItem.source` of an item without a readable picture; opening it raises `ImageError` with the reason."""

    def fail() -> NoReturn:
        raise ImageError(f"image {item_id!r} cannot be read: {reason}")

    return fail
