"""Write files so that a crash leaves either the old or the new content, never a mixture."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from saeviz.values.errors import RunDirError
from saeviz.values.regular import open_regular, real_path, reason_of

if TYPE_CHECKING:
    from filelock import BaseFileLock

LONGEST_LINE, MOST_LINES = 64 * 2**20, 2**24
"""Bytes and lines of a file that has an object a line, so that one from a stranger does not fill the memory."""
_TEMPORARY = ".saeviz-{}.tmp"
_TEMPORARY_OF_ONE = ".saeviz~{}~{}.tmp"
"""Of one of several writers to a folder: no other one takes it for something that is left over."""
_TOGETHER = 256
"""Files that may be lost in a crash before any of them has its name."""
_AT_ONCE = 16
_LOCK = ".saeviz-lock"
_NEXT_STEP = {
    errno.ENOSPC: "free some space and run again; finished work is kept",
    errno.EDQUOT: "your quota is used up: free some space and run again; finished work is kept",
    errno.EACCES: "change its permissions or choose another folder",
    errno.EPERM: "change its permissions or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a file is in the way: choose another folder",
    errno.EEXIST: "a file is in the way: choose another folder",
    errno.EISDIR: "a folder is in the way: move it or choose another place",
}


@contextmanager
def explain_disk_errors(path: Path, doing: str = "written") -> Iterator[None]:
    """Turn an `OSError` of the block into a `RunDirError`: `path` cannot be `doing`, why, and the next step."""
    try:
        yield
    except OSError as error:
        raise RunDirError(f"{path} cannot be {doing}: {explained(error)}") from error


def explained(error: OSError) -> str:
    """Why the disk refuses something, and the next step where there is one."""
    step = _NEXT_STEP.get(error.errno or 0)
    return reason_of(error) + (f"; {step}" if step else "")


@contextmanager
def atomic_path(path: Path, writer: str = "") -> Iterator[Path]:
    """A temporary path to write to; it is moved to `path` when the block ends without an exception.

    `writer` names one of several writers to the folder. Missing folders are created. If the block raises, `path` is
    unchanged and the temporary file is removed. Raises `RunDirError` if the file system reports an error.
    """
    temporary = path.with_name(_temporary_name(writer))
    with explain_disk_errors(path):
        _make_folder(path.parent)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of the folder `path` when the block ends without an exception.

    If it is still empty then, `path` is removed and there is none. A crash leaves the old folder or the new one, and
    between the two renames that exchange them none. Raises `RunDirError` if the file system reports an error.
    """
    temporary, old = (path.with_name(_temporary_name()) for _ in range(2))
    with explain_disk_errors(path):
        _make_folder(temporary)
    try:
        yield temporary
        with explain_disk_errors(path):
            is_filled = any(temporary.iterdir())
            for place in (*temporary.rglob("*"), temporary) if is_filled else ():
                sync_folder(place) if place.is_dir() else _sync(place)
            if path.exists():
                path.rename(old)
            try:
                if is_filled:
                    temporary.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
            sync_folder(path.parent)
            rmtree(old, ignore_errors=True)
    finally:
        rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_folder(parent: Path, writer: str = "") -> Iterator[Path]:
    """An empty folder that is removed when the block ends; `remove_temporaries` removes one that a crash has left."""
    path = parent / _temporary_name(writer)
    with explain_disk_errors(path):
        _make_folder(path)
    try:
        yield path
    finally:
        rmtree(path, ignore_errors=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace the content of `path` atomically; text is written as UTF-8. When this returns, the data is on disk."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    """What writes many files into `folder`, by name and content, each as `write_atomic` does.

    They are there at the latest when the block ends without an exception, in a fraction of the time that it would take
    one after the other.
    """
    waiting: dict[Path, Path] = {}

    def publish() -> None:
        with explain_disk_errors(folder):
            sync_all(waiting)
            for temporary, path in waiting.items():
                temporary.replace(path)
            sync_folder(folder)
        waiting.clear()

    def write(name: str, data: bytes) -> None:
        temporary = folder / _temporary_name()
        waiting[temporary] = folder / name
        with explain_disk_errors(folder / name):
            temporary.write_bytes(data)
        if len(waiting) == _TOGETHER:
            publish()

    with explain_disk_errors(folder):
        _make_folder(folder)
    try:
        yield write
        publish()
    finally:
        for temporary in waiting:
            temporary.unlink(missing_ok=True)


def append_line(path: Path, text: str, *, durable: bool = True) -> None:
    """Append one line, `text` without its line end, to `path`. When this returns, the line is on disk.

    With `durable=False`, the line survives a crash of the process but perhaps not of the machine, and is written a
    hundred times as fast. A torn last line, left by a crash, is cut off first.
    """
    if "\n" in text:
        raise ValueError("a line cannot hold a line end")
    with explain_disk_errors(path):
        _make_folder(path.parent)
        is_new = not path.exists()
        with path.open("a+b") as file:
            _cut_torn_line(path, file.fileno())
            file.write(text.encode() + b"\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if is_new:
            sync_folder(path.parent)


def read_lines(path: Path) -> list[str]:
    """The complete lines of `path` without line ends; empty if there is no such file.

    A last line without a line end was cut off by a crash and is ignored. Raises `RunDirError` if the file cannot be
    read or is not text.
    """
    try:
        return [line.decode() for line in whole_lines(path)]
    except UnicodeDecodeError as error:
        raise RunDirError(f"{path} is damaged: it is not UTF-8 text; remove it and run again") from error


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines that `read_lines` gives, whatever is in them, one at a time. Raises `RunDirError` as it does."""
    with explain_disk_errors(path, "read"), suppress(FileNotFoundError), open_regular(path) as file:
        for _ in range(MOST_LINES):
            line = file.readline(LONGEST_LINE + 1)
            if not line.endswith(b"\n"):
                break
            yield line[:-1]
        else:
            raise OSError(errno.EFBIG, f"it has more than {MOST_LINES:,} lines")
        if len(line) > LONGEST_LINE:
            raise OSError(errno.EFBIG, f"a line is longer than {LONGEST_LINE >> 20} MB")


def remove_temporaries(folder: Path, writer: str = "") -> None:
    """Remove what a killed `atomic_path` or `atomic_folder` left in `folder` (not below). Only for this writer."""
    with explain_disk_errors(folder):
        for leftover in folder.glob(_temporary_name(writer, "*")):
            if leftover.is_dir() and not leftover.is_symlink():
                rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


class OneWriter:
    """A lock on a folder for writing, held by one process at a time; released at the latest when the process ends.

    With a name it is that of one of several writers, and not shared within the process.
    """

    def __init__(self, folder: Path, name: str = "") -> None:
        self._folder = folder
        self._name = name
        self._lock: BaseFileLock | None = None

    def claim(self) -> bool:
        """Acquire the lock. Returns whether it is new, so that earlier reads may be outdated.

        Raises `RunDirError` if another process holds it.
        """
        from filelock import FileLock, Timeout

        if self._lock is not None:
            return False
        with explain_disk_errors(self._folder):
            _make_folder(self._folder)
            # Without a name, one lock for the whole process, shared by all threads and stores.
            path = real_path(self._folder / (f"{_LOCK}-{self._name}" if self._name else _LOCK))
            lock = FileLock(path, timeout=0, thread_local=False, is_singleton=not self._name)
            try:
                lock.acquire()
            except Timeout as error:
                named = f" as {self._name!r}" if self._name else ""
                raise RunDirError(
                    f"another process writes to {self._folder}{named}; wait until it has ended, or stop it"
                ) from error
        self._lock = lock
        return True

    @property
    def is_held(self) -> bool:
        """Whether this object has acquired the lock."""
        return self._lock is not None

    def release(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def oddities_in(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is neither a folder nor a regular file: links, pipes, devices, sockets.

    Links are not followed. What another process removes meanwhile is left out.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from oddities_in(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; Windows does that by itself and has no call for it."""
    if os.name != "nt":
        _sync(folder)


def sync_all(paths: Iterable[Path]) -> None:
    """Make files durable, several at a time: a disk writes them together. Raises `OSError`."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(_sync, paths):
            pass


def _temporary_name(writer: str = "", middle: str = "") -> str:
    middle = middle or secrets.token_hex(6)
    return _TEMPORARY_OF_ONE.format(writer, middle) if writer else _TEMPORARY.format(middle)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_torn_line(path: Path, descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if not size:
        return
    with path.open("rb") as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        os.ftruncate(descriptor, file.read().rfind(b"\n") + 1)
