"""Files in NumPy's `.npz` format, read without NumPy's own reader.

NumPy's reader parses the header of every array with `ast.literal_eval`, which on Python 3.11 fails at random with
`SystemError` if several threads do so at the same time. Here headers are parsed with a regular expression.
"""

from __future__ import annotations

import lzma
import math
import re
import struct
import zlib
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile, ZipFile

from saeviz.values.regular import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_UNPACKED = 2**30
"""Maximum size of all arrays that are read from a file, unless the file itself is as large."""
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\s*\{\s*'descr':\s*'([<>|=][?a-zA-Z]\d{0,9})',\s*'fortran_order':\s*(False|True),\s*"
    rb"'shape':\s*\(([\d, ]*)\),?\s*\}\s*"
)
_DAMAGE = (BadZipFile, EOFError, LookupError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error)
"""Exceptions, besides `ValueError`, for a file that is not an archive, or is cut off or encrypted."""


def read_npz(source: Path | bytes | bytearray, *names: str) -> dict[str, NDArray[Any]]:
    """The arrays of a file, or of its content, by name: those in `names`, or all. They are read-only.

    Thread-safe. Raises `OSError` if the file cannot be read, and `ValueError` if it is damaged, lacks one of `names`,
    or contains anything except arrays of numbers and text.
    """
    try:
        with _opened(source) as file, ZipFile(file) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if lacking := [name for name in names if name not in found]:
                raise ValueError(f"it has no array {lacking[0]!r}")
            unpacked = sum(archive.getinfo(f"{name}.npy").file_size for name in names or found)
            if unpacked > max(MOST_UNPACKED, file.seek(0, SEEK_END)):
                raise ValueError(f"it would unpack to more than {MOST_UNPACKED >> 30} GB")
            return {name: to_array(archive.read(f"{name}.npy")) for name in names or found}
    except (*_DAMAGE, lzma.LZMAError) as error:
        raise ValueError(f"not an .npz file, or damaged: {error}") from error


def _opened(source: Path | bytes | bytearray) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes | bytearray) else open_regular(source)


def to_array(data: bytes) -> NDArray[Any]:
    """The array of an `.npy` file, read-only. Raises `ValueError` if it is not one."""
    import numpy as np

    version = data[len(_MAGIC) : len(_MAGIC) + 2]
    width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(version)
    if not data.startswith(_MAGIC) or width is None:
        raise ValueError("an array is not in the .npy format")
    start = len(_MAGIC) + 2 + width
    stop = start + int.from_bytes(data[start - width : start], "little")
    header = _HEADER.fullmatch(data[start:stop])
    if header is None:
        raise ValueError("the header of an array is not as NumPy writes it for numbers and text")
    try:
        dtype = np.dtype(header[1].decode())
    except TypeError as error:
        raise ValueError(f"unknown array type {header[1].decode()!r}") from error
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"an array of type {dtype} is refused")
    shape = tuple(int(size) for size in header[3].split(b",") if size.strip())
    if math.prod(shape) * dtype.itemsize != len(data) - stop:
        raise ValueError("an array is longer or shorter than it says")
    flat = np.frombuffer(data, dtype, offset=stop) if len(data) > stop else np.empty(0, dtype)
    return flat.reshape(shape[::-1]).T if header[2] == b"True" else flat.reshape(shape)
