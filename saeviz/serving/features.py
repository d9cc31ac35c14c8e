"""Serve the features of a store, serialised."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from saeviz.formats.wire import pack_features, unpack_features
from saeviz.serving.limits import MOST_BYTES, MOST_ITEMS
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from saeviz.contract.stores import FeatureStore


class ServedFeatures:
    """A store; a thread of its own asks it (`OneThread`)."""

    def __init__(self, store: FeatureStore, *, writable: bool) -> None:
        self.writable = writable
        self._store = store

    def spaces(self) -> list[FeatureSpace]:
        """The spaces of the store."""
        return self._store.spaces()

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items of a space."""
        return list(self._store.item_ids(space))

    def read(self, space: FeatureSpace, item_ids: Sequence[str]) -> bytes:
        """The packed features of these items, or of the first of them if all would be too large."""
        found: list[FeatureBatch] = []
        size = 0
        for batch in self._store.read(space, item_ids[:MOST_ITEMS]):
            found.append(batch)
            size += batch.matrix.data.nbytes * 2
            if size > MOST_BYTES:
                break
        ids = tuple(item_id for batch in found for item_id in batch.item_ids)
        return pack_features(FeatureBatch(space, ids, space.stack(batch.matrix for batch in found)))

    def write(self, body: bytes | bytearray, space: FeatureSpace) -> None:
        """Store a packed batch. Unpacking takes several times its length in memory."""
        self._store.write(unpack_features(body, space))

    def clear(self) -> None:
        """Remove all features."""
        self._store.clear()

    def close(self) -> None:
        """Close the store."""
        with suppress(OSError):
            self._store.close()
