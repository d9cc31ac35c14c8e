"""The index of a `saeviz.toolkit.shards.ShardStore`, which locates the items of one space in its shards.

Each writer has a file of its own, `index.jsonl`, or `index-NAME.jsonl` for a writer with a name. The first line
describes the space; each further line lists the items of one shard and has a checksum.

The files are read as one: all lines in the order of their generation, within a generation by the writer's name, and
within a file as they stand. If an item is listed twice, the later line counts. The generation of what a writer writes
is higher than that of everything it found of others when it began, so it replaces that; writers at work at the same
time write the same, so it does not matter which of them counts. Lines without a generation are of the first, 0. What
is merged keeps its generation: others may have replaced some of it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.damage import Stamp
from saeviz.formats.lines import DAMAGED, checked_line, parse_line, reason_of
from saeviz.toolkit.shard_files import ShardFiles, has_name
from saeviz.toolkit.shard_places import ItemPlaces
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.held_once import texts_held_once
from saeviz.values.keys import record_of, space_of
from saeviz.values.regular import read_regular
from saeviz.values.texts import Texts

if TYPE_CHECKING:
    from saeviz.typing import IntArray

_BYTES_PER_VALUE = 8
_ITEMS_AT_A_TIME = 65_536


@dataclass
class Shard:
    """One shard as recorded in the index."""

    writer: str
    number: int
    generation: int
    items: Texts
    n_active: int
    n_live: int
    stamp: Stamp | None = None
    """None for shards written by an earlier version."""
    is_checked: bool = False
    """Whether its content has been compared with the stamp."""

    @property
    def n_values(self) -> int:
        """Approximate number of non-zeros of the live items."""
        return self.n_active * self.n_live // len(self.items)

    def check(self, path: Path) -> None:
        """Raise `ValueError` where the content of the file at `path` is not as it was written; looked at once."""
        if self.stamp is not None and not self.is_checked:
            self.stamp.check(read_regular(path))
            self.is_checked = True

    def is_whole(self, path: Path) -> bool:
        """Whether the file at `path` is unchanged; without a stamp, whether it exists."""
        return path.exists() if self.stamp is None else self.stamp.fits(path)


@dataclass
class ShardIndex:
    """Where the items of one space are stored, as the writer `writer` sees it who may add to it.

    `places` has the key of the shard of each item, and its row; a later shard has a higher key. Those that no writer
    without a name has written are apart.
    """

    folder: Path
    files: ShardFiles
    writer: str
    space: FeatureSpace
    shards: dict[int, Shard] = field(default_factory=dict)
    is_clean: bool = False
    has_unsettled: bool = False
    last_number: int = 0
    """Of the shards of this writer."""
    generation: int = 0
    """Of what this writer writes."""
    _last_key: int = 0
    _has_file: bool = False
    _size: int = 0
    """Of this writer's file, when it was last read or written."""

    def __post_init__(self) -> None:
        self.places = ItemPlaces(lambda key, row: self.shards[key].items[row])

    @classmethod
    def load(cls, folder: Path, files: ShardFiles, writer: str) -> ShardIndex | None:
        """Read the files of all writers, None if there are none. Raises `RunDirError` if one is damaged."""
        size = files.size(folder, writer)
        found = files.lines(folder)
        if not found:
            return None
        index = cls(folder, files, writer, _space_of_all(found), _has_file=writer in found, _size=size)
        # What was merged is behind what was written since, and of its own generation still.
        entries = [sorted(_entries(one, *rest), key=attrgetter("generation")) for one, rest in found.items()]
        found.clear()
        for some in _together(merge(*entries, key=lambda entry: (entry.generation, entry.writer))):
            index._add(some)
            last = max(entry.generation + (entry.writer != writer) for entry in some)
            index.generation = max(index.generation, last)
        index._pop_emptied()
        return index

    @property
    def bytes_per_item(self) -> int:
        """Average memory of one item."""
        shards = self.shards.values()
        n_items = sum(len(shard.items) for shard in shards)
        return _BYTES_PER_VALUE * sum(shard.n_active for shard in shards) // max(n_items, 1)

    def item_ids(self) -> Texts:
        """Those of the writer without a name in the order of writing, then all others, sorted."""
        own, others = (self._texts(*self.places.in_order(apart=apart)) for apart in (False, True))
        return Texts.joined([own, Texts.of(sorted(others))]) if others else own

    def _texts(self, keys: IntArray, rows: IntArray) -> Texts:
        """The items in these rows of shards; nearly all follow one another."""
        import numpy as np

        breaks = np.flatnonzero((np.diff(keys) != 0) | (np.diff(rows) != 1)) + 1
        starts, stops = [0, *breaks.tolist()], [*breaks.tolist(), len(keys)]
        runs = zip(starts, stops, strict=True) if len(keys) else ()
        return Texts.joined([self.shards[int(keys[a])].items[int(rows[a]) : int(rows[b - 1]) + 1] for a, b in runs])

    def refuse_missing(self, item_ids: Sequence[str]) -> None:
        """Raise `DataError` if an item is not stored."""
        missing = self.places.find(item_ids)[0] < 0
        if missing.any():
            raise DataError(f"{self.space}: the store has no item {item_ids[int(missing.argmax())]!r}")

    def lost(self) -> dict[int, str]:
        """The shards whose files are not as they were written, and what happened to each."""
        paths = {key: self.path(shard) for key, shard in self.shards.items()}
        return {
            key: "was changed or damaged since it was written" if path.exists() else "is missing"
            for key, path in paths.items()
            if not self.shards[key].is_whole(path)
        }

    def create(self) -> None:
        """Make sure that this writer's file exists."""
        if not self._has_file:
            self.files.create(self.folder, self.writer, checked_line(record_of(self.space)))
            self._has_file = True
            self._size = self.files.size(self.folder, self.writer)

    @property
    def is_current(self) -> bool:
        """Whether no other store of this process has written under the same name since."""
        return self._size == self.files.size(self.folder, self.writer)

    def next_number(self) -> int:
        """Reserve a number for a shard. It is never reused: a line that failed to be written may still be on disk."""
        self.last_number += 1
        return self.last_number

    def append(self, number: int, generation: int, items: tuple[str, ...], n_active: int, stamp: Stamp) -> list[Shard]:
        """Add a shard that is already on disk; its items count once the line is written.

        Returns the shards of this writer that hold nothing any more.
        """
        line: dict[str, Any] = {"batch": number, "n_active": n_active, "file": stamp, "items": items}
        if generation:
            line["generation"] = generation
        self.files.append(self.folder, self.writer, number, checked_line(line))
        self._size = self.files.size(self.folder, self.writer)
        self._add([_Entry(generation, self.writer, number, texts_held_once(Texts.of(items)), n_active, stamp)])
        return [shard for shard in self._pop_emptied() if shard.writer == self.writer]

    def path(self, shard: Shard) -> Path:
        """Where a shard is."""
        return self.files.shard(self.folder, shard.writer, shard.number)

    def live_items(self, key: int) -> list[str]:
        """The items of a shard that are not in a later shard."""
        items = self.shards[key].items
        return list(items.take(self.places.find(items)[0] == key))

    def drop(self, key: int) -> int:
        """Remove a shard and its live items from the index, and return how many items were lost."""
        lost = self.live_items(key)
        self.places.remove(lost)
        del self.shards[key]
        return len(lost)

    def _add(self, entries: Sequence[_Entry]) -> None:
        """Add shards that have no item in common, all with items that are apart or none."""
        import numpy as np

        keys = np.arange(len(entries)) + self._last_key + 1
        self._last_key += len(entries)
        for key, entry in zip(keys.tolist(), entries, strict=True):
            self.shards[key] = Shard(
                entry.writer, entry.number, entry.generation, entry.items, entry.n_active, len(entry.items), entry.stamp
            )
            if entry.writer == self.writer:
                self.last_number = max(self.last_number, entry.number)
        sizes = [len(entry.items) for entry in entries]
        rows = np.concatenate([np.arange(size) for size in sizes])
        items = Texts.joined([entry.items for entry in entries])
        before = self.places.put(items, np.repeat(keys, sizes), rows, apart=has_name(entries[0].writer))
        for earlier, n_replaced in Counter(before[before >= 0].tolist()).items():
            self.shards[earlier].n_live -= n_replaced

    def _pop_emptied(self) -> list[Shard]:
        return [self.shards.pop(key) for key in [key for key, shard in self.shards.items() if not shard.n_live]]


class _Entry(NamedTuple):
    """A line of an index."""

    generation: int
    writer: str
    number: int
    items: Texts
    n_active: int
    stamp: Stamp | None


def _space_of_all(files: Mapping[str, tuple[Path, list[str]]]) -> FeatureSpace:
    spaces: dict[FeatureSpace, Path] = {}
    for path, lines in files.values():
        try:
            spaces.setdefault(space_of(parse_line(lines[0])), path)
        except DAMAGED as error:
            raise _damaged(path, error) from error
    if len(spaces) > 1:
        found = " but ".join(f"{path} has {space.n_features} features" for space, path in spaces.items())
        raise RunDirError(f"{found} of this layer, from another SAE; remove one of them with its shards and run again")
    return next(iter(spaces))


def _entries(writer: str, path: Path, lines: list[str]) -> Iterator[_Entry]:
    for line in lines[1:]:
        try:
            found = parse_line(line)
            stamp = Stamp(*found["file"]) if "file" in found else None
            number, n_active, generation = found["batch"], found["n_active"], found.get("generation", 0)
            if not all(isinstance(value, int) for value in (number, n_active, generation)):
                raise ValueError("a line has other numbers than whole ones")
            entry = _Entry(generation, writer, number, _texts_of(found["items"]), n_active, stamp)
        except DAMAGED as error:
            raise _damaged(path, error) from error
        yield entry


def _together(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """The entries in their order, as many at a time as can be added at once: one by one takes ten times as long."""
    some, seen = list[_Entry](), set[str]()
    for entry in entries:
        is_other = bool(some) and has_name(entry.writer) != has_name(some[0].writer)
        if is_other or len(seen) > _ITEMS_AT_A_TIME or not seen.isdisjoint(entry.items):
            yield some
            some, seen = [], set()
        some.append(entry)
        seen.update(entry.items)
    if some:
        yield some


def _texts_of(items: object) -> Texts:
    if not isinstance(items, list) or not all(isinstance(item_id, str) for item_id in items):
        raise ValueError("an item is no text")
    if len(set(items)) < len(items):
        raise ValueError("an item is listed twice")
    return texts_held_once(Texts.of(items))


def _damaged(path: Path, error: Exception) -> RunDirError:
    return RunDirError(f"{path} is damaged ({reason_of(error)}); remove {path.parent} and run again")
