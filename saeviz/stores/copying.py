"""Copy features from one store to another: in bounded memory, resumable, and verified bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from saeviz.contract.roles import can
from saeviz.contract.stores import SaysDurability
from saeviz.pipeline.progress import chunked
from saeviz.values.errors import ConfigError, DataError
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from saeviz.contract.stores import FeatureStore

CHUNK = 1024
"""Items requested at a time; a store yields them in smaller batches if they are large."""
Progress = Callable[[Iterable[str], int | None, str], Iterator[str]]


@dataclass(frozen=True)
class Copied:
    """The result for one space: the copy has `items` items, of which `written` were written now."""

    space: FeatureSpace
    items: int
    written: int


class Part:
    """A view of a store that is restricted to some items."""

    def __init__(self, store: FeatureStore, item_ids: Collection[str]) -> None:
        self._store = store
        self._item_ids = frozenset(item_ids)

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one of the items."""
        return [space for space in self._store.spaces() if self.item_ids(space)]

    def item_ids(self, space: FeatureSpace) -> list[str]:
        """Those that the store has."""
        return [item_id for item_id in self._store.item_ids(space) if item_id in self._item_ids]

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """As the store's own."""
        return iter(self._store.read(space, self.item_ids(space) if item_ids is None else item_ids))


def copy_features(
    source: FeatureStore | Part,
    open_target: Callable[[], FeatureStore],
    progress: Progress,
) -> list[Copied]:
    """Copy all features of `source` to a target, in the same order.

    Items that are already there and equal are skipped, so an interrupted copy resumes. Raises `ConfigError`, before
    anything is written, if the target has other features or does not outlive the process, and `DataError` if the
    written features do not read back identically.
    """
    target = open_target()
    try:
        _refuse_one_that_forgets(target)
        missing = {space: _missing(source, target, space, progress) for space in _spaces(source, target)}
        for space, item_ids in missing.items():
            for chunk in _chunks(item_ids, progress, f"copy {space}"):
                for batch in source.read(space, chunk):
                    target.write(batch)
    finally:
        target.close()
    target = open_target()  # closing may have rewritten what was kept
    try:
        return [_verified(source, target, space, item_ids, progress) for space, item_ids in missing.items()]
    finally:
        target.close()


def _refuse_one_that_forgets(target: FeatureStore) -> None:
    if can(target, SaysDurability) and not target.durable:
        raise ConfigError("to: this store keeps features only as long as the process lives; copy to one that lasts")


def _spaces(source: FeatureStore | Part, target: FeatureStore) -> list[FeatureSpace]:
    spaces = source.spaces()
    if not spaces:
        raise ConfigError("from: the store is empty, there is nothing to copy")
    other = [space for space in target.spaces() if space not in spaces]
    if other:
        raise ConfigError(
            f"to: the store already holds {other[0]} with {other[0].n_features} features, which is not part of what is "
            "copied; use an empty one"
        )
    return spaces


def _missing(source: FeatureStore | Part, target: FeatureStore, space: FeatureSpace, progress: Progress) -> list[str]:
    """The items that the target lacks. Raises `ConfigError` if it has others or different ones."""
    item_ids = source.item_ids(space)
    there = set(target.item_ids(space))
    other = there.difference(item_ids)
    if other:
        raise ConfigError(
            f"to: the store already holds other items of {space}, such as {min(other)!r}; use an empty one"
        )
    different = _first_difference(source, target, space, [item for item in item_ids if item in there], progress)
    if different is not None:
        raise ConfigError(f"to: the store already holds other features of {different!r} in {space}; use an empty one")
    return [item_id for item_id in item_ids if item_id not in there]


def _verified(
    source: FeatureStore | Part, target: FeatureStore, space: FeatureSpace, written: list[str], progress: Progress
) -> Copied:
    item_ids = source.item_ids(space)
    lost = set(item_ids).symmetric_difference(target.item_ids(space))
    wrong = min(lost) if lost else _first_difference(source, target, space, written, progress)
    if wrong is not None:
        raise DataError(
            f"to: the features of {wrong!r} in {space} do not come back as they were written; this store does not "
            "keep them exactly, or something else writes to one of the two"
        )
    return Copied(space, len(item_ids), len(written))


def _first_difference(
    one: FeatureStore | Part, other: FeatureStore, space: FeatureSpace, item_ids: Sequence[str], progress: Progress
) -> str | None:
    """The first of these items whose features differ in any bit, None if all are equal."""
    for chunk in _chunks(item_ids, progress, f"compare {space}"):
        pairs = zip_longest(_rows(one.read(space, chunk)), _rows(other.read(space, chunk)))
        for item_id, (mine, theirs) in zip(chunk, pairs, strict=True):
            if mine != theirs:
                return item_id
    return None


def _rows(batches: Iterable[FeatureBatch]) -> Iterator[tuple[str, bytes, bytes]]:
    """Each item with the bytes of its features and values."""
    for batch in batches:
        starts = batch.matrix.indptr
        for row, item_id in enumerate(batch.item_ids):
            part = slice(starts[row], starts[row + 1])
            yield item_id, batch.matrix.indices[part].astype("<i8").tobytes(), batch.matrix.data[part].tobytes()


def _chunks(item_ids: Sequence[str], progress: Progress, label: str) -> Iterator[Sequence[str]]:
    return chunked(progress(item_ids, len(item_ids), label), CHUNK)
