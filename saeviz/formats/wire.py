"""Serialise arrays for HTTP: `.npz` without pickles and compression, validated when read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from saeviz.formats.npz import read_npz
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPZ = "application/x-npz"
FEATURES = {"item_ids": ("u1", 1), "indptr": ("<i8", 1), "indices": ("<i4", 1), "values": ("<f4", 1)}
"""The arrays of a batch of features, with their types and dimensions. `item_ids` is a list in JSON, as UTF-8."""
PICTURES = {"lengths": ("<i8", 1), "files": ("u1", 1)}
"""Image files one after the other, and how many bytes each has."""
EMBEDDINGS = {"vectors": ("<f4", 2), "errors": ("u1", 1)}
"""Rows of embeddings, and as JSON a list with null or a reason for each."""


def pack_arrays(**arrays: NDArray[Any]) -> bytes:
    """These arrays as an `.npz` file."""
    import numpy as np

    buffer = BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack_arrays(data: bytes | bytearray, expected: Mapping[str, tuple[str, int]]) -> dict[str, NDArray[Any]]:
    """The `expected` arrays of an `.npz` file, by name with type and number of dimensions.

    Raises `DataError` for anything else. Uses no more memory than the size of `data`.
    """
    try:
        with ZipFile(BytesIO(data)) as archive:
            names = [f"{name}.npy" for name in expected]
            if sorted(archive.namelist()) != sorted(names):
                raise ValueError(f"it does not have just the arrays {', '.join(expected)}")
            if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")
        arrays = read_npz(data)
        for name, (dtype, n_dimensions) in expected.items():
            _refuse_another_kind(arrays[name], dtype, n_dimensions)
        return arrays
    except (ValueError, BadZipFile, OSError, EOFError, LookupError, RuntimeError) as error:
        raise DataError(f"this is not the expected .npz file: {error}") from error


def _refuse_another_kind(array: NDArray[Any], dtype: str, n_dimensions: int) -> None:
    if array.dtype != dtype or array.ndim != n_dimensions or not array.flags.c_contiguous:
        raise ValueError(
            f"it has an array {array.dtype}{list(array.shape)} instead of {dtype} of {n_dimensions} dimensions"
        )


def pack_features(batch: FeatureBatch) -> bytes:
    """Serialise a batch, without its space."""
    import numpy as np

    matrix = batch.matrix
    return pack_arrays(
        item_ids=pack_text(batch.item_ids),
        indptr=matrix.indptr.astype("<i8"),
        indices=matrix.indices.astype("<i4"),
        values=np.asarray(matrix.data, "<f4"),
    )


def unpack_features(data: bytes | bytearray, space: FeatureSpace) -> FeatureBatch:
    """Parse a batch. Raises `DataError` if it is damaged or belongs to another space."""
    from scipy.sparse import csr_array

    arrays = unpack_arrays(data, FEATURES)
    item_ids = unpack_text(arrays["item_ids"])
    if not all(isinstance(item_id, str) for item_id in item_ids):
        raise DataError("an item id is not text")
    try:
        shape = (len(item_ids), space.n_features)
        matrix = csr_array((arrays["values"], arrays["indices"], arrays["indptr"]), shape=shape)
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"these are not features of {space}: {error}") from error
    return FeatureBatch(space, tuple(item_ids), matrix.copy())


def pack_text(values: Sequence[str | None]) -> NDArray[Any]:
    """A list of texts as an array of bytes."""
    import numpy as np

    return np.frombuffer(json.dumps(list(values)).encode(), dtype=np.uint8)


def unpack_text(array: NDArray[Any]) -> list[Any]:
    """Parse a list written by `pack_text`."""
    try:
        values = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"a list of texts is not JSON: {error}") from error
    if not isinstance(values, list):
        raise DataError("a list of texts is not a list")
    return values


def pack_pictures(files: Sequence[bytes]) -> bytes:
    """Serialise image files into one body."""
    import numpy as np

    lengths = np.array([len(file) for file in files], dtype="<i8")
    return pack_arrays(lengths=lengths, files=np.frombuffer(b"".join(files), dtype=np.uint8))


def unpack_pictures(data: bytes | bytearray) -> list[bytes]:
    """Parse image files. Raises `DataError` if the lengths are wrong."""
    arrays = unpack_arrays(data, PICTURES)
    lengths = arrays["lengths"].tolist()
    if any(length < 0 for length in lengths) or sum(lengths) != arrays["files"].size:
        raise DataError("the lengths of the files do not fit the files")
    files, ends = arrays["files"].data, accumulate(lengths, initial=0)
    return [bytes(files[start:end]) for start, end in pairwise(ends)]
