"""Checks of values where they are made: names, and what can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from traceback import TracebackException
from typing import Any

from saeviz.values.errors import MalformedError

DEEPEST = 50
"""How deeply lists and mappings may be nested."""


def kind_of(value: object) -> str:
    """What a value is, for a message: 'None', 'an int', 'a generator'."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def said_by(error: BaseException) -> str:
    """What an exception says, with its name; an exception may fail to say anything."""
    said = str(TracebackException(type(error), error, None))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def check_text(text: object, what: str, *, may_be_empty: bool = False) -> None:
    """Raise `MalformedError` unless it is text that can be written as UTF-8."""
    if not isinstance(text, str):
        raise MalformedError(f"{what} is {kind_of(text)}, not text")
    if not (text or may_be_empty):
        raise MalformedError(f"{what} is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MalformedError(f"{what} cannot be written as UTF-8: {text!r}") from None


def unwritable(value: Any, *, may_be_nan: bool = False) -> str | None:
    """What of a value cannot be written as JSON, and where; None if all can.

    Numbers and arrays of NumPy count as those of Python.
    """
    return _unwritable(value, "", may_be_nan, 0)


def _unwritable(value: Any, place: str, may_be_nan: bool, depth: int) -> str | None:
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            return f"{kind_of(wrong[0])} as a key{_at(place)}"
        entries = [(f"{place}[{key!r}]", entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        entries = [(f"{place}[{number}]", entry) for number, entry in enumerate(value)]
    else:
        return _unwritable_leaf(value, place, may_be_nan)
    if depth == DEEPEST:
        return f"more than {DEEPEST} lists in one another"
    found = (_unwritable(entry, inner, may_be_nan, depth + 1) for inner, entry in entries)
    return next((reason for reason in found if reason), None)


def _unwritable_leaf(value: object, place: str, may_be_nan: bool) -> str | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"text that is not valid{_at(place)}"
    elif isinstance(value, float):
        is_number = math.isfinite(value) or (may_be_nan and math.isnan(value))
        return None if is_number else f"the number {value}{_at(place)}"
    elif not (value is None or isinstance(value, bool | int)):
        return f"{kind_of(value)}{_at(place)}"
    return None


def _at(place: str) -> str:
    return f" at {place}" if place else ""
