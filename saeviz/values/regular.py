"""Open files named by untrusted data: only regular files, never pipes or devices."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading bytes; links are followed.

    A table or a model folder can name any path: reading a pipe could block forever, and opening a device can have side
    effects. Raises `OSError` for these, and for a file that does not exist.
    """
    _check(path.stat(), path)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(os.fstat(descriptor), path)  # it may have been replaced in between
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, at_most: int | None = None) -> bytes:
    """Read a whole regular file; see `open_regular`. One of more bytes than `at_most` is an `OSError`, too."""
    with open_regular(path) as file:
        if at_most is not None and os.fstat(file.fileno()).st_size > at_most:
            raise OSError(errno.EFBIG, f"it has more than {at_most >> 20} MB", str(path))
        return file.read(-1 if at_most is None else at_most)


def reason_of(error: Exception) -> str:
    """Why a file could not be read, without the path, which the message around it names."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def real_path(path: Path) -> Path:
    """The path with links and dots resolved. Unlike `Path.resolve`, a loop of links is not an error here."""
    return Path(os.path.realpath(path))


def _check(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"it is {_kind(status.st_mode)}, not a file", str(path))


def _kind(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((kind for matches, kind in kinds.items() if matches(mode)), "something else")
