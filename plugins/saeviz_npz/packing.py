"""A sparse float32 matrix in few bytes and exact: noise is kept as it is, what has structure is entropy-coded.

The places of the non-zeros are numbered down the columns, and the gaps between them kept: along one feature they are
alike. The exponents of the values are kept apart from the mantissas, and the mantissas in the order of their exponents,
because those of small values, which are differences of larger ones, end in zeros. Each of these lists of bytes is a
zstd frame. `docs/explanation/storage.md` has the format in full, why it is so, and what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, IntArray

    Bytes = NDArray[np.uint8]

VERSION = 1
LISTS = ("gaps", "exponents", "mantissas_0", "mantissas_1", "mantissas_2")
WIDE = 255
"""This byte adds 255 to the next number."""
BLOCK = 2**17
"""Values that are put in their places together: what fits into a cache is twice as fast."""
LEVEL = 1
"""Level of zstd. Higher levels look for repetitions, of which there are none, and give longer codes."""


def pack(matrix: CSR) -> dict[str, Any]:
    """`matrix`, a canonical CSR float32, as arrays that `numpy.savez` can write."""
    import numpy as np

    exponents, mantissas = _split(matrix.data)
    lists = [_to_bytes(_gaps(matrix)), exponents, *mantissas.T[:3]]
    return {
        "packed": np.array(VERSION),
        "shape": np.array(matrix.shape),
        "lengths": np.array([found.size for found in lists]),
        **{name: _compress(found) for name, found in zip(LISTS, lists, strict=True)},
    }


def unpack(arrays: Mapping[str, Any]) -> CSR:
    """The matrix that `pack` was given, to the last bit. Raises `ValueError` if the arrays do not make one."""
    from scipy.sparse import csr_array

    if int(arrays["packed"]) != VERSION:
        raise ValueError(f"packed in format {arrays['packed']}, but this saeviz reads format {VERSION}")
    n_rows, n_columns = (int(size) for size in arrays["shape"])
    lengths = (int(length) for length in arrays["lengths"])
    gaps, exponents, *mantissas = (
        _decompress(arrays[name], length) for name, length in zip(LISTS, lengths, strict=True)
    )
    indices, starts = _places(gaps, n_rows, n_columns)
    return csr_array((_join(exponents, mantissas), indices, starts), shape=(n_rows, n_columns))


def _gaps(matrix: CSR) -> NDArray[Any]:
    """Number of zeros before each non-zero, column after column."""
    import numpy as np

    n_rows, n_columns = matrix.shape
    number = _number(n_rows, n_columns)
    rows = np.repeat(np.arange(n_rows, dtype=number), np.diff(matrix.indptr))
    places = matrix.indices.astype(number) * number(n_rows) + rows
    places.sort()
    gaps: NDArray[Any] = places.copy()
    gaps[1:] -= places[:-1] + number(1)
    return gaps


def _places(gaps: Bytes, n_rows: int, n_columns: int) -> tuple[NDArray[np.int32], IntArray]:
    """The columns of the non-zeros row after row, and where each row starts."""
    import numpy as np

    number = _number(n_rows, n_columns)
    places = np.cumsum(gaps, dtype=number)[gaps != WIDE]
    places += np.arange(places.size, dtype=number)
    if places.size and int(places[-1]) >= n_rows * n_columns:
        raise ValueError("more non-zeros than entries")
    columns = places // number(n_rows)
    places -= columns * number(n_rows)
    places *= number(n_columns)
    places += columns
    places.sort()
    edges = np.arange(n_rows + 1, dtype=np.uint64) * np.uint64(n_columns)
    starts = np.searchsorted(places, edges.astype(number))
    places -= np.repeat(edges[:-1].astype(number), np.diff(starts))
    return places.astype(np.int32), starts


def _number(n_rows: int, n_columns: int) -> type[np.unsignedinteger[Any]]:
    import numpy as np

    return np.uint32 if n_rows * n_columns < 2**32 else np.uint64


def _split(values: Float32Array) -> tuple[Bytes, Bytes]:
    """The exponents, and by exponent the mantissas, `[n, 4]`: lowest byte first, the last one is not needed.

    The sign is turned to the lowest bit, so that the exponent fills a byte.
    """
    import numpy as np

    bits = values.view(np.uint32)
    bits = (bits << np.uint32(1)) | (bits >> np.uint32(31))
    exponents = (bits >> np.uint32(24)).astype(np.uint8)
    ordered = bits[np.argsort(exponents, kind="stable")].astype("<u4", copy=False)
    return exponents, ordered.view(np.uint8).reshape(-1, 4)


def _join(exponents: Bytes, mantissas: list[Bytes]) -> Float32Array:
    """The inverse of `_split`. Each block takes its part of the mantissas of every exponent, from the front."""
    import numpy as np

    blocks = [slice(start, start + BLOCK) for start in range(0, max(exponents.size, 1), BLOCK)]
    counts = np.array([np.bincount(exponents[block], minlength=256) for block in blocks])
    total = counts.sum(axis=0)
    lasts = np.cumsum(total) - total + np.cumsum(counts, axis=0)
    parts = np.empty((exponents.size, 4), dtype=np.uint8)
    for place, part in enumerate([*mantissas, np.repeat(np.arange(256, dtype=np.uint8), total)]):
        parts[:, place] = part
    ordered = parts.view("<u4")[:, 0]
    ordered = (ordered >> np.uint32(1)) | (ordered << np.uint32(31))
    values = np.empty(exponents.size, dtype=np.uint32)
    for block, last, count in zip(blocks, lasts, counts, strict=True):
        pieces = [ordered[last[one] - count[one] : last[one]] for one in np.flatnonzero(count)]
        values[block][np.argsort(exponents[block], kind="stable")] = np.concatenate([*pieces, ordered[:0]])
    return values.view(np.float32)


def _to_bytes(numbers: NDArray[Any]) -> Bytes:
    """Each number as bytes of 255 while they fit, then a smaller byte for the rest."""
    import numpy as np

    wide = numbers // numbers.dtype.type(WIDE)
    found = np.full(numbers.size + int(wide.sum()), WIDE, dtype=np.uint8)
    ends = np.cumsum(wide, dtype=np.int64) + np.arange(numbers.size)
    found[ends] = numbers - wide * numbers.dtype.type(WIDE)
    return found


def _compress(found: Bytes) -> Bytes:
    import numpy as np
    import pyarrow as pa

    frame = pa.Codec("zstd", compression_level=LEVEL).compress(np.ascontiguousarray(found))
    return np.frombuffer(frame, dtype=np.uint8)


def _decompress(frame: Bytes, length: int) -> Bytes:
    import numpy as np
    import pyarrow as pa

    return np.frombuffer(pa.Codec("zstd").decompress(frame, length), dtype=np.uint8)
