"""Find the encoding of text, of which a piece at a time is in memory."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

Pieces = Callable[[], Iterable[bytes]]
"""Goes through the bytes from the first; of the first 1,000 all are in the first piece."""

PIECE = 1 << 20
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_MAC_LETTERS = tuple(b"\x80\x81\x82\x83\x84\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x9a\x9b\x9c\x9d\x9e\x9f")
_ANSI_LETTERS = tuple(range(0xC0, 0x100))
_LETTERS = (*range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1))
_NOT_IN_ANSI = tuple(b"\x81\x8d\x8f\x90\x9d")


class Encoding(NamedTuple):
    """A codec that gives the bytes again when it encodes, how many bytes come before the text, and notes."""

    codec: str
    mark: int
    notes: list[str]


def encoding_of(pieces: Pieces, name: str) -> Encoding:
    """The encoding of text, with a note if it had to be guessed. Raises `ValueError` if the bytes are not text.

    `name` is that of the file, for the note.
    """
    found = shown_by(next(iter(pieces()), b""), name)
    line = _first_bad_line(_without(pieces(), found.mark), found.codec)
    if line is None:
        return found
    if found.codec != "utf-8":
        raise ValueError(f"line {line} is not valid {found.codec[:6].upper()}; save it as UTF-8")
    return _old(pieces, name, line)


def shown_by(start: bytes, name: str = "") -> Encoding:
    """The encoding that the first bytes show, otherwise UTF-8."""
    for mark, codec in _MARKS:
        if start.startswith(mark):
            return Encoding(codec, len(mark), [])
    if b"\0" in start[:1000]:
        for codec, zeros in (("utf-16-le", start[1:1000:2]), ("utf-16-be", start[0:1000:2])):
            if zeros.count(0) > 0.7 * len(zeros):
                return Encoding(codec, 0, [f"{name} was read as UTF-16"])
    return Encoding("utf-8", 0, [])


def text_of_start(start: bytes) -> str:
    """The text of the first bytes of a file, in the encoding that they show; what is not UTF-8 is replaced."""
    codec, mark, _ = shown_by(start)
    return start[mark:].decode(codec, "replace")


def _old(pieces: Pieces, name: str, line: int) -> Encoding:
    """The encoding of text that is not UTF-8 in this line: that whose letters are most of what is not ASCII."""
    signs = damaged = 0
    counts = np.zeros(256, dtype=np.int64)
    for text in _decoded(pieces(), "utf-8", "replace"):
        signs += len(text) - _n_ascii(text)
        damaged += text.count("\ufffd")
    for piece in pieces():
        counts += np.bincount(np.frombuffer(piece, np.uint8), minlength=256)
    if signs - damaged > damaged:
        raise ValueError(f"line {line} is not valid UTF-8, although the rest is; save it as UTF-8 again")
    n_high, mac, ansi, letters = (
        int(counts[list(which)].sum()) for which in (range(0x80, 0x100), _MAC_LETTERS, _ANSI_LETTERS, _LETTERS)
    )
    if max(ansi, n_high - mac) < mac < 0.3 * letters:
        return Encoding("mac_roman", 0, [f"{name} is not UTF-8; it was read as Mac Roman"])
    if counts[list(_NOT_IN_ANSI)].any():
        raise ValueError(f"its encoding is unknown (line {line}); save it as UTF-8")
    return Encoding("cp1252", 0, [f"{name} is not UTF-8; it was read as Windows-1252 (Latin-1)"])


def _n_ascii(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("ascii", "ignore"))


def _first_bad_line(pieces: Iterable[bytes], codec: str) -> int | None:
    line = 1
    try:
        for text in _decoded(pieces, codec):
            line += text.count("\n")
    except UnicodeDecodeError as error:
        return line + error.object[: error.start].decode(codec).count("\n")
    return None


def _decoded(pieces: Iterable[bytes], codec: str, errors: str = "strict") -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(codec)(errors)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _without(pieces: Iterable[bytes], mark: int) -> Iterator[bytes]:
    remaining = iter(pieces)
    return chain([next(remaining, b"")[mark:]], remaining)
