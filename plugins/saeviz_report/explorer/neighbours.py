"""Which features fire on the same images, for the features that were selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import saeviz
from saeviz_report.explorer.columns import Rows

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_array

IN_ITS_SPACE, ELSEWHERE = 12, 6
"""Neighbours shown of one feature, and of each of the other spaces."""
TOGETHER = 32
"""Features compared with all others at once."""


def neighbours_of(run: saeviz.Run, rows: Rows, matrix: csr_array) -> dict[str, Any]:
    """By row of each selected feature the rows of others and the cosines of their activations, most alike first."""
    from scipy.sparse import csr_array

    chosen = sorted({row for one in run.selected if (row := rows.of(one.feature)) is not None})
    squares = np.bincount(matrix.indices, matrix.data.astype(np.float64) ** 2, matrix.shape[1])
    lengths = np.sqrt(np.where(squares > 0, squares, 1)).astype(np.float32)
    units = csr_array((matrix.data / lengths[matrix.indices], matrix.indices, matrix.indptr), matrix.shape)
    of_chosen = units[:, chosen].T.tocsr()
    found: dict[str, Any] = {}
    for start in range(0, len(chosen), TOGETHER):
        some = chosen[start : start + TOGETHER]
        alike = (of_chosen[start : start + TOGETHER] @ units).toarray()
        alike[np.arange(len(some)), some] = 0
        for row, cosines in zip(some, alike, strict=True):
            near = _nearest(cosines, rows, row)
            found[str(row)] = {"rows": near.tolist(), "cosines": np.round(cosines[near], 4).tolist()}
    return found


def _nearest(cosines: npt.NDArray[Any], rows: Rows, row: int) -> npt.NDArray[np.int64]:
    kept: list[int] = []
    for start, end in zip(rows.starts, rows.starts[1:], strict=False):
        most = IN_ITS_SPACE if start <= row < end else ELSEWHERE
        order = start + np.argsort(-cosines[start:end], kind="stable")[:most]
        kept += order[cosines[order] > 0].tolist()
    there = np.array(kept, dtype=np.int64)
    return there[np.argsort(-cosines[there], kind="stable")]
