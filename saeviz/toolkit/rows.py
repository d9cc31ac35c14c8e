"""Encode features as table rows, one per item, for database stores.

A row holds the indices of the non-zero features in ascending order and their values: `features` as little-endian uint16
(uint32 in a space of more than 65,536 features) and `activations` as little-endian float32. Item ids are escaped so
that every database can store them. Rows are not compressed: zlib saves only a sixth of the space and halves the speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from saeviz.formats.damage import checksum
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch, FeatureSpace, check_id

if TYPE_CHECKING:
    from saeviz.typing import CSR


class Row(NamedTuple):
    """One item of a space. `key` is its escaped id, see `key_of`.

    `checksum` covers the space and all other fields; None if the database stores none.
    """

    key: str
    features: bytes
    activations: bytes
    checksum: bytes | None = None


def key_of(item_id: str) -> str:
    r"""The item id with NUL, which PostgreSQL and JSON columns refuse, escaped as `\0` and a backslash as `\\`.

    Raises `DataError` for an invalid item id.
    """
    check_id(item_id)
    return item_id.replace("\\", "\\\\").replace("\0", "\\0")


def item_id_of(key: str) -> str:
    """The inverse of `key_of`."""
    return re.sub(r"\\([\\0])", lambda found: "\0" if found[1] == "0" else "\\", key)


def encode_rows(batch: FeatureBatch) -> Iterator[Row]:
    """The rows of a batch, in order."""
    matrix = batch.matrix
    features = matrix.indices.astype(_index_type(batch.space))
    activations = matrix.data.astype("<f4", copy=False)
    for number, item_id in enumerate(batch.item_ids):
        part = slice(matrix.indptr[number], matrix.indptr[number + 1])
        row = Row(key_of(item_id), features[part].tobytes(), activations[part].tobytes())
        yield row._replace(checksum=_check_of(batch.space, row))


def decode_rows(space: FeatureSpace, rows: Sequence[Row]) -> FeatureBatch:
    """The exact inverse of `encode_rows`. Raises `DataError`, naming the item, if stored bytes are damaged."""
    import numpy as np
    from scipy.sparse import csr_array

    index_type = np.dtype(_index_type(space))
    for row in rows:
        # SQLite columns can hold values of any type.
        if not isinstance(row.features, bytes) or not isinstance(row.activations, bytes):
            raise _damaged(space, row)
    lengths = [len(row.features) // index_type.itemsize for row in rows]
    for row, length in zip(rows, lengths, strict=True):
        if len(row.features) != length * index_type.itemsize or len(row.activations) != length * 4:
            raise _damaged(space, row)
        if row.checksum is not None and bytes(row.checksum) != _check_of(space, row):
            raise _damaged(space, row)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    features = np.frombuffer(b"".join(row.features for row in rows), index_type).astype(np.int32)
    activations = np.frombuffer(b"".join(row.activations for row in rows), "<f4").astype(np.float32)
    if features.size and int(features.max()) >= space.n_features:
        place = int(np.argmax(features >= space.n_features))
        raise _damaged(space, rows[int(np.searchsorted(starts, place, "right")) - 1])
    matrix: CSR = csr_array((activations, features, starts), shape=(len(rows), space.n_features))
    return FeatureBatch(space, tuple(item_id_of(row.key) for row in rows), matrix)


def _check_of(space: FeatureSpace, row: Row) -> bytes:
    return checksum(str(space), row.key, row.features, row.activations)[:8]


def _index_type(space: FeatureSpace) -> str:
    return "<u2" if space.n_features <= 2**16 else "<u4"


def _damaged(space: FeatureSpace, row: Row) -> DataError:
    return DataError(
        f"{space}: the stored features of item {item_id_of(row.key)!r} are damaged; recompute all with --redo extract"
    )
