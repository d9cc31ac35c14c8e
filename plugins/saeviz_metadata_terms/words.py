"""Texts to words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_ENGLISH = """
    about above after all also am an and any are as at be been before below both but by can could did do does each for
    from had has have he her here hers him his how if in into is it its itself just me more most my near no nor not of
    off on one only or other our out over own she so some such than that the their them then there these they this those
    through to too under until up upon us very via was we were what when where which while who whom why will with would
    you your
"""
STOPWORDS = frozenset(_ENGLISH.split())


LONGEST = 40
"""Longest word in letters; anything longer is a digest, an address or unbroken text."""


def words(text: str, stopwords: Iterable[str] = STOPWORDS) -> list[str]:
    """The words of a text in order, in lower case, without numbers, single Latin letters and stop words.

    Letters, marks and digits of any script make words; everything else separates them.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    separated = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in plain)
    return [word for word in separated.split() if _says_something(word) and word not in stopwords]


def _says_something(word: str) -> bool:
    one_letter = len(word) == 1 and word.isascii()
    return any(char.isalpha() for char in word) and not one_letter and len(word) <= LONGEST
