"""What a cell of a table holds, and a column: nothing, text, or something that a table is not read for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from saeviz.toolkit.names import same_form

Cell = Any
"""Text, a number or None, as read from the file."""

LOOKED_AT = 100
"""Values of a column, to know what it holds."""
SHOWN = 12
"""Names of columns in one message."""
_SAID_TO_BE_MISSING = frozenset(
    (
        *("", "na", "n/a", "n.a.", "n. a.", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "nat", "null", "(null)"),
        *("#value!", "#div/0!", "#ref!", "#name?", "#num!", "sysmis", "(missing)", "[na]", "n.v.", "k.a.", "\u2026"),
        *("#null!", "none", "nil", "missing", "?", "-", "--", "---", "\u2013", "\u2014", "\u2212", "...", "\\n", "._"),
        *(".", *(f".{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")),  # Stata's and SAS's
    )
)
_NO_METADATA = frozenset(["NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "(null)", "#NULL!", "NaT", "\\N"])
_VECTOR = re.compile(r"\s*[\[{(]\s*[-+\d.][-+\d.eE\s]*(,[-+\d.eE\s]+){7,}[\])}]\s*")


def is_missing(cell: Cell) -> bool:
    """Whether a rating is missing: an empty cell, None, NaN, or one of the usual codes such as `NA`, `n/a` or `.`."""
    if isinstance(cell, str):
        return cell.strip().lower() in _SAID_TO_BE_MISSING
    return _is_nothing(cell)


def cell_text(cell: Cell) -> str:
    """A cell as valid Unicode text, '' if it is empty or NaN; 12.0 becomes "12"."""
    if _is_nothing(cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = str(cell).strip()
    if text.lower() == "nan":
        return ""
    return text if text.isascii() else same_form(text).encode("utf-8", "replace").decode()


def metadata_text(cell: Cell) -> str:
    """A cell as metadata: '' if it is empty, a missing-value code such as `NA`, or a nested value."""
    if nested_kind(cell):
        return ""
    text = cell_text(cell)
    return "" if text in _NO_METADATA else text


def nested_kind(cell: Cell) -> str:
    """The kind of a nested cell ("lists", "structures", "bytes", "pictures" ...), '' for a single value."""
    if isinstance(cell, str):
        return "lists of numbers" if len(cell) > 32 and _VECTOR.fullmatch(cell) else ""
    if isinstance(cell, dict):
        return "pictures" if {"bytes", "path"} <= cell.keys() else "structures"
    if isinstance(cell, bytes | bytearray | memoryview):
        return "bytes"
    return "lists" if hasattr(cell, "__iter__") else ""


def kind_of_column(cells: Iterable[Cell], kind_of: Callable[[Cell], str] = nested_kind) -> str:
    """The kind of the values of a column that are not single ones, '' if they are single, or if there are none."""
    kinds = [kind_of(cell) for cell in islice((cell for cell in cells if not is_missing(cell)), LOOKED_AT)]
    return kinds[0] if kinds and all(kinds) else ""


def not_read(kinds: Mapping[str, str]) -> str:
    """A note on columns that hold no single values, by what they hold."""
    return f"not read, because they are not single values: {named_with(kinds)}"


def named_with(reasons: Mapping[str, str]) -> str:
    """Names of columns, each with something about it."""
    return listed([f"{name[:60]!r} ({reason})" for name, reason in reasons.items()])


def listed(names: Sequence[str]) -> str:
    """Names of columns, not too many of them."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name or "''" for name in names[:SHOWN]) + more


def shown(cell: Cell) -> str:
    """The first 40 characters of a cell, quoted for a message; of a nested cell only its kind."""
    kind = nested_kind(cell)
    return f"a cell with {kind}" if kind else repr(cell_text(cell)[:40])


def _is_nothing(cell: Cell) -> bool:
    return (
        cell is None or (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, Decimal) and cell.is_nan())
    )
