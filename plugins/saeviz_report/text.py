"""How values are written for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

NO_VALUE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"

# Unicode's Bidi_Control characters, control characters, separators that end a line, what has no width (except for the
# joiners, which some scripts and emoji need), and surrogates, which have no UTF-8.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def visible(value: Any) -> Any:
    """Text whose invisible, direction-turning or unwritable characters are spelt out; other values as they are."""
    from markupsafe import Markup

    if isinstance(value, str) and not isinstance(value, Markup):
        return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", value)
    return value


def signed(value: float | None, digits: int = 2) -> str:
    """A number with its sign, `+0.31` or `−0.31`."""
    return NO_VALUE if value is None else f"{value:+.{digits}f}".replace("-", _MINUS)


def exact(value: float | None) -> str:
    """A p or q with two digits however small."""
    return NO_VALUE if value is None else f"{value:.2g}".replace("-", _MINUS)


def plain(value: Any) -> str:
    """Any value of a third party: a number short, nothing as a dash, what is nested in parentheses."""
    if value is None or value == "":
        return NO_VALUE
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_nested(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_nested(inner) for inner in value)
    return str(value)


def duration(seconds: float | None) -> str:
    """Seconds, for people."""
    if seconds is None:
        return NO_VALUE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _nested(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, Mapping | list | tuple) else plain(value)


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if math.isnan(value):
        return NO_VALUE
    is_whole = isinstance(value, int) or (abs(value) >= 1000 and math.isfinite(value))
    return (f"{value:,.0f}" if is_whole else f"{value:.3g}").replace("-", _MINUS)
