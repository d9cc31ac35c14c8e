"""Clean the labels of labelers: one line of a few words, without markup and control characters."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import replace
from math import isnan
from numbers import Real

from saeviz.values.naming import FeatureLabel

MAX_WORDS = 5
LONGEST = 80
"""Maximum length of a label, in characters; the only limit in scripts without spaces."""

_JOINERS = "\u200c\u200d"
"""Invisible, but needed to spell some languages and emoji."""
_SPACES = {"Cc", "Zl", "Zp", "Zs"}
_ESCAPE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_LEADING = re.compile(r"^(?:#{1,6}\s+|[-*+•>]\s+|\d{1,2}[.)]\s+)+")
_NAMED = re.compile(r"^(?:(?:feature|concept)\s+)?(?:label|name|title)\s*:\s+", re.IGNORECASE)
_MARKS = re.compile(r"[*`~<>]|\\(?=\W)")
_QUOTES = (0xAB, 0xBB, *range(0x2018, 0x2020), 0x2039, 0x203A, *range(0x300C, 0x3010))
_ENDS = " .,:;_'\"" + "".join(map(chr, _QUOTES))


def one_line(text: str) -> str:
    """The text on one line with single spaces, without terminal escapes and invisible or bidi control characters."""
    plain = unicodedata.normalize("NFC", _ESCAPE.sub("", text))
    kept = (" " if _is_space(char) else char for char in plain if _is_shown(char))
    return " ".join("".join(kept).split())


def label_words(text: str) -> str:
    """The words of a label, without line breaks, markup, surrounding quotation marks and final full stop.

    Raises `ValueError`, with the reason, if no word is left or it is too long for a name.
    """
    plain = _TAG.sub(" ", html.unescape(one_line(text)))
    plain = _LEADING.sub("", _LINK.sub(r"\1", one_line(plain)))
    plain = one_line(_MARKS.sub(" ", plain).replace('"', "'")).strip(_ENDS)
    plain = _NAMED.sub("", plain).strip(_ENDS)
    if not any(char.isalnum() for char in plain):
        raise ValueError("label is empty" if not plain else "label contains no word")
    n_words = len(plain.split())
    if n_words > MAX_WORDS:
        raise ValueError(f"label has {n_words} words; 1 to {MAX_WORDS} are allowed")
    if len(plain) > LONGEST:
        raise ValueError(f"label has {len(plain)} characters; at most {LONGEST} are allowed")
    return plain


def checked(label: FeatureLabel) -> FeatureLabel:
    """The label cleaned by `label_words`, and every other text put on one line.

    An empty label stays '' (the feature stays unnamed). Raises `TypeError` for a field of the wrong type, and
    `ValueError` for a confidence outside 0 to 1 or a label that cannot be cleaned.
    """
    texts = {"label": label.label, "description": label.description, "why": label.why}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {type(value).__name__}, not str")
    if not isinstance(label.elements, tuple | list) or not all(isinstance(one, str) for one in label.elements):
        raise TypeError("elements is not a tuple of str")
    return replace(
        label,
        label=label_words(label.label) if label.label.strip() else "",
        description=one_line(label.description),
        why=one_line(label.why),
        elements=tuple(line for one in label.elements if (line := one_line(one))),
        confidence=_share(label.confidence),
    )


def _share(value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"confidence is {type(value).__name__}, not a number or None")
    number = float(value)
    if isnan(number):
        return None
    if not 0 <= number <= 1:
        raise ValueError(f"confidence is {number:g}, not a number from 0 to 1")
    return number


def _is_space(char: str) -> bool:
    return unicodedata.category(char) in _SPACES


def _is_shown(char: str) -> bool:
    return char in _JOINERS or _is_space(char) or unicodedata.category(char)[0] not in "C"
