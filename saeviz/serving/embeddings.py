"""Embed pictures from requests with the embedding model of a run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.plain import plain
from saeviz.formats.wire import pack_arrays, pack_text, unpack_pictures
from saeviz.pipeline.blame import blaming
from saeviz.pipeline.session import Session
from saeviz.serving.limits import MOST_ITEMS
from saeviz.values.errors import DataError
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.contract.roles import EmbeddingProvider


class ServedEmbeddings:
    """The model, built when it is first asked; a thread of its own uses it (`OneThread`)."""

    def __init__(self, session: Session, config: ComponentConfig) -> None:
        self._session = session
        self._config = config
        self._who = f"{config.place}: {config.use}"
        self._failed: list[tuple[str, str]] = []

    def describe(self) -> dict[str, Any]:
        """The model: how long its vectors are, and what it is. Loads it where that is not known before."""
        embedder = self._embedder
        with blaming(self._who, log=None):
            return {"dim": int(embedder.dim), "embedder": plain(self._config.as_json())}

    def embed(self, body: bytes | bytearray) -> bytes:
        """Embed packed image files and pack the result; an unreadable one gets a row of NaN and a reason."""
        import numpy as np

        items = [ImageItem(str(number), file) for number, file in enumerate(unpack_pictures(body))]
        if len(items) > MOST_ITEMS:
            raise DataError(f"{len(items)} pictures are too many at once; send at most {MOST_ITEMS}")
        self._failed.clear()
        embedder = self._embedder
        with blaming(self._who, log=None):
            vectors = np.asarray(embedder.embed(items), "<f4").reshape(len(items), embedder.dim)
        reasons = dict(self._failed)
        return pack_arrays(vectors=vectors, errors=pack_text([reasons.get(item.item_id) for item in items]))

    @cached_property
    def _embedder(self) -> EmbeddingProvider:
        embedder: EmbeddingProvider = self._session.components.build(
            self._config, failed=lambda subject, error: self._failed.append((subject, error))
        )
        return embedder
