"""What is served, whatever the protocol: a feature store, the images of a run, its embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from saeviz.formats.plain import plain
from saeviz.formats.wire import pack_arrays, pack_features, pack_text, unpack_features, unpack_pictures
from saeviz.pictures.rgb import to_rgb
from saeviz.pipeline.reading import Grants, reading_session
from saeviz.stores.places import Place
from saeviz.values.decoding import size_of
from saeviz.values.errors import DataError, ImageError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.regular import open_regular

if TYPE_CHECKING:
    from saeviz.contract.roles import EmbeddingProvider

MOST_ITEMS = 1024
"""Items in one answer."""
MOST_BYTES = 64 * 2**20
"""Bytes of one request, and about of one answer."""
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class Service:
    """A store that may be written to, or a run, which may not; every call may come from another thread."""

    def __init__(self, place: Place) -> None:
        self.writable = place.rundir is None
        self._store = place.open()
        grants = place.grants or Grants()
        self._session = reading_session(place.rundir, grants, "embeddings") if place.rundir else None
        self._failed: list[tuple[str, str]] = []
        self._storing, self._looking, self._embedding = Lock(), Lock(), Lock()

    @property
    def has_images(self) -> bool:
        """Whether there are pictures."""
        return self._session is not None

    @property
    def has_embeddings(self) -> bool:
        """Whether there is an embedding model."""
        return self._session is not None and self._session.config.embeddings is not None

    def spaces(self) -> list[FeatureSpace]:
        """The spaces of the store."""
        with self._storing:
            return self._store.spaces()

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items of a space."""
        with self._storing:
            return self._store.item_ids(space)

    def read(self, space: FeatureSpace, item_ids: Sequence[str]) -> bytes:
        """Features of these items, or of the first of them where all would be too many; packed."""
        from scipy.sparse import vstack

        found: list[FeatureBatch] = []
        size = 0
        with self._storing:
            for batch in self._store.read(space, item_ids[:MOST_ITEMS]):
                found.append(batch)
                size += batch.matrix.data.nbytes * 2
                if size > MOST_BYTES:
                    break
            ids = tuple(item_id for batch in found for item_id in batch.item_ids)
            matrix: Any = vstack([batch.matrix for batch in found], format="csr") if found else _empty(space)
            return pack_features(FeatureBatch(space, ids, matrix))

    def write(self, body: bytes | bytearray, space: FeatureSpace) -> None:
        """Keep a packed batch. One at a time is unpacked: that takes several times its length."""
        with self._storing:
            self._store.write(unpack_features(body, space))

    def clear(self) -> None:
        """Forget all features."""
        with self._storing:
            self._store.clear()

    @cached_property
    def _items(self) -> dict[str, ImageItem]:
        assert self._session is not None  # noqa: S101 - asked for only where has_images
        return {item.item_id: item for item in self._session.items}

    def items(self) -> list[ImageItem]:
        """Every image of the run, listed once."""
        with self._looking:
            return list(self._items.values())

    def item(self, item_id: str) -> ImageItem | None:
        """One image."""
        with self._looking:
            return self._items.get(item_id)

    @cached_property
    def _embedder(self) -> EmbeddingProvider:
        assert self._session is not None  # noqa: S101 - asked for only where has_embeddings
        config = self._session.config.embeddings
        assert config is not None  # noqa: S101
        embedder: EmbeddingProvider = self._session.build(
            config, failed=lambda subject, error: self._failed.append((subject, error))
        )
        return embedder

    def embedder(self) -> dict[str, Any]:
        """The model: how long its vectors are, and what it is. Loads it where that is not known before."""
        with self._embedding:
            assert self._session is not None  # noqa: S101
            assert self._session.config.embeddings is not None  # noqa: S101
            return {"dim": int(self._embedder.dim), "embedder": plain(self._session.config.embeddings.as_json())}

    def embed(self, body: bytes | bytearray) -> bytes:
        """Embeddings of packed image files, packed; a row of NaN and a reason where one cannot be read."""
        import numpy as np

        with self._embedding:
            items = [ImageItem(str(number), file) for number, file in enumerate(unpack_pictures(body))]
            if len(items) > MOST_ITEMS:
                raise DataError(f"{len(items)} pictures are too many at once; send at most {MOST_ITEMS}")
            self._failed.clear()
            vectors = np.asarray(self._embedder.embed(items), "<f4").reshape(len(items), self._embedder.dim)
            reasons = dict(self._failed)
        return pack_arrays(vectors=vectors, errors=pack_text([reasons.get(item.item_id) for item in items]))

    def close(self) -> None:
        """Release what is open."""
        with self._storing, suppress(OSError):
            self._store.close()
        if self._session is not None:
            self._session.close()


def image_file(item: ImageItem) -> bytes:
    """The file of an image; one that is drawn becomes a PNG. Raises `ImageError` where it is no image."""
    if callable(item.source):
        picture, buffer = item.open(), BytesIO()
        (picture if picture.mode in PNG_MODES else to_rgb(picture)).save(buffer, "png")
        return buffer.getvalue()
    data = item.source if isinstance(item.source, bytes) else _read(item.item_id, item.source)
    if size_of(data) is None:
        raise ImageError(f"image {item.item_id!r} is no image")  # any file may be called one
    return data


def _read(item_id: str, path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"image {item_id!r} cannot be read: {reason}") from error
    if len(data) > MOST_BYTES:
        raise ImageError(f"image {item_id!r} has more than {MOST_BYTES >> 20} MiB")
    return data


def _empty(space: FeatureSpace) -> Any:
    import numpy as np
    from scipy.sparse import csr_array

    return csr_array((0, space.n_features), dtype=np.float32)
