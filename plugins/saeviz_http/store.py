"""Features in the store of a service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.wire import pack_features, unpack_features
from saeviz_http.client import Client, pages

if TYPE_CHECKING:
    from saeviz_http import HttpOptions

BATCH = 256
"""Items in one request."""
_BYTES_PER_VALUE = 8
_BYTES_BESIDES = 4096


class HttpStore(saeviz.OneItemStore):
    """A feature store on another machine; when `write` returns, the data is on disk there."""

    def __init__(self, options: HttpOptions, context: saeviz.Context) -> None:
        self._client = Client(options, context, "store")

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a batch, in several requests if it is large; an existing item is replaced."""
        if not len(batch):
            return
        self._client.needs("features")
        for part in _cut(batch, self._client.most_bytes):
            self._client.send("PUT", _path(batch.space), pack_features(part), n_features=batch.space.n_features)

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Stream the batches of a space; with `item_ids` exactly these, in this order."""
        self._client.needs("features")
        wanted = self.item_ids(space) if item_ids is None else item_ids
        start = 0
        while start < len(wanted):
            asked = list(wanted[start : start + BATCH])
            body = self._client.send("POST", f"{_path(space)}/read", {"item_ids": asked}, n_features=space.n_features)
            try:
                batch = unpack_features(body, space)
            except saeviz.DataError as error:
                raise self._client.nonsense(error) from error
            if not len(batch) or list(batch.item_ids) != asked[: len(batch)]:
                raise self._client.nonsense("other items than requested")
            yield batch
            start += len(batch)

    def item_ids(self, space: saeviz.FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing."""
        self._client.needs("features")

        def page(start: int) -> dict[str, object]:
            found = self._client.get(f"{_path(space)}/items", n_features=space.n_features, start=start)
            return found or {}

        def checked() -> Iterator[str]:
            for item_id in pages(page, "item_ids", self._client):
                if not isinstance(item_id, str):
                    raise self._client.nonsense("an item id is not text")
                yield item_id

        return saeviz.Texts.of(checked())

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces with at least one item, sorted."""
        self._client.needs("features")
        try:
            found = self._client.get("/v1/features")["spaces"]
            return sorted(saeviz.FeatureSpace.parse(space["space"], space["n_features"]) for space in found)
        except (LookupError, TypeError, saeviz.DataError) as error:
            raise self._client.nonsense(error) from error

    def clear(self) -> None:
        """Remove everything in the service's store."""
        self._client.needs("features")
        self._client.send("DELETE", "/v1/features")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _path(space: saeviz.FeatureSpace) -> str:
    return f"/v1/features/{space}"


def _cut(batch: saeviz.FeatureBatch, most_bytes: int) -> Iterator[saeviz.FeatureBatch]:
    """The batch in parts that fit a request; a single item is never split."""
    starts = batch.matrix.indptr.tolist()
    first, size = 0, _BYTES_BESIDES
    for row, item_id in enumerate(batch.item_ids):
        mine = (starts[row + 1] - starts[row]) * _BYTES_PER_VALUE + 8 + 6 * len(item_id)
        if row > first and size + mine > most_bytes:
            yield saeviz.FeatureBatch(batch.space, batch.item_ids[first:row], batch.matrix[first:row])
            first, size = row, _BYTES_BESIDES
        size += mine
    whole = first == 0
    yield batch if whole else saeviz.FeatureBatch(batch.space, batch.item_ids[first:], batch.matrix[first:])
