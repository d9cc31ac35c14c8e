"""The features of a space as a stream of batches, and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from saeviz.values.errors import DataError, SaevizError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.merging import PART_SIZE, MergeTree
from saeviz.values.statistics import FeatureStatistics, counted, merged_counts, statistics_of
from saeviz.values.summary import FeatureSummary
from saeviz.values.texts import same_texts
from saeviz.values.topk import TopImages, stream_top_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, IntArray


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
        self.item_ids = item_ids
        self._read = read
        self._top: TopImages | None = None

    def batches(self) -> Iterator[FeatureBatch]:
        """Yield the batches; their rows, concatenated, are the images in order."""
        return map(_read_only_batch, expected(self._read(), self.space, self.item_ids))

    def parts(self) -> Iterator[tuple[slice, CSR]]:
        """Yield (rows, CSR of these rows), `PART_SIZE` images at a time, whatever the batches.

        Without images there is one part without rows. What is computed of each part and merged in a `MergeTree` does
        not depend on how features are stored.
        """
        return self._cut(batch.matrix for batch in self.batches())

    def _cut(self, matrices: Iterable[CSR]) -> Iterator[tuple[slice, CSR]]:
        waiting: list[CSR] = []
        start = stop = 0
        for matrix in matrices:
            done, n = 0, matrix.shape[0]
            while done < n:
                n_more = min(n - done, start + PART_SIZE - stop)
                waiting.append(matrix if n_more == n else matrix[done : done + n_more])
                done, stop = done + n_more, stop + n_more
                if stop == start + PART_SIZE:
                    yield slice(start, stop), self.space.stack(waiting)
                    waiting, start = [], stop
        if waiting or not stop:
            yield slice(start, stop), self.space.stack(waiting)

    def of(self, item_ids: Sequence[str]) -> FeatureStream:
        """The same stream, checked to be of exactly these images."""
        is_so = self.item_ids is not None and same_texts(self.item_ids, item_ids)
        return self if is_so else FeatureStream(self.space, self._read, item_ids)

    def knowing(self, summary: FeatureSummary) -> FeatureStream:
        """The same stream, which need not be read for its statistics and top images."""
        stream = FeatureStream(self.space, self._read, self.item_ids)
        stream.statistics = FeatureStatistics(*map(read_only, vars(summary.statistics).values()))
        stream._top = TopImages(*map(read_only, vars(summary.top).values()))
        return stream

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
        tree = MergeTree(merged_counts)
        for number, (_, matrix) in enumerate(self.parts()):
            tree.add(number, counted(matrix))
        found = statistics_of(tree.result())
        return FeatureStatistics(*map(read_only, vars(found).values()))

    def top_images(self, k: int) -> TopImages:
        """The `k` most activating images of every feature; see `TopImages`."""
        if self._top is None or self._top.k < k:
            top = stream_top_images(self.batches(), self.space.n_features, k)
            self._top = TopImages(*map(read_only, vars(top).values()))
        return self._top.first(k)


class HeldFeatures(FeatureStream):
    """Features in memory, CSR `[n_items, n_features]`: their parts are cut without a look at the ids of their images.

    The arrays of the matrix become read-only.
    """

    def __init__(self, space: FeatureSpace, matrix: CSR, item_ids: Sequence[str]) -> None:
        super().__init__(space, lambda: iter((FeatureBatch(space, tuple(item_ids), matrix),)), item_ids)
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.flags.writeable = False
        self._matrix = matrix

    def parts(self) -> Iterator[tuple[slice, CSR]]:
        """As of any stream."""
        return self._cut((self._matrix,))

    def of(self, item_ids: Sequence[str]) -> HeldFeatures:
        """The same features, as those of these images, of which there are as many."""
        if len(item_ids) != self._matrix.shape[0]:
            raise DataError(f"{self.space}: {self._matrix.shape[0]} rows of features are not of {len(item_ids)} images")
        return self


def expected(
    batches: Iterable[FeatureBatch],
    space: FeatureSpace,
    item_ids: Sequence[str] | None,
    source: str = "the store",
    kind: type[SaevizError] = DataError,
) -> Iterator[FeatureBatch]:
    """Yield the batches, checking that they are of this space and, if ids are given, of exactly these items in order.

    Raises an error of this `kind` otherwise, naming the `source`.
    """
    start = 0
    for batch in batches:
        if not isinstance(batch, FeatureBatch) or batch.space != space:
            what = batch.space if isinstance(batch, FeatureBatch) else type(batch).__name__
            raise kind(f"{source} gave {what} instead of a batch of {space}")
        if item_ids is not None and (wrong := _other_item(batch, tuple(item_ids[start : start + len(batch)]))):
            raise kind(f"{source} gave features of {wrong} in {space}")
        start += len(batch)
        yield batch
    if item_ids is not None and start != len(item_ids):
        raise kind(f"{source} gave features of {start} images instead of {len(item_ids)} in {space}")


def _other_item(batch: FeatureBatch, belonging: tuple[str, ...]) -> str | None:
    """The first item of a batch that is not where it belongs, in words."""
    if batch.item_ids == belonging:
        return None
    pairs = zip(batch.item_ids, (*belonging, *[None] * len(batch)), strict=False)
    got, belongs = next((got, belongs) for got, belongs in pairs if got != belongs)
    return f"item {got!r} {f'instead of {belongs!r}' if belongs is not None else 'after the last image'}"


def read_only(array: A) -> A:
    """A read-only view of an array; the array itself stays writable."""
    view: A = array.view()
    view.flags.writeable = False
    return view


def _read_only_batch(batch: FeatureBatch) -> FeatureBatch:
    matrix = batch.matrix
    matrix.data, matrix.indices, matrix.indptr = map(read_only, (matrix.data, matrix.indices, matrix.indptr))
    return batch
