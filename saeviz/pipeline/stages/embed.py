"""Images to independent embeddings, the yardstick of monosemanticity."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.pipeline.progress import chunked
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.sharing.reuse import SharedEmbeddings
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.images import ImageItem

CHUNK = 128
"""Images between two writes: what a crash can cost."""


class Embed(Stage):
    """Runs the embedding provider of a table over the images that have features and no embedding of it.

    Only a run with a second embedding has an optional one, so that adding it leaves the first as it is.
    """

    def __init__(self, name: str, table: str, *, is_optional: bool = False) -> None:
        self.name = name
        self.table = table
        self.is_optional = is_optional

    def applies(self, session: Session) -> bool:
        """Whether there is such a table, where one is needed."""
        return not self.is_optional or self._config(session) is not None

    def identity(self, session: Session) -> Any:
        """The embedding provider; adding or removing images does not recompute the others."""
        return [session.components.identity(self._config(session)), session.config.run.precision]

    def is_complete(self, session: Session) -> bool:
        """No image is waiting, or nothing of the run needs what it waits for."""
        return not self._pending(session)

    def reset(self, session: Session) -> None:
        """Forget all embeddings."""
        self._files(session).clear()

    def run(self, session: Session) -> Mapping[str, Any]:
        """Embed what is pending."""
        import numpy as np

        config = self._config(session)
        if config is None:
            return {"counts": {"embedded": 0}}
        if not session.components.uses_embeddings:
            logger.info("%s: no scorer of this run uses embeddings, so none are made with %s", self.name, config.use)
            return {"counts": {"embedded": 0}}
        files, embedder = self._files(session), session.components.component(self.table)
        for path in files.remove_damaged():
            logger.warning("%s: %s is damaged: it is removed, and its images are embedded again", self.name, path)
        pending = self._pending(session)
        logger.info("%s: %d images to do with %s", self.name, len(pending), config.use)
        with closing(SharedEmbeddings(session, config)) as shared:
            for chunk in chunked(session.progress(pending, len(pending), self.name), CHUNK):
                vectors = shared.embed(chunk, embedder)
                good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
                if good.size:
                    ids = [chunk[row].item_id for row in good]
                    files.append([(item_id, session.dataset.fingerprints[item_id]) for item_id in ids], vectors[good])
        waiting = self._pending(session)
        explained = session.rundir.failures.of(self.name)
        for item in waiting:
            if item.item_id not in explained:
                session.failed(
                    item.item_id, f"{session.components.who(config)} gave no finite embedding of it, and no reason"
                )
        counts = {"embedded": len(session.dataset.extracted) - len(waiting)}
        return {"counts": counts, "outputs": files.files(), **shared.provenance}

    def _config(self, session: Session) -> ComponentConfig | None:
        return session.config.component(self.table)

    def _files(self, session: Session) -> EmbeddingFiles:
        return EmbeddingFiles(session.rundir.embeddings(self.table))

    def _pending(self, session: Session) -> list[ImageItem]:
        if self._config(session) is None or not session.components.uses_embeddings:
            return []
        known = self._files(session).fingerprints()
        now = session.dataset.fingerprints
        return [item for item in session.dataset.extracted if known.get(item.item_id) != now[item.item_id]]
