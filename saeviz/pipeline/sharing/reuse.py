"""Reuse features and embeddings that another run computed from the same pictures with the same model."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, nan
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.formats.plain import plain
from saeviz.pipeline.session import Session
from saeviz.pipeline.sharing.shared import Shared
from saeviz.values.features import FeatureBatch, FeatureSpace, names_numbers_of_images
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.contract.roles import EmbeddingProvider
    from saeviz.typing import Float32Array, FloatArray, IntArray

    _Row = tuple[Float32Array, IntArray, dict[str, float]]

_COUNT = struct.Struct("<I")
MOST_AWAITED = 4096
"""Images that an extractor may be at: of those that it has left out, too, no more are held."""
_MOST_OF_NUMBERS = 10_000
"""Bytes that the numbers of an image may take."""


class SharedFeatures(Shared):
    """Shared features of one of the run's extractors."""

    def __init__(self, session: Session, config: ComponentConfig, spaces: Sequence[FeatureSpace]) -> None:
        super().__init__(session, config, "features", [f"{space} of {space.n_features}" for space in spaces])
        self.spaces = spaces
        self._awaited: dict[str, tuple[ImageItem, set[FeatureSpace]]] = {}

    def awaiting(self, items: Iterable[ImageItem]) -> Iterator[ImageItem]:
        """The items, which are remembered until their features are kept: the last `MOST_AWAITED` at most."""
        for item in items:
            if self.is_used:
                self._awaited[item.item_id] = item, set(self.spaces)
                if len(self._awaited) > MOST_AWAITED:
                    self._awaited.pop(next(iter(self._awaited)))
            yield item

    def batches(self, items: Iterable[ImageItem]) -> Iterator[FeatureBatch]:
        """The cached features of these items, for items that have them in all spaces."""
        for found in self.find(items):
            for space, rows in zip(self.spaces, zip(*found.values(), strict=True), strict=True):
                yield FeatureBatch(
                    space, tuple(found), _to_matrix(rows, space.n_features), _by_name([numbers for *_, numbers in rows])
                )

    def largest(self, part: int) -> int:
        """The size of a row without zeros whose index gaps cannot be compressed, with numbers of its image."""
        return _COUNT.size + 10 * self.spaces[part].n_features + 100 + _MOST_OF_NUMBERS

    def load(self, part: int, entry: bytes) -> _Row:
        """The row; raises `ValueError` if it is not a valid row of this space."""
        return _to_row(entry, self.spaces[part].n_features)

    def keep(self, batch: FeatureBatch) -> None:
        """Add features that the extractor computed; `provenance` must be set."""
        matrix = batch.matrix
        rows = [number for number, item_id in enumerate(batch.item_ids) if item_id in self._awaited]
        places = (slice(*matrix.indptr[row : row + 2]) for row in rows)
        numbers = ({name: float(values[row]) for name, values in batch.of_images.items()} for row in rows)
        entries = (
            _to_bytes(matrix.indices[place], matrix.data[place], of_image)
            for place, of_image in zip(places, numbers, strict=True)
        )
        items = [self._awaited[batch.item_ids[row]][0] for row in rows]
        self.add(items, self.spaces.index(batch.space), entries, self.provenance)
        for item in items:
            waits_for = self._awaited[item.item_id][1]
            waits_for.discard(batch.space)
            if not waits_for:
                del self._awaited[item.item_id]


class SharedEmbeddings(Shared):
    """Shared embeddings of an embedding provider."""

    def __init__(self, session: Session, config: ComponentConfig) -> None:
        super().__init__(session, config, "embeddings", [""])
        self.config = config
        self._dim = 0

    def embed(self, items: Sequence[ImageItem], embedder: EmbeddingProvider) -> Float32Array:
        """Like the provider's `embed`, which is called only for images that are not in the cache.

        Raises `PluginError` if it returns another shape than it declares.
        """
        import numpy as np

        with self.session.components.blaming(self.config):
            self._dim = handover.count(self.session.components.who(self.config), "dim", embedder.dim)
        found = {item_id: entry for part in self.find(items) for item_id, (entry,) in part.items()}
        missing = [item for item in items if item.item_id not in found]
        rows = np.empty((len(items), self._dim), np.float32)
        made = iter(self._embed(missing, embedder) if missing else ())
        for row, item in zip(rows, items, strict=True):
            row[:] = found[item.item_id] if item.item_id in found else next(made)
        return rows

    def largest(self, part: int) -> int:  # noqa: ARG002
        """The size of a vector."""
        return 4 * self._dim

    def load(self, part: int, entry: bytes) -> Float32Array:  # noqa: ARG002
        """The vector; raises `ValueError` if its length is wrong or it is not finite."""
        import numpy as np

        vector = np.frombuffer(entry, "<f4")
        if vector.shape != (self._dim,) or not np.isfinite(vector).all():
            raise ValueError("not an embedding of this model")
        return vector.astype(np.float32, copy=False)

    def _embed(self, items: Sequence[ImageItem], embedder: EmbeddingProvider) -> Float32Array:
        import numpy as np

        with self.session.components.blaming(self.config):
            vectors = handover.vectors(
                self.session.components.who(self.config), embedder.embed(list(items)), len(items), self._dim
            )
        self.provenance = self.session.components.provenance(self.config, embedder)
        good = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist()
        entries = (vectors[row].astype("<f4").tobytes() for row in good)
        self.add([items[row] for row in good], 0, entries, self.provenance)
        return vectors


def _to_bytes(indices: NDArray[Any], values: Float32Array, of_image: Mapping[str, float]) -> bytes:
    """Encode one row: the number of values, the values, the compressed gaps between their indices, and other numbers.

    The last are JSON, nothing where there are none.
    """
    import numpy as np

    gaps = zlib.compress(np.diff(indices, prepend=0).astype("<u4").tobytes(), level=1)
    numbers = json.dumps(plain(of_image)).encode() if of_image else b""
    return _COUNT.pack(len(values)) + values.astype("<f4").tobytes() + gaps + numbers


def _to_row(entry: bytes, n_features: int) -> _Row:
    """The inverse of `_to_bytes`. Never decompresses more than a row can have."""
    import numpy as np

    if len(entry) < _COUNT.size:
        raise ValueError("it is cut")
    (count,) = _COUNT.unpack_from(entry)
    end = _COUNT.size + 4 * count
    if count > n_features or len(entry) < end:
        raise ValueError("it says that it has more values than it can have")
    unpacker = zlib.decompressobj()
    try:
        gaps = unpacker.decompress(entry[end:], 4 * count + 1)
    except zlib.error as error:
        raise ValueError(f"its indices cannot be unpacked: {error}") from None
    if len(gaps) != 4 * count or not unpacker.eof:
        raise ValueError("it has another number of indices than of values")
    values = np.frombuffer(entry[_COUNT.size : end], "<f4").astype(np.float32, copy=False)
    steps = np.frombuffer(gaps, "<u4").astype(np.int64)
    indices = np.cumsum(steps)
    if not np.isfinite(values).all() or (count and ((steps[1:] < 1).any() or indices[-1] >= n_features)):
        raise ValueError("not a row of features of this space")
    return values, indices, _to_numbers(unpacker.unused_data)


def _by_name(rows: Sequence[Mapping[str, float]]) -> dict[str, FloatArray]:
    import numpy as np

    names = dict.fromkeys(name for numbers in rows for name in numbers)
    return {name: np.array([numbers.get(name, nan) for numbers in rows]) for name in names}


def _to_numbers(entry: bytes) -> dict[str, float]:
    try:
        found = json.loads(entry) if entry else {}
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict) or not all(
        names_numbers_of_images(name) and isinstance(value, float | None) and abs(value or 0) < inf
        for name, value in found.items()
    ):
        raise ValueError("not numbers of an image")
    return {name: nan if value is None else value for name, value in found.items()}


def _to_matrix(rows: Sequence[_Row], n_features: int) -> Any:
    import numpy as np
    from scipy.sparse import csr_array

    starts = np.cumsum([0, *(len(values) for values, *_ in rows)])
    values, indices = (np.concatenate([row[place] for row in rows]) for place in (0, 1))
    return csr_array((values, indices, starts), shape=(len(rows), n_features))
