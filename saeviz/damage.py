"""Files that may be damaged: what reading them may raise, digests that tell, and lines that carry their own."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from hashlib import blake2b, file_digest, sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    BadZipFile,
    struct.error,
    zlib.error,
)
"""What the readers of json, zip, NumPy, Parquet and CSV raise over bytes that are no such file; deep nesting and sizes
that lie are among it."""
CHECK = "check"
"""The key of a line's own checksum."""


def checksum(*parts: bytes | str) -> bytes:
    """16 bytes that stand for these parts in this order."""
    found = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of what is in a file, in hex."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def checked_line(row: Mapping[str, Any]) -> str:
    """One line of JSON that ends with a checksum of the rest."""
    return json.dumps({**row, CHECK: _check_of(row)}, ensure_ascii=False)


def parse_line(text: str) -> dict[str, Any]:
    """The row of `checked_line`, without its checksum. Raises `ValueError` where it was changed.

    A line without a checksum, as earlier versions wrote them, is taken as it is.
    """
    try:
        row = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError("a line is no JSON object")
    check = row.pop(CHECK, None)
    if check is not None and check != _check_of(row):
        raise ValueError("a line is not as it was written")
    return row


def _check_of(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:12]
