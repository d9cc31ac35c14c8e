"""The service, independent of the protocol: features and, for a run, its images and embedding model."""

from __future__ import annotations

from saeviz.config.schema import ComponentConfig
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.pipeline.reading import Grants, ReadingSession, reading_session
from saeviz.pipeline.session import logger
from saeviz.serving.embeddings import ServedEmbeddings
from saeviz.serving.features import ServedFeatures
from saeviz.serving.images import ServedImages
from saeviz.stores.places import Place
from saeviz.values.errors import ConfigError


class Service:
    """Serves a store, which can be written to, or a run, which cannot. Thread-safe."""

    images: ServedImages | None = None
    embeddings: ServedEmbeddings | None = None

    def __init__(self, place: Place) -> None:
        who = f"{place.config.place}: {place.config.use}"
        self.features = ServedFeatures(CheckedStore(place.open(), who, log=None), writable=place.rundir is None)
        self._session = None
        if place.rundir is not None:
            self._session = session = reading_session(place.rundir, place.grants or Grants(), "embeddings")
            self.images = ServedImages(session)
            embeddings = _embeddings(session)
            if embeddings is not None:
                self.embeddings = ServedEmbeddings(session, embeddings)

    def close(self) -> None:
        """Close the store and the components."""
        self.features.close()
        if self._session is not None:
            self._session.close()


def _embeddings(session: ReadingSession) -> ComponentConfig | None:
    """The embedding model of a run, None with a warning if it is not available."""
    try:
        return session.config.embeddings
    except ConfigError as error:
        logger.warning("no embeddings are served: %s", error)
        return None
