"""Features and embeddings that another run has made of the same pictures with the same model."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.config import ComponentConfig
from saeviz.session import Session
from saeviz.stages.shared import Shared
from saeviz.stages.stage import provenance
from saeviz.types import FeatureBatch, FeatureSpace, ImageItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.roles import EmbeddingProvider
    from saeviz.typing import Float32Array

_COUNT = struct.Struct("<I")


class SharedFeatures(Shared):
    """Features of the run's extractor."""

    def __init__(self, session: Session, spaces: Sequence[FeatureSpace]) -> None:
        super().__init__(
            session, session.config.extractor, "features", [f"{space} of {space.n_features}" for space in spaces]
        )
        self.spaces = spaces
        self.items = {item.item_id: item for item in session.items}

    def batches(self, items: Sequence[ImageItem]) -> Iterator[FeatureBatch]:
        """What there is of these items, for each of them in all spaces."""
        for found in self.find(items):
            for space, rows in zip(self.spaces, zip(*found.values(), strict=True), strict=True):
                yield FeatureBatch(space, tuple(found), _to_matrix(rows, space.n_features))

    def keep(self, batch: FeatureBatch) -> None:
        """Keep what the extractor has made; `provenance` must say of what."""
        matrix = batch.matrix
        rows = [number for number, item_id in enumerate(batch.item_ids) if item_id in self.items]
        places = (slice(*matrix.indptr[row : row + 2]) for row in rows)
        entries = (_to_bytes(matrix.indices[place], matrix.data[place]) for place in places)
        items = [self.items[batch.item_ids[row]] for row in rows]
        self.add(items, self.spaces.index(batch.space), entries, self.provenance)


class SharedEmbeddings(Shared):
    """Embeddings of an embedding provider."""

    def __init__(self, session: Session, config: ComponentConfig) -> None:
        super().__init__(session, config, "embeddings", [""])
        self.config = config

    def embed(self, items: Sequence[ImageItem], embedder: EmbeddingProvider) -> Float32Array:
        """As the provider's own `embed`, which is asked only for what there is not."""
        import numpy as np

        found = {item_id: entry for part in self.find(items) for item_id, (entry,) in part.items()}
        missing = [item for item in items if item.item_id not in found]
        if not found:
            return self._embed(missing, embedder)
        rows = np.empty((len(items), embedder.dim), np.float32)
        made = iter(self._embed(missing, embedder) if missing else ())
        for row, item in zip(rows, items, strict=True):
            row[:] = np.frombuffer(found[item.item_id], "<f4") if item.item_id in found else next(made)
        return rows

    def _embed(self, items: Sequence[ImageItem], embedder: EmbeddingProvider) -> Float32Array:
        import numpy as np

        with self.session.blaming(self.config):
            vectors = embedder.embed(items)
        self.provenance = provenance(self.session, self.config, embedder)
        if vectors.shape == (len(items), embedder.dim):
            good = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist()
            entries = (vectors[row].astype("<f4").tobytes() for row in good)
            self.add([items[row] for row in good], 0, entries, self.provenance)
        return vectors


def _to_bytes(indices: NDArray[Any], values: Float32Array) -> bytes:
    """One row: how many values, the values, and compressed the gaps between their indices."""
    import numpy as np

    gaps = np.diff(indices, prepend=0).astype("<u4")
    return _COUNT.pack(len(values)) + values.astype("<f4").tobytes() + zlib.compress(gaps.tobytes(), level=1)


def _to_matrix(rows: Sequence[bytes], n_features: int) -> Any:
    import numpy as np
    from scipy.sparse import csr_array

    values, indices = [], []
    for row in rows:
        (count,) = _COUNT.unpack_from(row)
        end = _COUNT.size + 4 * count
        values.append(np.frombuffer(row[_COUNT.size : end], "<f4"))
        indices.append(np.cumsum(np.frombuffer(zlib.decompress(row[end:]), "<u4"), dtype=np.int64))
    starts = np.cumsum([0, *map(len, values)])
    return csr_array((np.concatenate(values), np.concatenate(indices), starts), shape=(len(rows), n_features))
