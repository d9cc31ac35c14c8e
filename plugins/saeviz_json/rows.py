"""The features of one item as JSON: `{feature: value}`; read also as the plain list of all values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.files import read_regular

if TYPE_CHECKING:
    from saeviz.typing import CSR


def row_texts(batch: saeviz.FeatureBatch) -> Iterator[str]:
    """An object per item; every value is the shortest number that gives its float32 again."""
    for start, stop in pairwise(batch.matrix.indptr.tolist()):
        features = batch.matrix.indices[start:stop].tolist()
        values = batch.matrix.data[start:stop].astype(str).tolist()
        pairs = (f'"{feature}": {value}' for feature, value in zip(features, values, strict=True))
        yield "{" + ", ".join(pairs) + "}"


def read_json(path: Path) -> Any:
    """The content of a file."""
    return json.loads(read_regular(path))


def to_matrix(rows: Sequence[Any], n_features: int) -> CSR:
    """CSR float32 `[len(rows), n_features]`; raises some built-in error if a row is not valid."""
    import numpy as np
    from scipy.sparse import csr_array

    sparse = [row if isinstance(row, dict) else _from_list(row, n_features) for row in rows]
    indptr = np.cumsum([0, *map(len, sparse)])
    indices = np.array([int(feature) for row in sparse for feature in row], dtype=np.int32)
    data = np.array([value for row in sparse for value in row.values()], dtype=np.float32)
    if indices.size and not 0 <= indices.min() <= indices.max() < n_features:
        raise ValueError(f"a feature index is outside 0 to {n_features - 1}; is n_features right?")
    return csr_array((data, indices, indptr), shape=(len(sparse), n_features))


def _from_list(row: list[Any], n_features: int) -> dict[int, Any]:
    if not isinstance(row, list) or len(row) != n_features:
        raise ValueError(f"an item is neither {{feature: value}} nor a list of {n_features} values")
    return dict(enumerate(row))
