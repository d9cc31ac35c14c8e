"""Images to independent embeddings, the yardstick of monosemanticity."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from saeviz.embeddings import EmbeddingFiles
from saeviz.errors import PluginError
from saeviz.session import Session, logger
from saeviz.stages.reuse import SharedEmbeddings
from saeviz.types import ImageItem

CHUNK = 128
"""Images between two writes: what a crash can cost."""


class Embed:
    """Runs the embedding provider over the images that have features and no embedding."""

    name = "embed"

    def identity(self, session: Session) -> Any:
        """The embedding provider; images come and go without making the others anew."""
        return [session.identity(session.config.embeddings), session.config.run.precision]

    def is_complete(self, session: Session) -> bool:
        """No image is waiting."""
        return not _pending(session)

    def reset(self, session: Session) -> None:
        """Forget all embeddings."""
        EmbeddingFiles(session.rundir.embeddings).clear()

    def run(self, session: Session) -> Mapping[str, Any]:
        """Embed what is pending."""
        import numpy as np

        if session.config.embeddings is None:
            return {"counts": {"embedded": 0}}
        files = EmbeddingFiles(session.rundir.embeddings)
        pending = _pending(session)
        logger.info("embed: %d images to do with %s", len(pending), session.config.embeddings.use)
        chunks = [pending[start : start + CHUNK] for start in range(0, len(pending), CHUNK)]
        with closing(SharedEmbeddings(session, session.config.embeddings)) as shared:
            for chunk in session.progress(chunks, len(chunks), "embed"):
                vectors = shared.embed(chunk, session.embedder)
                if vectors.shape != (len(chunk), session.embedder.dim):
                    raise PluginError(
                        f"embeddings {session.config.embeddings.use} gave shape {vectors.shape} for {len(chunk)} "
                        f"images of dimension {session.embedder.dim}"
                    )
                good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
                if good.size:
                    ids = [chunk[row].item_id for row in good]
                    files.append([(item_id, session.fingerprints[item_id]) for item_id in ids], vectors[good])
        return {"counts": {"embedded": len(session.extracted()) - len(_pending(session))}, **shared.provenance}


def _pending(session: Session) -> list[ImageItem]:
    if session.config.embeddings is None:
        return []
    known = EmbeddingFiles(session.rundir.embeddings).fingerprints()
    now = session.fingerprints
    return [item for item in session.extracted() if known.get(item.item_id) != now[item.item_id]]
