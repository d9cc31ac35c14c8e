"""Images to independent embeddings, the yardstick of monosemanticity."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.formats.made import Made
from saeviz.pipeline.images import Images
from saeviz.pipeline.progress import chunked
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.sharing.reuse import SharedEmbeddings
from saeviz.pipeline.stages.shards import SharedStage, is_shared, made_by_workers, reset_made
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.errors import DataError
from saeviz.values.near_duplicates import near_duplicates
from saeviz.values.texts import Marks

LOOKED_AT = 5000
"""Images among which near-duplicates are sought: takes a second."""

ENOUGH, MANY = 100, 0.05
"""Images from which it can be said what is alike, and a share of near-duplicates that is worth a warning."""

CERTAIN = 0.99
"""A cosine of near-duplicates in any embedding; in some, different pictures of one thing come close to 0.95."""

CHUNK = 128
"""Images between two writes: what a crash can cost."""


class Embed(SharedStage):
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
        reset_made(session, self)
        self._files(session).clear()

    def run(self, session: Session) -> Mapping[str, Any]:
        """Embed what is pending."""
        config = self._config(session)
        if config is None:
            return {"counts": {"embedded": 0}}
        if not session.components.uses_embeddings:
            logger.info("%s: no scorer of this run uses embeddings, so none are made with %s", self.name, config.use)
            return {"counts": {"embedded": 0}}
        files = self._files(session)
        for path in files.remove_damaged():
            logger.warning("%s: %s is damaged: it is removed, and its images are embedded again", self.name, path)
        pending = self._pending(session)
        logger.info("%s: %d images to do with %s", self.name, len(pending), config.use)
        shared = is_shared(session, self)
        provenance: Mapping[str, Any] = {}
        for made in made_by_workers(session, self, pending) if shared else self._embedded(session, config, pending):
            if made.vectors is not None:
                files.append([*session.dataset.fingerprints_of(made.item_ids).items()], made.vectors)
            for item_id, error in made.failures:
                session.failed(item_id, error)
            provenance = made.provenance
        waiting = self._pending(session)
        explained = session.rundir.failures.of(self.name)
        for item_id in waiting.ids:
            if item_id not in explained:
                session.failed(
                    item_id, f"{session.components.who(config)} gave no finite embedding of it, and no reason"
                )
        if waiting and len(waiting) == len(session.dataset.extracted):
            raise DataError(
                f"{session.components.who(config)} embedded none of the {len(waiting)} images; "
                f"{session.rundir.failures.path} says why for each"
            )
        if not self.is_optional:
            _warn_of_look_alikes(session, files)
        counts = {"embedded": len(session.dataset.extracted) - len(waiting)}
        return {"counts": counts, "outputs": files.files(), **provenance}

    def todo(self, session: Session, *, anew: bool) -> Images:
        """The images with features and without an embedding of their present pictures."""
        return self._pending(session, anew=anew)

    def make(self, session: WorkerSession, items: Images) -> Generator[int, None, Made]:
        """The embeddings of items."""
        import numpy as np

        config = self._config(session)
        parts: list[Made] = []
        for part in self._embedded(session, config, items) if config else ():
            parts.append(part)
            yield min(CHUNK, len(items) - CHUNK * (len(parts) - 1))
        vectors = [part.vectors for part in parts if part.vectors is not None]
        return Made(
            item_ids=[item_id for part in parts for item_id in part.item_ids],
            vectors=np.concatenate(vectors) if vectors else None,
            failures=session.failures,
            provenance=parts[-1].provenance if parts else {},
        )

    def _embedded(self, session: Session, config: ComponentConfig, items: Images) -> Iterator[Made]:
        """The embeddings of some items at a time, without those that have none."""
        import numpy as np

        embedder = session.components.component(self.table)
        with closing(SharedEmbeddings(session, config)) as shared:
            for chunk in chunked(session.progress(items, len(items), self.name), CHUNK):
                vectors = shared.embed(chunk, embedder)
                good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
                ids = [chunk[row].item_id for row in good]
                yield Made(item_ids=ids, vectors=vectors[good] if ids else None, provenance=shared.provenance)

    def _config(self, session: Session) -> ComponentConfig | None:
        return session.config.component(self.table)

    def _files(self, session: Session) -> EmbeddingFiles:
        return EmbeddingFiles(session.rundir.embeddings(self.table))

    def _pending(self, session: Session, *, anew: bool = False) -> Images:
        items = session.dataset.items
        embedded = Marks(items.where)
        if self._config(session) is None or not session.components.uses_embeddings:
            return items.only(embedded.mask)
        for keys in () if anew else self._files(session).keys():
            known = [key for key in keys if key[0] in items.where]
            now = session.dataset.fingerprints_of([item_id for item_id, _ in known])
            embedded.mask[items.where.of(now)] = [mark == now[item_id] for item_id, mark in known]
        return session.dataset.extracted.only(~embedded.mask)


def _warn_of_look_alikes(session: Session, files: EmbeddingFiles) -> None:
    """Images that are nearly the same and have no groups make p, q and replication look better than they are."""
    items = session.dataset.extracted
    if len(items) < ENOUGH or not session.dataset.ratings or items.listing.has_groups:
        return
    some = items[:: -(-len(items) // LOOKED_AT) or 1]
    vectors = files.read(some)
    if vectors is None:
        return
    n = sum(map(bool, near_duplicates([item.item_id for item in some], vectors, CERTAIN)))
    if n > MANY * len(some):
        logger.warning(
            "embed: %d of %d images looked at are nearly the same as another; statistics take them as independent, so "
            "p and q look better than they are; `saeviz groups %s` proposes groups for images.group_column",
            n,
            len(some),
            session.rundir.path,
        )
