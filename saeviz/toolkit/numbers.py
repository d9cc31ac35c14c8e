"""Parse numbers as people and programs write them: 3,5 and 3.5, 1,234 and 1.234, 5 %, −2, `7 - very much`."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

from saeviz.toolkit.cells import Cell, is_missing

LARGEST = 1e30
"""Larger numbers are not ratings: Stata, SPSS and NetCDF encode missing values as numbers from 1e36 on."""

_SIGNS = {
    **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-"),
    **dict.fromkeys("\ufe62\uff0b", "+"),
    **dict.fromkeys("\u066b\uff0e", "."),
    **dict.fromkeys("\u066c\uff0c", ","),
    **dict.fromkeys("\uff05\ufe6a\u066a", "%"),
    "\u2019": "'",
    "\uff1d": "=",
    "\uff1a": ":",
    "\uff08": "(",
    "\uff09": ")",
}
_SIMPLE = re.compile(r"[+-]?(\d+)(?:\.(\d+))?", re.ASCII)
_EXPONENT = r"(?:e[+-]?\d+)?"
_POINT = re.compile(
    rf"[+-]?(?:(?:\d+|[1-9]\d{{0,2}}(?:,\d{{3}})+|[1-9]\d{{0,2}}(?:[ ']\d{{3}})+)(?:\.\d*)?|\.\d+){_EXPONENT}",
    re.ASCII | re.IGNORECASE,
)
_COMMA = re.compile(
    rf"[+-]?(?:(?:\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+|[1-9]\d{{0,2}}(?:[ ']\d{{3}})+)(?:,\d+)?|,\d+){_EXPONENT}",
    re.ASCII | re.IGNORECASE,
)
_NUMBER_LIKE = re.compile(
    r"[^\w\s]{0,2}\s?\d+([.,]\d+)*\s?([^\d.][^\d.]{0,19})?|\d+\s?[-/:]\s?\d+|[^\d(]{1,60}\(\d+\)|[^\d=]{1,60}=\s?\d+|"
    r"\d+([.,]\d+)?\s?(±|\+/?-|\(|\[|of\s|out of\s|von\s|sur\s)\s?[-\d][-\d.,;\s]*[)\]]?",
    re.ASCII,
)
_LABELLED = re.compile(r"([+-]?\d+)(?:\s*=\s*|:\s+|\s+-\s+|\s*\(|\)\s*)(?=\D*[^\W\d_])\D+", re.ASCII)


class _Parsed(NamedTuple):
    """The value of a text read with a decimal point and with a decimal comma, None if it is not a number so read."""

    point: float | None
    comma: float | None
    percent: bool = False
    labelled: bool = False


@dataclass(frozen=True)
class Reading:
    """How the numbers of a column are written.

    `decimal` is None if points and commas both occur; an ambiguous text is then not a number.
    """

    decimal: Literal[".", ",", None] = "."
    percent: bool = False

    def number(self, cell: Cell) -> float | None:
        """The finite number in a cell, or None; for a cell such as `7 - very much`, the number in front."""
        if not isinstance(cell, str):
            if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
                return None
            return _finite(cell)
        parsed = _parse(cell)
        if parsed is None or (parsed.percent is not self.percent and not parsed.labelled):
            return None
        if self.decimal is not None:
            return parsed.point if self.decimal == "." else parsed.comma
        meanings = {parsed.point, parsed.comma} - {None}
        return meanings.pop() if len(meanings) == 1 else None


@dataclass(frozen=True)
class Survey:
    """How many cells of a column are numbers, by the way they are written."""

    filled: int
    native: int
    only_point: int
    only_comma: int
    either_point: int
    either_comma: int
    percent: int
    plain: int
    labelled: int

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Survey:
        """Count the cells of a column."""
        texts: Counter[str] = Counter(cell for cell in cells if isinstance(cell, str))
        others = [cell for cell in cells if not isinstance(cell, str) and not is_missing(cell)]
        counts: Counter[str] = Counter(native=sum(_READ_NATIVE(cell) is not None for cell in others))
        filled = len(others)
        for text, count in texts.items():
            parsed = _parse(text)
            if parsed is not None:
                filled += count
                for kind in _kinds(text, parsed):
                    counts[kind] += count
            elif not is_missing(text):
                filled += count
        names = ("native", "only_point", "only_comma", "either_point", "either_comma", "percent", "plain", "labelled")
        return cls(filled, *(counts[name] for name in names))

    def reading(self, comma_elsewhere: bool | None) -> Reading | None:
        """How to read the column, None if it is ambiguous.

        `comma_elsewhere` is whether the numbers of other columns have decimal commas, None if unknown.
        """
        percent = self.percent > self.plain + self.native
        if self.only_comma and self.only_point:
            return Reading(None, percent)
        if self.only_comma:
            return Reading(",", percent)
        if self.only_point or not self.either_comma:
            return Reading("," if self.either_point and not self.only_point and comma_elsewhere else ".", percent)
        return None if comma_elsewhere is None else Reading("," if comma_elsewhere else ".", percent)

    @property
    def numbers(self) -> int:
        """The number of cells that contain a number in any of these spellings."""
        return self.native + self.plain + self.percent + self.labelled


def commas(surveys: Iterable[Survey], delimiter: str) -> bool | None:
    """Whether the numbers of a table have decimal commas, None if unknown."""
    known = [survey for survey in surveys if 2 * survey.numbers > survey.filled]
    points = any(survey.only_point for survey in known)
    if any(survey.only_comma for survey in known) and not points:
        return True if delimiter != "," else None
    return False if points else (True if delimiter == ";" else None)


def has_number(cell: Cell) -> bool:
    """Whether a text contains a number in an unsupported spelling: `$3.50`, `3/7`, `3-4`, `12 kg`, `good (5)`."""
    return isinstance(cell, str) and _NUMBER_LIKE.fullmatch(_clean(cell)) is not None


def missing_codes(values: Sequence[float]) -> dict[int, int]:
    """Numbers that look like codes for missing values (99, -999 ...), and how often each occurs.

    Such codes lie further from the other values than these are spread, or are the only negative values.
    """
    counts = Counter(values)
    codes = {value for value in counts if value in _CODES}
    rest = [value for value in counts if value not in codes]
    if not codes or len(rest) < 2:
        return {}
    low, high = min(rest), max(rest)
    found = {
        int(code): counts[code] for code in codes if code > 2 * high - low or code < 2 * low - high or (code < 0 <= low)
    }
    return dict(sorted(found.items()))


_CODES = frozenset(
    [float(code) for code in (66, 77, 88, 95, 96, 97, 98, 99, 666, 777, 888, 995, 996, 997, 998, 999)]
    + [float(code) for code in (6666, 7777, 8888, 9996, 9997, 9998, 9999, 32767, 99999, 999999, 2147483647)]
    + [float(-code) for code in (7, 8, 9, 66, 77, 88, 97, 98, 99, 666, 777, 888, 997, 998, 999, 6666, 7777, 8888)]
    + [float(-code) for code in (9997, 9998, 9999, 32767, 32768, 99999, 999999, 2147483647, 2147483648)]
)
_READ_NATIVE = Reading().number


def _kinds(text: str, parsed: _Parsed) -> list[str]:
    """The counters of `Survey` that a number increases."""
    if parsed.labelled:
        return ["labelled"]
    kinds = ["percent" if parsed.percent else "plain"]
    if parsed.comma is None:
        kinds.append("only_point")
    elif parsed.point is None:
        kinds.append("only_comma")
    elif parsed.point != parsed.comma:
        kinds.append("either_comma" if "," in _clean(text) else "either_point")
    return kinds


@lru_cache(1 << 16)
def _parse(text: str) -> _Parsed | None:
    """Cached, since a million ratings often have only seven different values."""
    text = _clean(text)
    simple = _SIMPLE.fullmatch(text)
    if simple:
        number, (whole, decimals) = _finite(text), simple.groups()
        if number is None or decimals is None:
            return None if number is None else _Parsed(number, number)
        is_group = len(decimals) == 3 and len(whole) <= 3 and whole[0] != "0"
        return _Parsed(number, math.copysign(float(whole + decimals), number) if is_group else None)
    percent = text.endswith("%")
    text = text.removesuffix("%").rstrip() if percent else text
    point = _finite(re.sub("[, ']", "", text)) if _POINT.fullmatch(text) else None
    comma = _finite(re.sub("[. ']", "", text).replace(",", ".")) if _COMMA.fullmatch(text) else None
    if point is not None or comma is not None:
        return _Parsed(point, comma, percent)
    label = None if percent else _LABELLED.fullmatch(text)
    number = _finite(label[1]) if label else None
    return None if number is None else _Parsed(number, number, labelled=True)


def _clean(text: str) -> str:
    return text.strip() if text.isascii() else "".join(map(_plain, text)).strip()


def _plain(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    kind = unicodedata.category(sign)
    if kind == "Nd":
        return str(unicodedata.decimal(sign))
    return {"Zs": " ", "Cf": ""}.get(kind, sign)


def _finite(cell: str | float | Decimal) -> float | None:
    try:
        number = float(cell)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None
