"""The input of a scorer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING

from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.streams import FeatureStream, HeldFeatures, read_only
from saeviz.values.texts import fixed

if TYPE_CHECKING:
    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray, Mask


@dataclass(frozen=True)
class IndividualRatings:
    """Individual ratings: rater `raters[i]` rated the image of row `rows[i]` as `values[i]`.

    `rows`, `raters` (int64) and `values` (float64) are `[n_ratings]`, sorted by row; `raters` are indices into `names`,
    the raters' ids. No rater rates an image twice. The arrays are read-only.
    """

    rows: IntArray
    raters: IntArray
    values: FloatArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("rows", "raters", "values"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True)
class ScoreInput:
    """One space of a run, as a scorer sees it.

    `item_ids` are the images in row order; like `metadata` and `groups`, they are any sequence, in a run one that is
    not a list in memory. `embeddings` is float32 `[n_items, dim]`, with a row of NaN for an image
    without an embedding, or None in a run without embeddings. `ratings` maps a rating's name to float64 `[n_items]`,
    NaN if an image is not rated (treat an infinity the same); `individual` maps it to the individual ratings, if known.
    `metadata` maps a name to one text per image, '' if missing. `second_embeddings` are those of a second provider, if
    there is one. `groups` is the group of every image, None for an image that is its own group; it is None in a run
    without groups. `of_images` maps columns of `images.parquet` to float64 `[n_items]`, NaN where there is no value:
    `l0.SPACE`, those of extractors, and those of scorers that ran before. In a run, all scorers get the same values
    otherwise, which are read-only.

    If `rows` is set, this is a part: `features` are those of the images `rows` only, all else is still of all images.
    """

    space: FeatureSpace
    item_ids: Sequence[str]
    features: FeatureStream
    embeddings: Float32Array | None
    ratings: Mapping[str, FloatArray]
    individual: Mapping[str, IndividualRatings] = field(default_factory=dict)
    metadata: Mapping[str, Sequence[str]] = field(default_factory=dict)
    second_embeddings: Float32Array | None = None
    groups: Sequence[str | None] | None = None
    of_images: Mapping[str, FloatArray] = field(default_factory=dict)
    rows: slice | None = None

    def __post_init__(self) -> None:
        ids = self.item_ids if self.rows is None else self.item_ids[self.rows]
        object.__setattr__(self, "features", self.features.of(ids))

    def locked(self) -> ScoreInput:
        """A read-only view of the same values, so that one scorer cannot affect the next."""
        return replace(
            self,
            embeddings=None if self.embeddings is None else read_only(self.embeddings),
            ratings=MappingProxyType({name: read_only(values) for name, values in self.ratings.items()}),
            individual=MappingProxyType(dict(self.individual)),
            metadata=MappingProxyType({name: fixed(values) for name, values in self.metadata.items()}),
            second_embeddings=None if self.second_embeddings is None else read_only(self.second_embeddings),
            groups=None if self.groups is None else fixed(self.groups),
            of_images=MappingProxyType({name: read_only(values) for name, values in self.of_images.items()}),
        )

    def with_targets(self, names: Collection[str]) -> ScoreInput:
        """The same with those columns of `images.parquet` among the ratings that these names mean."""
        named = {name: self.of_images[name] for name in names if name in self.of_images and name not in self.ratings}
        return replace(self, ratings={**self.ratings, **named}) if named else self

    @property
    def n_items(self) -> int:
        """The number of images."""
        return len(self.item_ids)

    def part(self, rows: slice, read: Callable[[], Iterator[FeatureBatch]]) -> ScoreInput:
        """The part with the images `rows`, whose features `read` yields."""
        return replace(self, rows=rows, features=FeatureStream(self.space, read))

    def parts(self) -> Iterator[ScoreInput]:
        """Parts of `PART_SIZE` images, in order, from one pass over the features; an empty one if there are none."""
        before = self.rows.start if self.rows else 0
        for of_stream, matrix in self.features.parts():
            rows = slice(before + of_stream.start, before + of_stream.stop)
            yield replace(self, rows=rows, features=HeldFeatures(self.space, matrix, self.item_ids[rows]))

    def with_features(self, values: CSR) -> ScoreInput:
        """The same with these features instead, in memory: CSR `[n, n_items]`, as `BlockScores.block` gets them."""
        import numpy as np
        from scipy.sparse import csr_array

        space, by_image = replace(self.space, n_features=values.shape[0]), csr_array(values.T, dtype=np.float32)
        by_image.eliminate_zeros()
        return replace(self, space=space, features=HeldFeatures(space, by_image, self.item_ids))

    def matrix(self) -> CSR:
        """The features as one CSR, for instance of a part; read-only, unlike the copy of `features.matrix()`."""
        return self.space.stack(matrix for _, matrix in self.features.parts())

    def chunks(self, n_entries: int = 1 << 20) -> Iterator[tuple[slice, CSR]]:
        """Stream the features as (rows, CSR of these rows), which do not depend on the batches that are stored.

        `rows` is a slice of `item_ids`, `embeddings` and `ratings`. A chunk ends with the image that brings it to
        `n_entries` values. Raises `DataError` if the stream does not contain exactly `item_ids`, in order.
        """
        waiting: list[CSR] = []
        start = stop = self.rows.start if self.rows else 0
        n_waiting = 0
        for batch in self.features.batches():
            ends, done = batch.matrix.indptr[1:], 0
            while done < len(batch):
                enough = int(batch.matrix.indptr[done]) + n_entries - n_waiting
                last = min(int(ends.searchsorted(enough)) + 1, len(batch))
                part = batch.matrix if last - done == len(batch) else batch.matrix[done:last]
                waiting.append(part)
                n_waiting, stop, done = n_waiting + part.nnz, stop + last - done, last
                if n_waiting >= n_entries:
                    yield slice(start, stop), _read_only(self.space.stack(waiting))
                    waiting, n_waiting, start = [], 0, stop
        if waiting:
            yield slice(start, stop), _read_only(self.space.stack(waiting))


def _read_only(matrix: CSR) -> CSR:
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.setflags(write=False)
    return matrix


def finding_images(
    item_ids: Sequence[str], share: float | None, seed: int, groups: Sequence[str | None] | None = None
) -> Mask:
    """A mask `[n_items]` of the images on which relations are discovered, about `share` of all; all for None.

    A hash of seed and id decides for each image, independent of its position and of the other images. Images of one of
    the `groups` stay together: for them, the group's name takes the place of the id.
    """
    import numpy as np

    if share is None:
        return np.ones(len(item_ids), dtype=bool)
    names = item_ids if groups is None else map(_together, item_ids, groups)
    hashes = bytearray()
    for name in names:
        hashes += blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    return np.frombuffer(hashes, dtype="<u8") < np.uint64(share * 2**64)


def _together(item_id: str, group: str | None) -> str:
    return item_id if group is None else group
