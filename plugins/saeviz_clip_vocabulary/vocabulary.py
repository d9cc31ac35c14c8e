"""A list of terms from a text file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import saeviz
from saeviz.toolkit.files import read_regular

MOST_WORDS = 5
BUILT_IN = Path(__file__).with_name("vocabulary.txt")


def read_terms(path: Path, option: str = "vocabulary") -> list[str]:
    """The terms of a file in order, one a line, each once; blank lines and those that begin with # are left out.

    Raises `ConfigError`, which names the `option`, where the file cannot be read or has no term.
    """
    try:
        lines = read_regular(path.expanduser()).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise saeviz.ConfigError(f"{option}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise saeviz.ConfigError(f"{option}: {path} is not UTF-8 text: {error.reason}") from error
    kept = tidy(line for line in lines if not line.lstrip().startswith("#"))
    if not kept:
        raise saeviz.ConfigError(f"{option}: {path} has no terms; write one per line")
    return kept


def refuse_sentences(terms: Iterable[str], option: str) -> None:
    """Raise `ConfigError` for a term that is too long for a label, before anything is computed."""
    for term in terms:
        if len(term.split()) > MOST_WORDS:
            raise saeviz.ConfigError(
                f"{option}: {term[:60]!r} has {len(term.split())} words, and a label has at most {MOST_WORDS}; "
                "shorten it"
            )


def tidy(terms: Iterable[str]) -> list[str]:
    """The terms in order, each once, without blank ones and with single spaces."""
    return list(dict.fromkeys(term for text in terms if (term := " ".join(text.split()))))
