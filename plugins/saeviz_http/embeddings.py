"""Embeddings from the model of a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.images import picture_file
from saeviz.toolkit.wire import EMBEDDINGS, pack_pictures, unpack_arrays, unpack_text
from saeviz_http.client import Client

if TYPE_CHECKING:
    from saeviz.typing import Float32Array
    from saeviz_http import HttpOptions

BATCH = 32
"""Pictures in one request at most."""
LONGEST = 2**20
"""No model has longer embeddings."""
_BYTES_BESIDES = 4096


class HttpEmbeddings(saeviz.OneItemEmbeddings):
    """An embedding provider that sends the image files to a service unchanged."""

    def __init__(self, options: HttpOptions, context: saeviz.Context) -> None:
        self.context = context
        self._client = Client(options, context, context.place or "embeddings")

    @cached_property
    def dim(self) -> int:
        """Length of one embedding, as the service says."""
        dim = self._model.get("dim")
        if type(dim) is not int or not 1 <= dim <= LONGEST:
            raise self._client.nonsense(f"embeddings of length {dim!r}")
        return dim

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the embeddings come from, and the service's word on what its model is."""
        return {"service": self._client.url, "embedder": self._model.get("embedder")}

    def embed(self, items: Sequence[saeviz.ImageItem]) -> Float32Array:
        """`[len(items), dim]` float32; an unreadable image is reported and gives NaN."""
        import numpy as np

        rows = np.full((len(items), self.dim), np.nan, dtype=np.float32)
        for part in self._requests(items):
            vectors, errors = self._ask([data for _, data in part])
            for (number, _), vector, error in zip(part, vectors, errors, strict=True):
                rows[number] = vector
                if error is not None:
                    self.context.failed(items[number].item_id, f"{self._client.url} cannot embed it: {error}")
        return rows

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @cached_property
    def _model(self) -> Mapping[str, Any]:
        self._client.needs("embeddings")
        return self._client.get("/v1/embeddings") or {}

    def _requests(self, items: Sequence[saeviz.ImageItem]) -> Iterator[list[tuple[int, bytes]]]:
        """The files of the items, by number, in parts that a request may hold; what cannot be sent is reported."""
        part: list[tuple[int, bytes]] = []
        most = self._client.most_bytes - _BYTES_BESIDES
        for number, item in enumerate(items):
            try:
                data = picture_file(item)
            except saeviz.ImageError as error:
                self.context.failed(item.item_id, str(error))
                continue
            if len(data) > most:
                self.context.failed(item.item_id, f"its file has more than the {most} bytes that the service takes")
                continue
            if part and (len(part) == BATCH or sum(len(data) for _, data in part) + len(data) > most):
                yield part
                part = []
            part.append((number, data))
        if part:
            yield part

    def _ask(self, files: Sequence[bytes]) -> tuple[Float32Array, list[str | None]]:
        import numpy as np

        body = self._client.send("POST", "/v1/embeddings", pack_pictures(files))
        try:
            found = unpack_arrays(body, EMBEDDINGS)
            vectors, errors = found["vectors"], unpack_text(found["errors"])
        except saeviz.DataError as error:
            raise self._client.nonsense(error) from error
        if vectors.shape != (len(files), self.dim) or len(errors) != len(files):
            raise self._client.nonsense(f"embeddings of shape {vectors.shape} for {len(files)} pictures")
        reasons = [
            None if np.isfinite(vector).all() else str(error)[:500] if error else "they are not numbers"
            for vector, error in zip(vectors, errors, strict=True)
        ]
        return vectors, reasons
