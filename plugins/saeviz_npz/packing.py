"""A sparse float32 matrix in few bytes and exact: noise is kept as it is, what has structure is entropy-coded.

Columns come in the order of how often they fire, so that neighbours are alike, and of each only the gaps between its
rows are kept. The exponents of the values are kept apart from the mantissas, and the mantissas in the order of their
exponents, because those of small values, which are differences of larger ones, end in zeros. Each of these lists of
bytes is a zstd frame. `docs/storage.md` has the format in full, why it is so, and what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import CSR

    Bytes = NDArray[np.uint8]

VERSION = 1
WIDE = 255
"""A byte that adds 255 to the number that the next smaller byte ends."""
MANTISSA_BYTES = 3
BLOCK = 2**17
"""Values whose mantissas are put in order together; what fits into a cache is several times faster."""
LEVEL = 1
"""Of zstd. Higher ones look for repetitions, of which there are none, and find codes that are longer."""


def pack(matrix: CSR) -> dict[str, Any]:
    """Arrays that stand for `matrix`, a canonical CSR float32; `numpy.savez` can write them."""
    import numpy as np

    columns = matrix.tocsc()
    counts = np.diff(columns.indptr)
    columns = columns[:, _by_count(counts)]
    exponents, mantissas = _split(columns.data)
    lists = {
        "counts": _to_bytes(counts),
        "gaps": _to_bytes(_gaps(columns.indices, columns.indptr)),
        "exponents": exponents,
        **{f"mantissas_{place}": mantissas[place] for place in range(MANTISSA_BYTES)},
    }
    return {
        "packed": np.array(VERSION),
        "shape": np.array(matrix.shape),
        "lengths": np.array([found.size for found in lists.values()]),
        **{name: _compress(found) for name, found in lists.items()},
    }


def unpack(arrays: Mapping[str, Any]) -> CSR:
    """The matrix that `pack` was given, to the last bit. Raises `ValueError` where the arrays make none."""
    import numpy as np
    from scipy.sparse import csc_array

    if int(arrays["packed"]) != VERSION:
        raise ValueError(f"it is packed in format {arrays['packed']}, and this saeviz knows format {VERSION}")
    n_rows, n_columns = (int(size) for size in arrays["shape"])
    names = ["counts", "gaps", "exponents", *(f"mantissas_{place}" for place in range(MANTISSA_BYTES))]
    lists = [_decompress(arrays[name], int(length)) for name, length in zip(names, arrays["lengths"], strict=True)]
    counts = _from_bytes(lists[0])
    by_count = _by_count(counts)
    starts = np.zeros(n_columns + 1, dtype=np.int32)
    np.cumsum(counts[by_count], out=starts[1:])
    size = int(starts[-1])
    rows = _rows(lists[1], starts)
    values = _join(lists[2], lists[3:])
    if not rows.size == values.size == size or (size and rows.max() >= n_rows):
        raise ValueError("its arrays do not belong together")
    columns = csc_array((values, rows.view(np.int32), starts), shape=(n_rows, n_columns))
    place_of = np.empty_like(by_count)
    place_of[by_count] = np.arange(n_columns)
    return columns[:, place_of].tocsr()


def _by_count(counts: NDArray[Any]) -> NDArray[np.int64]:
    import numpy as np

    return np.argsort(counts.astype(np.uint16 if counts.max() < 2**16 else np.int64), kind="stable")


def _gaps(rows: NDArray[np.int32], starts: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many rows are silent before each entry, since the entry before it in its column or since the top."""
    import numpy as np

    gaps = np.diff(rows, prepend=-1) - 1
    first = starts[:-1][np.diff(starts) > 0]
    gaps[first] = rows[first]
    return gaps


def _rows(gaps: Bytes, starts: NDArray[np.int32]) -> NDArray[np.uint32]:
    """The inverse of `_gaps`. The running sum may wrap around 2^32, its differences do not."""
    import numpy as np

    running = np.zeros(int(starts[-1]) + 1, dtype=np.uint32)
    running[1:] = np.cumsum(gaps, dtype=np.uint32)[gaps != WIDE]
    running += np.arange(running.size, dtype=np.uint32)
    above = np.repeat(running[starts[:-1]], np.diff(starts))
    above += np.uint32(1)
    return running[1:] - above


def _split(values: NDArray[np.float32]) -> tuple[Bytes, NDArray[np.uint8]]:
    """The exponents, and the mantissas `[3, n]`, lowest byte first, those of a block by exponent.

    The sign is turned to the lowest bit, so that the exponent fills a byte.
    """
    import numpy as np

    bits = values.view(np.uint32)
    bits = (bits << np.uint32(1)) | (bits >> np.uint32(31))
    exponents = (bits >> np.uint32(24)).astype(np.uint8)
    mantissas = np.empty((MANTISSA_BYTES, values.size), dtype=np.uint8)
    for block in _blocks(values.size):
        ordered = bits[block][np.argsort(exponents[block], kind="stable")].astype("<u4", copy=False)
        mantissas[:, block] = ordered.view(np.uint8).reshape(-1, 4)[:, :MANTISSA_BYTES].T
    return exponents, mantissas


def _join(exponents: Bytes, mantissas: list[Bytes]) -> NDArray[np.float32]:
    import numpy as np

    values = np.empty(exponents.size, dtype=np.uint32)
    for block in _blocks(exponents.size):
        by_exponent = np.argsort(exponents[block], kind="stable")
        parts = np.empty((by_exponent.size, 4), dtype=np.uint8)
        for place, mantissa in enumerate(mantissas):
            parts[:, place] = mantissa[block]
        parts[:, MANTISSA_BYTES] = exponents[block][by_exponent]
        bits = parts.view("<u4")[:, 0]
        values[block][by_exponent] = (bits >> np.uint32(1)) | (bits << np.uint32(31))
    return values.view(np.float32)


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, size, BLOCK))


def _to_bytes(numbers: NDArray[Any]) -> Bytes:
    """Each number as so many bytes 255 as go into it, and a smaller byte for the rest."""
    import numpy as np

    wide, rest = np.divmod(numbers, WIDE)
    found = np.full(numbers.size + int(wide.sum()), WIDE, dtype=np.uint8)
    found[np.cumsum(wide + 1) - 1] = rest
    return found


def _from_bytes(found: Bytes) -> NDArray[np.int64]:
    import numpy as np

    ends = np.flatnonzero(found != WIDE)
    numbers: NDArray[np.int64] = found[ends] + WIDE * (np.diff(ends, prepend=-1) - 1)
    return numbers


def _compress(found: Bytes) -> Bytes:
    import numpy as np
    import pyarrow as pa

    frame = pa.Codec("zstd", compression_level=LEVEL).compress(np.ascontiguousarray(found))
    return np.frombuffer(frame, dtype=np.uint8)


def _decompress(frame: Bytes, length: int) -> Bytes:
    import numpy as np
    import pyarrow as pa

    return np.frombuffer(pa.Codec("zstd").decompress(frame, length), dtype=np.uint8)
