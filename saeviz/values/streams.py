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

    `batches()` streams them in bounded memory and can be called again and again; `matrix()` loads
    them all, for convenience. With `item_ids` everything that reads them raises `DataError` where they are not features
    of exactly these images in this order. What is given cannot be written to, except for `matrix()`.
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
        """The batches, one after the other; together their rows are the images in order."""
        return map(_read_only_batch, expected(self._read(), self.space, self.item_ids))

    def of(self, item_ids: tuple[str, ...]) -> FeatureStream:
        """The same, known to be of these images."""
        return self if self.item_ids == item_ids else FeatureStream(self.space, self._read, item_ids)

    def matrix(self) -> CSR:
        """Everything as one CSR float32 `[n_items, n_features]`, the caller's own. Memory grows with the data."""
        parts = [batch.matrix for batch in self.batches()]
        return parts[0].copy() if len(parts) == 1 else self.space.stack(parts)

    def count_active(self) -> IntArray:
        """On how many images each feature is above zero, `[n_features]`."""
        return self.statistics.n_active

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """Active images, maximum, mean of every feature, from one pass."""
        return _statistics(self)

    def top_images(self, k: int) -> TopImages:
        """The `k` most activating images of every feature; see `TopImages`."""
        if self._top is None or self._top.k < k:
            top = stream_top_images(self.batches(), self.space.n_features, k)
            self._top = TopImages(read_only(top.rows), read_only(top.values))
        return self._top.first(k)


@dataclass(frozen=True)
class FeatureStatistics:
    """Per feature, `[n_features]` each, over all images: on how many it is above zero, its extremes, its mean.

    A feature that is never stored has extremes and mean 0, and so has every feature of a stream without images.
    """

    n_active: IntArray
    maximum: FloatArray
    minimum: FloatArray
    mean: FloatArray


def expected(
    batches: Iterable[FeatureBatch], space: FeatureSpace, item_ids: Sequence[str] | None, source: str = "the store"
) -> Iterator[FeatureBatch]:
    """The batches, as long as they are of this space and, if ids are given, of exactly these items in this order.

    Raises `DataError` otherwise, which says what `source` gave.
    """
    start = 0
    for batch in batches:
        if not isinstance(batch, FeatureBatch) or batch.space != space:
            what = batch.space if isinstance(batch, FeatureBatch) else type(batch).__name__
            raise DataError(f"{space}: {source} gave {what} where a batch of this space belongs")
        if item_ids is not None:
            _refuse_other_items(batch, tuple(item_ids[start : start + len(batch)]), source)
        start += len(batch)
        yield batch
    if item_ids is not None and start != len(item_ids):
        raise DataError(f"{space}: {source} gave features of {start} images where {len(item_ids)} belong")


def _refuse_other_items(batch: FeatureBatch, belonging: tuple[str, ...], source: str) -> None:
    if batch.item_ids != belonging:
        pairs = zip(batch.item_ids, (*belonging, *[None] * len(batch)), strict=False)
        got, belongs = next((got, belongs) for got, belongs in pairs if got != belongs)
        place = f"where {belongs!r} belongs" if belongs is not None else "after the last image"
        raise DataError(f"{batch.space}: {source} gave features of item {got!r} {place}")


def read_only(array: A) -> A:
    """A view of an array that cannot be written to; the array itself stays as it is."""
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
