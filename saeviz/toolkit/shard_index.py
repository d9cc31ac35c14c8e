"""The index of a `saeviz.toolkit.shards.ShardStore`: which shard holds which item of one space.

Its file begins with a line for the space; each further line names a shard and its items, and has a checksum. A later
line wins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from saeviz.formats.damage import Stamp
from saeviz.formats.files import append_line, read_lines
from saeviz.formats.lines import DAMAGED, checked_line, parse_line
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureSpace

_BYTES_PER_VALUE = 8


@dataclass
class Shard:
    """What the index knows of one shard."""

    items: tuple[str, ...]
    n_active: int
    n_live: int
    stamp: Stamp | None = None
    """None where an earlier version wrote it."""

    @property
    def n_values(self) -> int:
        """Non-zeros of the live items, about."""
        return self.n_active * self.n_live // len(self.items)

    def is_whole(self, path: Path) -> bool:
        """Whether the file at `path` is as it was written, as far as that is known."""
        return path.exists() if self.stamp is None else self.stamp.fits(path)


@dataclass
class ShardIndex:
    """Where the items of one space are: `places[item_id]` is (number of the shard, row)."""

    path: Path
    space: FeatureSpace
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    shards: dict[int, Shard] = field(default_factory=dict)
    last_number: int = 0
    is_clean: bool = False
    has_unsettled: bool = False

    @classmethod
    def create(cls, path: Path, space: FeatureSpace) -> ShardIndex:
        """An empty index, on the disk as well."""
        append_line(path, checked_line(asdict(space)))
        return cls(path, space)

    @classmethod
    def load(cls, path: Path) -> ShardIndex | None:
        """The index in a file, None where there is none. Raises `RunDirError` where it is damaged."""
        lines = read_lines(path)
        if not lines:
            return None
        try:
            header = parse_line(lines[0])
            index = cls(path, FeatureSpace(header["layer"], header["tokens"], header["n_features"]))
            for line in lines[1:]:
                entry = parse_line(line)
                stamp = Stamp(*entry["file"]) if "file" in entry else None
                index._add(entry["batch"], tuple(entry["items"]), entry["n_active"], stamp)
        except DAMAGED as error:
            raise RunDirError(f"{path} is damaged ({error}); remove {path.parent} and run again") from error
        index.pop_emptied()
        return index

    @property
    def folder(self) -> Path:
        """Where the index and its shards are."""
        return self.path.parent

    @property
    def bytes_per_item(self) -> int:
        """Of an item in memory, on average."""
        shards = self.shards.values()
        n_items = sum(len(shard.items) for shard in shards)
        return _BYTES_PER_VALUE * sum(shard.n_active for shard in shards) // max(n_items, 1)

    def next_number(self) -> int:
        """A number for a shard. It is taken from then on: a line that the disk refused may be there all the same."""
        self.last_number += 1
        return self.last_number

    def append(self, number: int, items: tuple[str, ...], n_active: int, stamp: Stamp) -> None:
        """Add a shard that is on the disk; its items count once the line is written."""
        line = {"batch": number, "n_active": n_active, "file": stamp, "items": items}
        append_line(self.path, checked_line(line))
        self._add(number, items, n_active, stamp)

    def live_items(self, number: int) -> list[str]:
        """The items of a shard that no later shard holds."""
        items = self.shards[number].items
        return [item_id for row, item_id in enumerate(items) if self.places[item_id] == (number, row)]

    def pop_emptied(self) -> list[int]:
        """Forget the shards without live items; their numbers."""
        emptied = [number for number, shard in self.shards.items() if not shard.n_live]
        for number in emptied:
            del self.shards[number]
        return emptied

    def drop(self, number: int) -> int:
        """Forget a shard and its live items; how many these are."""
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
