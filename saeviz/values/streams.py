"""The features of a space as a stream of batches, and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from saeviz.values.errors import DataError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.topk import TopImages, stream_top_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, FloatArray, IntArray


A = TypeVar("A", bound="NDArray[Any]")


class FeatureStream:
    """The features of one space over all images of a run, in a fixed order of images.

    `batches()` streams them in bounded memory and can be called repeatedly; `matrix()` loads them all, for convenience.
    With `item_ids`, all methods raise `DataError` if the features are not of exactly these images in this order. All
    results are read-only, except that of `matrix()`.
    """

    def __init__(
        self,
        space: FeatureSpace,
        read: Callable[[], Iterator[FeatureBatch]],
        item_ids: Sequence[str] | None = None,
    ) -> None:
        self.space = space
        self.item_ids = None if item_ids is None else tuple(item_ids)
        self._read = read
        self._top: TopImages | None = None

    def batches(self) -> Iterator[FeatureBatch]:
        """Yield the batches; their rows, concatenated, are the images in order."""
        return map(_read_only_batch, expected(self._read(), self.space, self.item_ids))

    def of(self, item_ids: tuple[str, ...]) -> FeatureStream:
        """The same stream, checked to be of exactly these images."""
        return self if self.item_ids == item_ids else FeatureStream(self.space, self._read, item_ids)

    def matrix(self) -> CSR:
        """All features as one CSR, float32 `[n_items, n_features]`, a copy. Memory grows with the data."""
        parts = [batch.matrix for batch in self.batches()]
        return parts[0].copy() if len(parts) == 1 else self.space.stack(parts)

    def count_active(self) -> IntArray:
        """The number of images on which each feature is above zero, int64 `[n_features]`."""
        return self.statistics.n_active

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """The statistics of every feature, computed once in one pass."""
        return _statistics(self)

    def top_images(self, k: int) -> TopImages:
        """The `k` most activating images of every feature; see `TopImages`."""
        if self._top is None or self._top.k < k:
            top = stream_top_images(self.batches(), self.space.n_features, k)
            self._top = TopImages(read_only(top.rows), read_only(top.values))
        return self._top.first(k)


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics over all images, each `[n_features]`: the number of images above zero, the extremes and the mean.

    Extremes and mean are 0 for a feature that is never active, and for all features if there are no images.
    """

    n_active: IntArray
    maximum: FloatArray
    minimum: FloatArray
    mean: FloatArray


def expected(
    batches: Iterable[FeatureBatch], space: FeatureSpace, item_ids: Sequence[str] | None, source: str = "the store"
) -> Iterator[FeatureBatch]:
    """Yield the batches, checking that they are of this space and, if ids are given, of exactly these items in order.

    Raises `DataError` otherwise, naming the `source`.
    """
    start = 0
    for batch in batches:
        if not isinstance(batch, FeatureBatch) or batch.space != space:
            what = batch.space if isinstance(batch, FeatureBatch) else type(batch).__name__
            raise DataError(f"{space}: {source} gave {what} instead of a batch of this space")
        if item_ids is not None:
            _refuse_other_items(batch, tuple(item_ids[start : start + len(batch)]), source)
        start += len(batch)
        yield batch
    if item_ids is not None and start != len(item_ids):
        raise DataError(f"{space}: {source} gave features of {start} images instead of {len(item_ids)}")


def _refuse_other_items(batch: FeatureBatch, belonging: tuple[str, ...], source: str) -> None:
    if batch.item_ids != belonging:
        pairs = zip(batch.item_ids, (*belonging, *[None] * len(batch)), strict=False)
        got, belongs = next((got, belongs) for got, belongs in pairs if got != belongs)
        place = f"instead of {belongs!r}" if belongs is not None else "after the last image"
        raise DataError(f"{batch.space}: {source} gave features of item {got!r} {place}")


def read_only(array: A) -> A:
    """A read-only view of an array; the array itself stays writable."""
    view: A = array.view()
    view.flags.writeable = False
    return view


def _read_only_batch(batch: FeatureBatch) -> FeatureBatch:
    matrix = batch.matrix
    matrix.data, matrix.indices, matrix.indptr = map(read_only, (matrix.data, matrix.indices, matrix.indptr))
    return batch


def _statistics(stream: FeatureStream) -> FeatureStatistics:
    import numpy as np

    n_features = stream.space.n_features
    n_active = np.zeros(n_features, dtype=np.int64)
    n_stored = np.zeros(n_features, dtype=np.int64)
    total = np.zeros(n_features)
    maximum = np.full(n_features, -np.inf, dtype=np.float32)
    minimum = np.full(n_features, np.inf, dtype=np.float32)
    n_items = 0
    for batch in stream.batches():
        columns, values = batch.matrix.indices.astype(np.intp), batch.matrix.data
        n_items += len(batch)
        n_stored += np.bincount(columns, minlength=n_features)
        n_active += np.bincount(columns[values > 0], minlength=n_features)
        total += np.bincount(columns, weights=values, minlength=n_features)
        np.maximum.at(maximum, columns, values)
        np.minimum.at(minimum, columns, values)
    has_zero = n_stored < n_items
    maximum[has_zero] = np.maximum(maximum[has_zero], 0.0)
    minimum[has_zero] = np.minimum(minimum[has_zero], 0.0)
    if not n_items:
        maximum[:] = minimum[:] = 0.0
    found = (n_active, maximum.astype(float), minimum.astype(float), total / max(n_items, 1))
    return FeatureStatistics(*map(read_only, found))
