"""What is where in a tar file.

Python's own `tarfile` reads the headers; nothing is extracted, no name in a tar file is ever taken for a path, and a
member is read by its offset. The library `webdataset` is made for training: it reads tar files from the beginning,
shuffled and endlessly, by commands of a shell if a URL says so, and knows neither offsets nor ids.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

import saeviz
from saeviz.toolkit.files import open_regular
from saeviz.toolkit.images import IMAGE_ENDINGS
from saeviz.toolkit.names import same_form

MOST_HEADER = 1 << 20
"""Bytes of a long name or another extended header; the sizes in a tar file are whatever its author writes."""
TEXTS = ("json", "txt", "cls")
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a member are."""

    offset: int
    size: int


@dataclass(slots=True)
class Index:
    """The samples of a tar file in their order: by key, where each of their files is, by its ending.

    `left_out` counts what is no sample, and says what the first of each kind is called.
    """

    samples: dict[str, dict[str, Place]] = field(default_factory=dict)
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave_out(self, why: str, name: str) -> None:
        """Count one that is left out."""
        n, first = self.left_out.get(why, (0, name))
        self.left_out[why] = n + 1, first


def read_index(path: Path, name: str) -> Index:
    """The index of a tar file, from its headers alone; `name` is what messages call it.

    Raises `DataError` if it is compressed, truncated or damaged, or if two files of it have the same name.
    """
    index = Index()
    try:
        with open_regular(path) as file:
            _refuse_compressed(file, name)
            for member in _members(file):
                _add(index, member)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise saeviz.DataError(f"images: the tar file {name} is damaged or truncated: {error}") from error
    for key in [key for key, files in index.samples.items() if not files.keys() - set(TEXTS)]:
        del index.samples[key]
        index.leave_out("have no picture", key)
    return index


def read_at(file: BufferedReader, place: Place, most: int) -> bytes:
    """The bytes of a member. Raises `ValueError` if there are more than `most`, or if the file ends before."""
    if place.size > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    file.seek(place.offset)
    data = file.read(place.size)
    if len(data) < place.size:
        raise ValueError("the tar file ends before it")
    return data


class _Headers:
    """A tar file from which `tarfile` reads headers; one that says that it is huge is an error."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise tarfile.ReadError("a header of it is too large")
        return self._file.read(size)


def _members(file: BufferedReader) -> Iterator[tarfile.TarInfo]:
    """The members, read one by one. Raises `TarError` where something other than a header or the end follows."""
    with tarfile.open(fileobj=_Headers(file), mode="r:", errorlevel=1) as tar:  # type: ignore[call-overload]  # reads
        before = -1
        while (member := tar.next()) is not None:
            if member.size < 0 or tar.offset <= before:  # or reading would go round in circles
                raise tarfile.ReadError(f"the size of {member.name[:60]!r} is negative")
            before = tar.offset
            tar.members.clear()
            yield member
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"what is at byte {tar.offset:,} is not the header of a file")


def _add(index: Index, member: tarfile.TarInfo) -> None:
    name = same_form(member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        index.leave_out("are links, devices or other special files", name)
        return
    found = _NAME.fullmatch(name.removeprefix("./"))
    ending = found[2].lower() if found else ""
    if found is None or (ending not in TEXTS and f".{ending}" not in IMAGE_ENDINGS):
        return
    files = index.samples.setdefault(found[1], {})
    if ending in files:
        raise ValueError(f"it has two files called {name!r}")
    files[ending] = Place(member.offset_data, member.size)


def _refuse_compressed(file: BufferedReader, name: str) -> None:
    start = file.read(6)
    file.seek(0)
    for magic, how in _COMPRESSED:
        if start.startswith(magic):
            raise saeviz.DataError(
                f"images: the tar file {name} is compressed with {how}, so that no picture can be read without all "
                "before it; decompress it, which costs little room, since pictures are compressed themselves"
            )
