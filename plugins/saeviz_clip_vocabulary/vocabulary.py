"""A list of terms from a text file."""

from __future__ import annotations

from pathlib import Path

import saeviz

BUILT_IN = Path(__file__).with_name("vocabulary.txt")


def read_terms(path: Path) -> list[str]:
    """The terms of a file in order, one a line, each once; blank lines and those that begin with # are left out.

    Raises `ConfigError` where the file cannot be read or has no term.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise saeviz.ConfigError(f"labeler.vocabulary: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise saeviz.ConfigError(f"labeler.vocabulary: {path} is not UTF-8 text: {error.reason}") from error
    terms = [" ".join(line.split()) for line in lines]
    kept = list(dict.fromkeys(term for term in terms if term and not term.startswith("#")))
    if not kept:
        raise saeviz.ConfigError(f"labeler.vocabulary: {path} has no terms; write one a line")
    return kept
