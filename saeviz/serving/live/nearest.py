"""The images of a run that are most like an image that is not of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz.pipeline.blame import blaming
from saeviz.pipeline.session import logger
from saeviz.results.run import Run
from saeviz.serving.live.answers import strongest
from saeviz.serving.live.endpoint import NUMBER, TEXT, fields, listed
from saeviz.serving.live.opened import Live
from saeviz.values.errors import PluginError, SaevizError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, FloatArray

NEAREST = 12
"""Images."""
NEAREST_FIELDS = {
    "nearest": listed(fields("By cosine.", item=TEXT, similarity=NUMBER)),
    "nearest_by": {"type": "string", "description": "What was compared: embeddings, or the features of a space."},
}


def embedding_of(live: Live, item: ImageItem) -> Float32Array | None:
    """The embedding of a picture by the run's embedding model; None if there is none, or it cannot be used here."""
    try:
        embedder = live.run.component("embeddings")
        with blaming("the embedding model", log=None):
            row = np.asarray(embedder.embed([item]), np.float32).reshape(-1)
    except SaevizError as error:
        if isinstance(error, PluginError):
            logger.warning("nearest images are by features: %s", error)
        return None
    return row if row.size and np.isfinite(row).all() and row.any() else None


def by_embeddings(run: Run, embedding: Float32Array) -> dict[str, Any] | None:
    """The nearest images by cosine of embeddings; None if the run has none of this length."""
    try:
        known = run.embeddings
    except SaevizError:
        return None
    if known.ndim != 2 or known.shape[1] != embedding.size:
        return None
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(embedding)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.nan_to_num((known @ embedding) / lengths, nan=-np.inf)
    return _answer(run, alike, "the run's embedding model")


def by_features(run: Run, rows: Mapping[FeatureSpace, CSR]) -> dict[str, Any]:
    """The nearest images by cosine of the features of the last space."""
    space = list(rows)[-1]
    row = rows[space]
    parts: list[FloatArray] = []
    for batch in run.batches(space, [item.item_id for item in run.items]):
        matrix = batch.matrix
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64).ravel() * (row.data @ row.data))
        products = np.asarray((matrix @ row.T).toarray(), np.float64).ravel()
        parts.append(np.where(lengths > 0, products / np.maximum(lengths, 1e-12), -np.inf))
    return _answer(run, np.concatenate([np.zeros(0), *parts]), f"the features of {space}")


def _answer(run: Run, alike: Any, by: str) -> dict[str, Any]:
    best = [place for place in strongest(alike, NEAREST).tolist() if np.isfinite(alike[place])]
    found = [{"item": run.items[place].item_id, "similarity": float(alike[place])} for place in best]
    return {"nearest": found, "nearest_by": by}
