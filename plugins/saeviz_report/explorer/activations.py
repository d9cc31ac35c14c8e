"""Which features fire on which images, twice: by feature for cards, by image for pages of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import saeviz
from saeviz.toolkit.packed import fewest_bytes, packed
from saeviz_report.explorer.columns import Rows

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

FEATURES_A_FILE = 512
IMAGES_A_FILE = 32
MOST = 20_000_000
"""Activations that a report stores, some 6 bytes each in either order; of a larger run it stores none."""


def activations_of(run: saeviz.Run, rows: Rows) -> csr_array | None:
    """Images by features of all spaces, float32, in the order of `run.items`; None if there are too many to store."""
    from scipy.sparse import csr_array, hstack, vstack

    ids = [item.item_id for item in run.items]
    parts, stored = [], 0
    for space in rows.spaces:
        batches = []
        for batch in run.batches(space, ids):
            batches.append(csr_array(batch.matrix, dtype=np.float32))
            stored += batches[-1].nnz
            if stored > MOST:
                return None
        empty = csr_array((0, space.n_features), dtype=np.float32)
        parts.append(vstack(batches, format="csr") if batches else empty)
    return hstack(parts, format="csr") if parts else None


def by_feature(matrix: csr_array) -> Iterator[tuple[str, dict[str, Any]]]:
    """The data file of each block of features: for each feature its images, most active first."""
    columns: csc_array = matrix.tocsc()
    for start in range(0, columns.shape[1], FEATURES_A_FILE):
        yield f"features/{start // FEATURES_A_FILE}", _block(columns[:, start : start + FEATURES_A_FILE], axis=1)


def by_image(matrix: csr_array) -> Iterator[tuple[str, dict[str, Any]]]:
    """The data file of each block of images: for each image its features, most active first."""
    for start in range(0, matrix.shape[0], IMAGES_A_FILE):
        yield f"images/{start // IMAGES_A_FILE}", _block(matrix[start : start + IMAGES_A_FILE], axis=0)


def _block(part: csr_array | csc_array, axis: int) -> dict[str, Any]:
    counts = np.diff(part.indptr)
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((part.indices, -part.data, owner))
    n_others = part.shape[1 - axis]
    return {
        "counts": packed(counts.astype(np.uint32)),
        "others": packed(part.indices[order].astype(fewest_bytes(n_others))),
        "values": packed(part.data[order].astype(np.float32)),
    }
