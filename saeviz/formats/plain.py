"""Convert values for JSON, and make text safe for a terminal."""

from __future__ import annotations

import json
import logging
import math
import re
import reprlib
import textwrap
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The value in plain Python types: NumPy numbers and arrays are converted, NaN and infinities become None."""
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
    r"""The text, safe for a terminal or log: without terminal escapes, bidirectional or invisible characters.

    Line ends and tabs stay; what Unicode counts as unprintable (control, format and surrogate characters, foreign line
    and paragraph separators, unusual spaces) is shown as an escape such as `\x1b` or `\u202e`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else _escaped(letter) for letter in text)


def one_line(text: str) -> str:
    """Like `safe`, but on one line, so that text from outside cannot forge another line."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


def quoted(value: Any, longest: int = 80) -> str:
    """A value from outside for a message: quoted if it is text, on one line, and shortened."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _MOST_BITS:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    return shortened(_bounded.repr(value), longest)


def shortened(text: str, longest: int = 80) -> str:
    """Text for a message: on one line, and shortened."""
    text = one_line(text)
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
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width ones begin a formula, too
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_bounded = _Bounded()


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def json_text(value: Any, *, encoding: str = "utf-8", indent: int | None = None) -> str:
    """JSON that is safe to show: what `safe` would escape is a JSON escape, so nothing of the value is lost.

    So is what `encoding`, that of the output, does not have.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=not encoding.lower().startswith("utf"))
    shown = (letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)
    return "".join(shown)


def csv_cell(text: str) -> str:
    """A cell of a table for spreadsheets: one line, and never a formula.

    An apostrophe goes before text, but not before a number, that begins like one; once, however often this is called.
    """
    text = one_line(text)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


class OneLineFormatter(logging.Formatter):
    """Log lines of which each is one: what comes from outside cannot forge another, nor steer a terminal.

    A traceback follows its line, indented.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """The line."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  logging's own name
        """The traceback."""
        return textwrap.indent(safe(super().formatException(ei)), "    ")
