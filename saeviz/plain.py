"""Values as JSON can hold them, and text as a terminal can show it."""

from __future__ import annotations

import math
import reprlib
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


def safe(text: str) -> str:
    r"""The text for a terminal or a log: nothing in it moves the cursor, turns the writing round or is invisible.

    Line ends and tabs stay; what Unicode counts as unprintable (control, format and surrogate characters, foreign line
    and paragraph separators, unusual spaces) is shown as an escape such as `\x1b` or `\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def one_line(text: str) -> str:
    """The same without line ends and tabs, so that what comes from outside cannot forge a line of its own."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


def quoted(value: Any, longest: int = 80) -> str:
    """A value from outside, named in a message: in quotes if it is text, on one line and not longer than it helps."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _MOST_BITS:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    text = one_line(_bounded.repr(value))
    return text if len(text) <= longest else f"{text[: longest // 2]}...{text[-longest // 4 :]}"


class _Bounded(reprlib.Repr):
    """Values of any depth and size in a few words."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 200, 200

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write the largest ones."""
        return "..." if x.bit_length() > _MOST_BITS else super().repr_int(x, level)


_MOST_BITS = 256
_bounded = _Bounded()


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
