"""A feature store of files: each write becomes a shard, which counts once a line in the index lists it.

    layer_11/cls/index.jsonl          which items are in which shard, in the order they were written
    layer_11/cls/batch_000001.npz     the features of some items

A shard is completely on disk before its line is added, so a crash leaves at most an unlisted shard, which the next
writer removes. If an item is written again, the later line counts. A shard whose items have all been rewritten is
removed, and small shards are merged by rewriting their items as one. Only one process can write at a time, from its
first `write` to `close`.

Each line has a checksum, and the size, modification time and digest of its shard. A shard whose content has changed
counts as lost; content is compared only if size or time differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from saeviz.contract.context import Context
from saeviz.contract.mixins import OneItemStore
from saeviz.formats.damage import UNREADABLE, Stamp
from saeviz.formats.files import (
    OneWriter,
    atomic_path,
    explain_disk_errors,
    remove_temporaries,
    sync_folder,
)
from saeviz.toolkit.shard_index import ShardIndex
from saeviz.toolkit.spaces import space_folder, space_folders, space_in_header
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import CSR

SHARD_VALUES = 2**19
"""A shard with this many non-zeros (4 MiB in memory) is large enough, even with few items."""
WINDOW_BYTES = 32 * 2**20
"""Approximate memory for features that `read` holds at a time."""
READERS = 2
"""Number of shards decoded concurrently."""


class ShardStore(OneItemStore, ABC):
    """A `FeatureStore` in `folder`; a subclass defines how a shard is written and read.

    Once enough is stored, each shard has at least `shard_rows` items or `SHARD_VALUES` non-zeros, and less than twice
    that.
    """

    suffix: ClassVar[str]
    index_name: ClassVar[str] = "index.jsonl"
    folder_names: ClassVar[Mapping[str, str]] = {}
    """Kinds of tokens whose folder has another name; stores with different names and index files can share a folder."""

    def __init__(self, folder: Path, shard_rows: int, context: Context) -> None:
        self.folder = folder
        self.shard_rows = shard_rows
        self.context = context
        self._writer = OneWriter(folder)

    @abstractmethod
    def save_shard(self, path: Path, batch: FeatureBatch) -> None:
        """Write a batch to `path`, a new file."""

    def save_settled(self, path: Path, batch: FeatureBatch) -> None:
        """Write a shard that will not be merged further. Override it, for example, to compress better."""
        self.save_shard(path, batch)

    @abstractmethod
    def load_shard(self, path: Path, space: FeatureSpace, item_ids: Sequence[str]) -> CSR:
        """Read a shard as a matrix `[n_items, n_features]`; row i belongs to `item_ids[i]`.

        Any built-in exception means that the file is not a valid shard.
        """

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch; an item that is already stored is replaced and keeps its position.

        Raises `DataError` if this layer and these tokens are stored with another number of features.
        """
        _refuse_ids_that_are_not_text(batch.item_ids)
        if not len(batch):
            return
        self.claim()
        index = self._index_to_write(batch.space)
        for part in _cut(batch, self.shard_rows):
            self._commit(index, part, settled=self._is_full(len(part), part.matrix.nnz))
            self._merge_small(index)

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Stream the batches of a space; with `item_ids`, exactly these items in this order.

        Raises `DataError` if an item is not stored or its shard is damaged.
        """
        index = self._index(space)
        if index is None:
            if item_ids:
                raise DataError(f"{space}: the store has no item {item_ids[0]!r}")
            return
        wanted = list(index.places) if item_ids is None else list(item_ids)
        missing = next((item_id for item_id in wanted if item_id not in index.places), None)
        if missing is not None:
            raise DataError(f"{space}: the store has no item {missing!r}")
        window = max(1, WINDOW_BYTES // max(index.bytes_per_item, 1))
        for start in range(0, len(wanted), window):
            ids = iter(wanted[start : start + window])
            for matrix in self._gather(index, wanted[start : start + window]):
                for rows in _slices(matrix, self.shard_rows):
                    yield FeatureBatch(space, tuple(islice(ids, rows.shape[0])), rows)

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """The items stored for a space, in the order of writing."""
        index = self._index(space)
        return list(index.places) if index else []

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one item, sorted."""
        return sorted(index.space for index in self._indexes.values() if index.places)

    def clear(self) -> None:
        """Remove all features. Other files in the folder are left alone."""
        if not self._space_folders():
            self._indexes = {}
            return
        self.claim()
        for folder in self._space_folders():
            with explain_disk_errors(folder, "emptied"):
                (folder / self.index_name).unlink(missing_ok=True)
                sync_folder(folder)
            self._remove(folder.glob(f"batch_*{self.suffix}"))
            remove_temporaries(folder)
            _remove_if_empty(folder)
            _remove_if_empty(folder.parent)
            if folder.parent.parent != self.folder:
                _remove_if_empty(folder.parent.parent)
        self._indexes = {}

    def close(self) -> None:
        """Merge the small shards that this process has written, and let other processes write."""
        for index in self.__dict__.get("_indexes", {}).values():
            if index.has_unsettled:
                try:
                    self._merge_small(index, however_few=True)
                except (RunDirError, DataError) as error:
                    self.context.logger.warning("small shards were not merged: %s", error)
        self._writer.release()

    def claim(self) -> None:
        """Become the only writing process, until `close`, and re-read the index.

        Raises `RunDirError` if another process is writing.
        """
        if self._writer.claim():
            self.__dict__.pop("_indexes", None)

    @cached_property
    def _indexes(self) -> dict[Path, ShardIndex]:
        found = (ShardIndex.load(folder / self.index_name) for folder in self._space_folders())
        indexes = {index.folder: index for index in found if index is not None}
        for index in indexes.values():
            self._drop_lost_shards(index)
        return indexes

    def _space_folders(self) -> list[Path]:
        """The folders of this store; one further down may be that of another store, as its index says."""
        return [path for path in space_folders(self.folder) if self._is_own(path)]

    def _is_own(self, folder: Path) -> bool:
        index = folder / self.index_name
        if folder.parent.parent == self.folder:
            return index.is_file() or any(folder.glob(f"batch_*{self.suffix}"))
        space = space_in_header(index)
        return space is not None and self._folder(space) == folder

    def _folder(self, space: FeatureSpace) -> Path:
        return space_folder(self.folder, space, self.folder_names)

    def _index(self, space: FeatureSpace) -> ShardIndex | None:
        index = self._indexes.get(self._folder(space))
        return index if index is not None and index.space == space else None

    def _index_to_write(self, space: FeatureSpace) -> ShardIndex:
        folder = self._folder(space)
        index = self._indexes.get(folder)
        if index is not None and index.space != space:
            raise DataError(
                f"{space}: {folder} has {index.space.n_features} features for this layer, not {space.n_features}; "
                "remove it, or use another folder for another SAE"
            )
        if index is None:
            index = self._indexes[folder] = ShardIndex.create(folder / self.index_name, space)
        if not index.is_clean:
            remove_temporaries(folder)
            shards = folder.glob(f"batch_*{self.suffix}")
            counted = {self._path(index, number) for number in index.shards}
            self._remove(path for path in shards if path not in counted)
            index.is_clean = True
        return index

    def _commit(self, index: ShardIndex, batch: FeatureBatch, *, settled: bool) -> None:
        number = index.next_number()
        path = self._path(index, number)
        with atomic_path(path) as temporary:
            (self.save_settled if settled else self.save_shard)(temporary, batch)
        index.append(number, batch.item_ids, int(batch.matrix.nnz), Stamp.of(path))
        index.has_unsettled |= not settled
        self._remove(self._path(index, emptied) for emptied in index.pop_emptied())

    def _merge_small(self, index: ShardIndex, *, however_few: bool = False) -> None:
        small = {n: shard for n, shard in index.shards.items() if not self._is_full(shard.n_live, shard.n_values)}
        n_items = sum(shard.n_live for shard in small.values())
        n_values = sum(shard.n_values for shard in small.values())
        if small and (however_few or self._is_full(n_items, n_values)):
            ids = [item_id for number in small for item_id in index.live_items(number)]
            merged = FeatureBatch(index.space, tuple(ids), index.space.stack(self._gather(index, ids)))
            self._commit(index, merged, settled=True)
            index.has_unsettled = False

    def _is_full(self, n_items: int, n_values: int) -> bool:
        return n_items >= self.shard_rows or n_values >= SHARD_VALUES

    def _gather(self, index: ShardIndex, item_ids: Sequence[str]) -> list[CSR]:
        """Matrices whose rows, concatenated, are the items in this order."""
        import numpy as np

        places = [index.places[item_id] for item_id in item_ids]
        order = sorted(range(len(places)), key=places.__getitem__)
        shards = groupby((places[position] for position in order), key=lambda place: place[0])
        wanted = [(number, [row for _, row in found]) for number, found in shards]
        with ThreadPoolExecutor(READERS) as pool:
            parts = list(pool.map(lambda part: _take(self._load(index, part[0]), part[1]), wanted))
        return parts if order == list(range(len(order))) else [index.space.stack(parts)[np.argsort(order)]]

    def _load(self, index: ShardIndex, number: int) -> CSR:
        path, shard = self._path(index, number), index.shards[number]
        items = shard.items
        try:
            shard.check(path)
            matrix = self.load_shard(path, index.space, items)
            matrix.check_format(full_check=True)
        except UNREADABLE as error:
            raise DataError(f"{path} cannot be read: {error}; remove it and run again to extract its items") from error
        if matrix.shape != (len(items), index.space.n_features):
            raise DataError(f"{path} has the shape {matrix.shape}; remove it and run again to extract its items")
        return matrix

    def _path(self, index: ShardIndex, number: int) -> Path:
        return index.folder / f"batch_{number:06d}{self.suffix}"

    def _drop_lost_shards(self, index: ShardIndex) -> None:
        lost = [number for number, shard in index.shards.items() if not shard.is_whole(self._path(index, number))]
        for number in lost:
            items = index.drop(number)
            path = self._path(index, number)
            what = "was changed or damaged since it was written" if path.exists() else "is missing"
            self.context.logger.warning("%s %s; its %d items will be extracted again", path, what, items)

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with explain_disk_errors(path, "removed"):
                path.unlink(missing_ok=True)


def _cut(batch: FeatureBatch, shard_rows: int) -> Iterator[FeatureBatch]:
    """Split the batch into parts of at most `shard_rows` rows and about `SHARD_VALUES` non-zeros."""
    import numpy as np

    starts = batch.matrix.indptr
    start = 0
    while start < len(batch):
        stop = min(int(np.searchsorted(starts, starts[start] + SHARD_VALUES)), start + shard_rows, len(batch))
        whole = start == 0 and stop == len(batch)
        yield batch if whole else FeatureBatch(batch.space, batch.item_ids[start:stop], batch.matrix[start:stop])
        start = stop


def _take(matrix: CSR, rows: list[int]) -> CSR:
    return matrix if rows == list(range(matrix.shape[0])) else matrix[rows]


def _slices(matrix: CSR, n_rows: int) -> Iterator[CSR]:
    if matrix.shape[0] <= n_rows:
        return iter([matrix])
    return (matrix[start : start + n_rows] for start in range(0, matrix.shape[0], n_rows))


def _refuse_ids_that_are_not_text(item_ids: Sequence[str]) -> None:
    for item_id in item_ids:
        try:
            item_id.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"item id {item_id!r} is not valid unicode text (a lone surrogate)") from error


def _remove_if_empty(folder: Path) -> None:
    with explain_disk_errors(folder, "removed"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
