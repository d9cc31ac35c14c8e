"""Which columns of a table are ratings, their numbers, and whether a run has those that an option names."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache

import saeviz
from saeviz.toolkit.tables import Cell, Table, cell_text, is_missing

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_SPREAD_OR_COUNT = re.compile(r"(.+)[_ .-](sd|std|se|sem|var|n|count)", re.IGNORECASE)
_IDS = frozenset({"", "id", "index", "row", "item", "item_id", "image_id", "unnamed: 0", "__index_level_0__"})


def to_number(cell: Cell) -> float | None:
    """The finite number in a cell, or None."""
    if isinstance(cell, str):
        return _parse(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return None
    return _finite(cell)


@lru_cache(1 << 14)
def _parse(text: str) -> float | None:
    """Remembers, as a million ratings are often of seven kinds."""
    return _finite(text) if _NUMBER.fullmatch(text.strip()) else None


def _finite(cell: Cell) -> float | None:
    try:
        number = float(cell)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def check_names(names: Iterable[str], known: Collection[str], place: str, kind: str = "rating") -> None:
    """Raise `ConfigError` for a name that is not among those the images have, with the nearest one."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, known)) or 'none'}"
            raise saeviz.ConfigError(f"{place}: the images have no {kind} {name!r}; {hint}")


def choose_rating_columns(
    table: Table, named: Sequence[str] | None, join_columns: Collection[str | None]
) -> tuple[list[str], list[str]]:
    """The rating columns and notes about the choice.

    Named ones must exist and hold numbers, else `ConfigError`. By default a column is one when most of what is
    filled in are numbers, unless its name is that of an id or it is the spread or count of another column.
    """
    if named is not None:
        for name in named:
            cells = table.column(name, "rating_columns")
            if all(to_number(cell) is None for cell in cells):
                raise saeviz.ConfigError(
                    f"images.rating_columns: {name!r} of {table.path.name} has no numbers, its first value is "
                    f"{cell_text(cells[0])[:40]!r}"
                )
        return list(dict.fromkeys(named)), []
    numeric = [name for name in table.columns if name not in join_columns and _is_numeric(table.columns[name])]
    lowered = {name.lower() for name in numeric}
    about_others = [
        name for name in numeric if (match := _SPREAD_OR_COUNT.fullmatch(name)) and match[1].lower() in lowered
    ]
    chosen = [name for name in numeric if name not in about_others and name.lower() not in _IDS]
    name_them = "name them in images.rating_columns to change that"
    notes = []
    if about_others:
        columns = ", ".join(about_others)
        notes.append(f"{table.path.name}: {columns} look like spreads and counts, not like ratings; {name_them}")
    if not chosen:
        notes.append(f"{table.path.name}: no column is taken for a rating; {name_them}")
    return chosen, notes


def note_non_numbers(table: Table, name: str) -> list[str]:
    """A note about the cells of a rating column that are neither numbers nor empty."""
    cells = table.columns[name]
    wrong = [row for row, cell in enumerate(cells) if not is_missing(cell) and to_number(cell) is None]
    if not wrong:
        return []
    if len(wrong) == 1:
        what = f"1 value of {name!r} is not a finite number and counts as missing:"
    else:
        what = f"{len(wrong)} values of {name!r} are not finite numbers and count as missing, first"
    return [f"{table.path.name}: {what} {cell_text(cells[wrong[0]])[:40]!r} in row {table.first_row + wrong[0]}"]


def _is_numeric(cells: Sequence[Cell]) -> bool:
    filled = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(to_number(cell) is not None for cell in filled) > len(filled)
