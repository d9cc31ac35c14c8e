"""Values as JSON can hold them, and text as a terminal can show it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The same value of Python's own types: NumPy numbers and arrays converted, NaN and infinities as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def one_line(text: str) -> str:
    """The text for a terminal or a log: nothing in it ends a line, moves the cursor or turns the writing round."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
