"""Which features fire on the same images, and which have a similar decoder direction, for those that were selected."""

from __future__ import annotations

from collections.abc import Iterator
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
            found[str(row)] = {"rows": near.tolist(), "cosines": np.round(cosines[near].astype(float), 4).tolist()}
    return found


def directions_of(run: saeviz.Run, rows: Rows) -> dict[str, Any]:
    """The same by the cosine of decoder directions in its space; empty where the extractor does not show them."""
    try:
        extractor = run.component("extractor")
        if not isinstance(extractor, saeviz.HasDecoder):
            return {}
        return dict(_in_space(run, rows, extractor))
    except saeviz.SaevizError:  # without its files: the report goes without
        return {}


def _in_space(run: saeviz.Run, rows: Rows, extractor: saeviz.HasDecoder) -> Iterator[tuple[str, Any]]:
    for space, start in zip(run.spaces, rows.starts, strict=False):
        own = sorted({chosen.feature.index for chosen in run.selected if chosen.feature in space})
        if not own:
            continue
        decoder = np.asarray(extractor.decoder(space), np.float32)
        units = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-12)
        for index in own:
            cosines = units @ units[index]
            cosines[index] = 0
            near = np.argsort(-cosines, kind="stable")[:IN_ITS_SPACE]
            near = near[cosines[near] > 0]
            yield (
                str(start + index),
                {"rows": (start + near).tolist(), "cosines": np.round(cosines[near].astype(float), 4).tolist()},
            )


def _nearest(cosines: npt.NDArray[Any], rows: Rows, row: int) -> npt.NDArray[np.int64]:
    kept: list[int] = []
    for start, end in zip(rows.starts, rows.starts[1:], strict=False):
        most = IN_ITS_SPACE if start <= row < end else ELSEWHERE
        order = start + np.argsort(-cosines[start:end], kind="stable")[:most]
        kept += order[cosines[order] > 0].tolist()
    there = np.array(kept, dtype=np.int64)
    return there[np.argsort(-cosines[there], kind="stable")]
