"""Detect damaged files: exceptions of readers, and digests."""

from __future__ import annotations

import struct
import zlib
from hashlib import blake2b, file_digest, sha256
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

from saeviz.values.regular import open_regular

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
"""The exceptions that readers of JSON, zip, NumPy, Parquet and CSV raise for damaged files, including deep nesting and
wrong sizes.
"""


def checksum(*parts: bytes | str) -> bytes:
    """A digest (16 bytes) of these parts in this order."""
    found = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()


def digest_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with open_regular(path) as file:
        return file_digest(file, "sha256").hexdigest()


class Stamp(NamedTuple):
    """The size, modification time (in nanoseconds) and digest of a file when it was written."""

    size: int
    time: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of a file as it is now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, digest_of_file(path))

    def check(self, data: bytes) -> None:
        """Raise `ValueError` where this is not what was written; what has kept its size and time is noticed, too."""
        if sha256(data).hexdigest() != self.sha256:
            raise ValueError("it was changed or damaged since it was written")

    def fits(self, path: Path) -> bool:
        """Whether a file is unchanged. It is read only if its time differs, as it does for a copy."""
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) == (self.size, self.time):
                return True
            return status.st_size == self.size and digest_of_file(path) == self.sha256
        except OSError:
            return False


def digest_of_tree(path: Path) -> str | None:
    """The digest of a file or, for a folder, of the names and digests of all files below it.

    None if it does not exist or cannot be read. Files whose names begin with a dot are ignored.
    """
    try:
        if path.is_file():
            return digest_of_file(path)
        names = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
        seen = sorted(name for name in names if not name.name.startswith("."))
        found = sha256(b"".join(checksum(name.as_posix(), digest_of_file(path / name)) for name in seen))
    except OSError:
        return None
    return found.hexdigest() if path.is_dir() else None
