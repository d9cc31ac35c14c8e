"""A feature store of files: each write becomes a shard, which counts once a line in the index lists it.

    layer_11/cls/index.jsonl          which items are in which shard, in the order they were written
    layer_11/cls/batch_000001.npz     the features of some items
    layer_11/cls/index-w1.jsonl       the same of the writer with the name w1 (`ShardStore.writer`)
    layer_11/cls/batch-w1_000001.npz

A shard is completely on disk before its line is added, so a crash leaves at most an unlisted shard, which the next
writer removes. If an item is written again, the later line counts. A shard whose items have all been rewritten is
removed, and small shards are merged by rewriting their items as one.

A writer holds a lock from its first `write` to `close`, and each touches its own files only. So one process writes at a
time, or several under different names. All index files are read as one (`saeviz.toolkit.shard_index`). What a killed
writer left in small shards is merged by the next one of its name, or without a name, when it closes.

Each line has a checksum, and the size, modification time and digest of its shard. A shard whose content has changed
counts as lost; content is compared only if size or time differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from copy import copy
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

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
from saeviz.toolkit.shard_files import WRITER, ShardFiles, remove, remove_if_empty
from saeviz.toolkit.shard_index import Shard, ShardIndex
from saeviz.toolkit.shard_rows import cut, refuse_ids_that_are_not_text, slices, take
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
        self._files = ShardFiles(self.index_name, self.suffix)
        self._name = ""
        self._lock = OneWriter(folder)

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

    def writer(self, name: str) -> Self:
        """The same store for the writer `name`, which may write while others do; see `saeviz.ManyWriters`."""
        if not WRITER.fullmatch(name):
            raise DataError(f"{name!r} is not a writer's name: use at most 64 lower-case letters, digits and hyphens")
        return self._as(name)

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch; an item that is already stored is replaced and keeps its position.

        Raises `DataError` if this layer and these tokens are stored with another number of features.
        """
        refuse_ids_that_are_not_text(batch.item_ids)
        if not len(batch):
            return
        self.claim()
        index = self._index_to_write(batch.space)
        for part in cut(batch, self.shard_rows, SHARD_VALUES):
            self._commit(index, part, index.generation, settled=self._is_full(len(part), part.matrix.nnz))
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
        wanted = index.item_ids() if item_ids is None else item_ids
        index.refuse_missing(wanted)
        window = max(1, WINDOW_BYTES // max(index.bytes_per_item, 1))
        for start in range(0, len(wanted), window):
            ids = iter(wanted[start : start + window])
            index, matrices = self._gather_again(index, wanted[start : start + window])
            for matrix in matrices:
                for rows in slices(matrix, self.shard_rows):
                    yield FeatureBatch(space, tuple(islice(ids, rows.shape[0])), rows)

    def item_ids(self, space: FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing; those of writers with a name come last, sorted."""
        index = self._index(space)
        return index.item_ids() if index else []

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one item, sorted."""
        return sorted(index.space for index in self._indexes.values() if not index.places.is_empty)

    def clear(self) -> None:
        """Remove all features, of all writers. Other files in the folder are left alone.

        Raises `RunDirError` if another process is writing.
        """
        if self._space_folders():
            with self.claim_all() as names:
                self.clear_of(names)
        self._indexes = {}

    def clear_of(self, names: Sequence[str]) -> None:
        """Remove the features of these writers, within `claim_all`."""
        for folder in self._space_folders():
            self._clear(folder, names)
        self._indexes = {}

    def close(self) -> None:
        """Merge the small shards that this process has written, and let other processes write."""
        indexes: Collection[ShardIndex] = list(self.__dict__.get("_indexes", {}).values())
        self._settle([self._current(index) for index in indexes if index.has_unsettled])
        if self._lock.is_held and not self._name:
            for name in sorted({name for index in indexes for name in self._unsettled(index)}):
                self._settle_for(name)
        self._lock.release()

    def claim(self) -> bool:
        """Become the only writing process, or the only one of this name, until `close`, and re-read the index.

        Returns whether it was not before. Raises `RunDirError` if another process is writing.
        """
        is_new = self._lock.claim()
        if is_new:
            self.__dict__.pop("_indexes", None)
        return is_new

    @contextmanager
    def claim_all(self) -> Iterator[list[str]]:
        """`claim`, and keep writers of all other names that have written from writing until the block ends.

        Gives all names. Raises `RunDirError` if one of them is writing.
        """
        self.claim()
        with ExitStack() as locks:
            names = sorted(
                {self._name, *(name for folder in self._space_folders() for name in self._files.writers(folder))}
            )
            for other in (self._as(name) for name in names if name != self._name):
                locks.callback(other._lock.release)
                other.claim()
            yield names

    def _as(self, name: str) -> Self:
        other = copy(self)
        other._name, other._lock = name, OneWriter(self.folder, name)
        other.__dict__.pop("_indexes", None)
        return other

    @cached_property
    def _indexes(self) -> dict[Path, ShardIndex]:
        found = (self._load_index(folder) for folder in self._space_folders())
        return {index.folder: index for index in found if index is not None}

    def _load_index(self, folder: Path) -> ShardIndex | None:
        """The index of a folder as it is now, without the shards that are lost."""
        while True:
            seen = self._files.sizes(folder)
            index = ShardIndex.load(folder, self._files, self._name)
            if index is None:
                return None
            lost = self._lost(index)
            if not lost or self._files.sizes(folder) == seen:  # else somebody may have merged them meanwhile
                self._drop(index, lost)
                return index

    def _lost(self, index: ShardIndex) -> dict[int, str]:
        return index.lost()

    def _space_folders(self) -> list[Path]:
        """The folders of this store; one further down may be that of another store, as its index says."""
        return [path for path in space_folders(self.folder) if self._is_own(path)]

    def _is_own(self, folder: Path) -> bool:
        if folder.parent.parent == self.folder:
            return bool(self._files.writers(folder))
        spaces = (space_in_header(path) for path in self._files.indexes(folder).values())
        return any(space is not None and self._folder(space) == folder for space in spaces)

    def _folder(self, space: FeatureSpace) -> Path:
        return space_folder(self.folder, space, self.folder_names)

    def _index(self, space: FeatureSpace) -> ShardIndex | None:
        index = self._indexes.get(self._folder(space))
        return index if index is not None and index.space == space else None

    def _index_to_write(self, space: FeatureSpace) -> ShardIndex:
        folder = self._folder(space)
        known = self._indexes.get(folder)
        index = self._current(known) if known else self._load_index(folder)  # another writer may have made it since
        if index is not None and index.space != space:
            raise DataError(
                f"{space}: {folder} has {index.space.n_features} features for this layer, not {space.n_features}; "
                "remove it, or use another folder for another SAE"
            )
        index = index or ShardIndex(folder, self._files, self._name, space)
        index.create()
        self._indexes[folder] = index
        self._clean(index)
        return index

    def _clean(self, index: ShardIndex) -> None:
        """Remove what this writer has left without counting it."""
        if not index.is_clean:
            remove_temporaries(index.folder, self._name)
            counted = {index.path(shard) for shard in index.shards.values()}
            remove(path for path in self._files.shards(index.folder, self._name) if path not in counted)
            index.is_clean = True

    def _commit(self, index: ShardIndex, batch: FeatureBatch, generation: int, *, settled: bool) -> None:
        number = index.next_number()
        path = self._files.shard(index.folder, self._name, number)
        stamp = self._save(path, batch, self.save_settled if settled else self.save_shard)
        emptied = index.append(number, generation, batch.item_ids, int(batch.matrix.nnz), stamp)
        index.has_unsettled |= not settled
        self._discard(index, emptied)

    def _save(self, path: Path, batch: FeatureBatch, save: Callable[[Path, FeatureBatch], None]) -> Stamp:
        with atomic_path(path, self._name) as temporary:
            save(temporary, batch)
        return Stamp.of(path)

    def _discard(self, index: ShardIndex, emptied: Iterable[Shard]) -> None:
        remove(index.path(shard) for shard in emptied)

    def _merge_small(self, index: ShardIndex, *, however_few: bool = False) -> None:
        for generation, small in self._small(index, self._name).items():
            n_items, n_values = (sum(getattr(one, n) for one in small.values()) for n in ("n_live", "n_values"))
            are_new = generation == index.generation or len(small) > 1
            if self._is_full(n_items, n_values) or (however_few and are_new):
                ids = [item_id for key in small for item_id in index.live_items(key)]
                merged = FeatureBatch(index.space, tuple(ids), index.space.stack(self._gather(index, ids)))
                self._commit(index, merged, generation, settled=True)
                index.has_unsettled = False

    def _small(self, index: ShardIndex, name: str) -> dict[int, dict[int, Shard]]:
        """The shards of a writer that could be merged, by key; those of each generation by themselves."""
        found: dict[int, dict[int, Shard]] = {}
        for key, shard in index.shards.items():
            if shard.writer == name and not self._is_full(shard.n_live, shard.n_values):
                found.setdefault(shard.generation, {})[key] = shard
        return found

    def _settle(self, indexes: Iterable[ShardIndex]) -> None:
        for index in indexes:
            try:
                self._clean(index)
                self._merge_small(index, however_few=True)
            except (RunDirError, DataError) as error:
                self.context.logger.warning("small shards were not merged: %s", error)

    def _unsettled(self, index: ShardIndex) -> list[str]:
        """The other writers that have left small shards, or shards that hold nothing."""
        counted = {index.path(shard) for shard in index.shards.values()}
        others = self._files.writers(index.folder) - {self._name}
        left = {name for name in others if not counted.issuperset(self._files.shards(index.folder, name))}
        return [
            name for name in others if name in left or max(map(len, self._small(index, name).values()), default=0) > 1
        ]

    def _settle_for(self, name: str) -> None:
        """Unless it is at work."""
        other = self._as(name)
        with suppress(RunDirError):
            other.claim()
            other._settle(other._indexes.values())
        other._lock.release()

    def _is_full(self, n_items: int, n_values: int) -> bool:
        return n_items >= self.shard_rows or n_values >= SHARD_VALUES

    def _gather_again(self, index: ShardIndex, item_ids: Sequence[str]) -> tuple[ShardIndex, list[CSR]]:
        """`_gather`; if another writer has merged shards since they were located, the items are located again."""
        try:
            return index, self._gather(index, item_ids)
        except _GoneError as gone:
            fresh = self._load_index(index.folder)
            if fresh is None or fresh.space != index.space:
                raise DataError(f"{index.space}: the store was cleared while it was read") from gone
            self._replace(index, fresh)
            fresh.refuse_missing(item_ids)
            return fresh, self._gather(fresh, item_ids)

    def _current(self, index: ShardIndex) -> ShardIndex:
        """The index; read again if another store of this process, which shares the lock, has added to it."""
        if index.is_current:
            return index
        fresh = self._load_index(index.folder) or ShardIndex(index.folder, self._files, self._name, index.space)
        self._replace(index, fresh)
        return fresh

    def _replace(self, index: ShardIndex, fresh: ShardIndex) -> None:
        fresh.has_unsettled, fresh.is_clean = index.has_unsettled, index.is_clean
        fresh.last_number = max(index.last_number, fresh.last_number)
        self._indexes[index.folder] = fresh

    def _gather(self, index: ShardIndex, item_ids: Sequence[str]) -> list[CSR]:
        """Matrices whose rows, concatenated, are the items in this order."""
        import numpy as np

        keys, rows = index.places.find(item_ids)
        order = np.lexsort((rows, keys))
        firsts = np.flatnonzero(np.diff(keys[order], prepend=-1, append=-1)).tolist()
        wanted = [(int(keys[order[first]]), rows[order[first:stop]].tolist()) for first, stop in pairwise(firsts)]
        with ThreadPoolExecutor(READERS) as pool:
            parts = list(pool.map(lambda part: take(self._load(index, part[0]), part[1]), wanted))
        return parts if (np.diff(order) == 1).all() else [index.space.stack(parts)[np.argsort(order)]]

    def _load(self, index: ShardIndex, key: int) -> CSR:
        shard = index.shards[key]
        path, items = index.path(shard), shard.items
        try:
            with self._fetched(path) as file:
                shard.check(file)
                matrix = self.load_shard(file, index.space, items)
            matrix.check_format(full_check=True)
        except UNREADABLE as error:
            kind = _GoneError if isinstance(error, FileNotFoundError) else DataError
            raise kind(f"{path} cannot be read: {error}; remove it and run again to extract its items") from error
        if matrix.shape != (len(items), index.space.n_features):
            raise DataError(f"{path} has the shape {matrix.shape}; remove it and run again to extract its items")
        return matrix

    def _fetched(self, path: Path) -> AbstractContextManager[Path]:
        """A file with the content of a shard."""
        return nullcontext(path)

    def _clear(self, folder: Path, names: Sequence[str]) -> None:
        with explain_disk_errors(folder, "emptied"):
            for name, path in self._files.indexes(folder).items():
                if name in names:
                    path.unlink(missing_ok=True)
            sync_folder(folder)
        for name in names:
            remove(self._files.shards(folder, name))
            remove_temporaries(folder, name)
        for place in (folder, folder.parent, folder.parent.parent):
            if place != self.folder:
                remove_if_empty(place)

    def _drop(self, index: ShardIndex, lost: Mapping[int, str]) -> None:
        for key, what in lost.items():
            path = index.path(index.shards[key])
            items = index.drop(key)
            self.context.logger.warning("%s %s; its %d items will be extracted again", path, what, items)


class _GoneError(DataError):
    """A shard is no longer there."""
