"""The index of a `saeviz.toolkit.shards.ShardStore`, which locates the items of one space in its shards.

The first line of the file describes the space; each further line lists the items of one shard and has a checksum. If an
item is listed twice, the later line counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from saeviz.formats.damage import Stamp
from saeviz.formats.files import append_line, read_lines
from saeviz.formats.lines import DAMAGED, checked_line, parse_line, reason_of
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import record_of, space_of
from saeviz.values.regular import read_regular

_BYTES_PER_VALUE = 8


@dataclass
class Shard:
    """One shard as recorded in the index."""

    items: tuple[str, ...]
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
    """Where the items of one space are stored: `places[item_id]` is (shard number, row)."""

    path: Path
    space: FeatureSpace
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    shards: dict[int, Shard] = field(default_factory=dict)
    last_number: int = 0
    is_clean: bool = False
    has_unsettled: bool = False

    @classmethod
    def create(cls, path: Path, space: FeatureSpace) -> ShardIndex:
        """Create an empty index, in memory and on disk."""
        append_line(path, checked_line(record_of(space)))
        return cls(path, space)

    @classmethod
    def load(cls, path: Path) -> ShardIndex | None:
        """Read the index from a file, None if it does not exist. Raises `RunDirError` if it is damaged."""
        lines = read_lines(path)
        if not lines:
            return None
        try:
            header = parse_line(lines[0])
            index = cls(path, space_of(header))
            for line in lines[1:]:
                entry = parse_line(line)
                stamp = Stamp(*entry["file"]) if "file" in entry else None
                index._add(entry["batch"], tuple(entry["items"]), entry["n_active"], stamp)
        except DAMAGED as error:
            raise RunDirError(f"{path} is damaged ({reason_of(error)}); remove {path.parent} and run again") from error
        index.pop_emptied()
        return index

    @property
    def folder(self) -> Path:
        """The folder of the index and its shards."""
        return self.path.parent

    @property
    def bytes_per_item(self) -> int:
        """Average memory of one item."""
        shards = self.shards.values()
        n_items = sum(len(shard.items) for shard in shards)
        return _BYTES_PER_VALUE * sum(shard.n_active for shard in shards) // max(n_items, 1)

    def next_number(self) -> int:
        """Reserve a number for a shard. It is never reused: a line that failed to be written may still be on disk."""
        self.last_number += 1
        return self.last_number

    def append(self, number: int, items: tuple[str, ...], n_active: int, stamp: Stamp) -> None:
        """Add a shard that is already on disk; its items count once the line is written."""
        line = {"batch": number, "n_active": n_active, "file": stamp, "items": items}
        append_line(self.path, checked_line(line))
        self._add(number, items, n_active, stamp)

    def live_items(self, number: int) -> list[str]:
        """The items of a shard that are not in a later shard."""
        items = self.shards[number].items
        return [item_id for row, item_id in enumerate(items) if self.places[item_id] == (number, row)]

    def pop_emptied(self) -> list[int]:
        """Remove the shards without live items from the index, and return their numbers."""
        emptied = [number for number, shard in self.shards.items() if not shard.n_live]
        for number in emptied:
            del self.shards[number]
        return emptied

    def drop(self, number: int) -> int:
        """Remove a shard and its live items from the index, and return how many items were lost."""
        lost = self.live_items(number)
        for item_id in lost:
            del self.places[item_id]
        del self.shards[number]
        return len(lost)

    def _add(self, number: int, items: tuple[str, ...], n_active: int, stamp: Stamp | None) -> None:
        for row, item_id in enumerate(items):
            before = self.places.get(item_id)
            if before is not None:
                self.shards[before[0]].n_live -= 1
            self.places[item_id] = (number, row)
        self.shards[number] = Shard(items, n_active, len(items), stamp)
        self.last_number = max(self.last_number, number)
