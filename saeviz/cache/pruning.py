"""Prune the cache: remove the least recently used entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

K = TypeVar("K")


class Entry(NamedTuple, Generic[K]):
    """An entry in a part of the cache: its last use (seconds since 1970), its size in bytes, and its key."""

    used: float
    size: int
    key: K


class Part(Protocol):
    """A part of the cache: features and embeddings, or downloads."""

    def by_use(self) -> Iterator[Entry[Any]]:
        """The entries, least recently used first."""
        ...

    def remove(self, keys: Iterable[Any], /) -> None:
        """Remove the entries with these keys."""
        ...


class Pruned(NamedTuple):
    """The number of removed entries, their bytes, and the bytes of the remaining ones."""

    n: int
    removed: int
    left: int


def prune(parts: Sequence[Part], unused_since: float, max_size: float | None) -> Pruned:
    """Remove entries unused since `unused_since`, then the least recently used ones beyond `max_size` bytes."""
    known = [(part, entry) for part in parts for entry in part.by_use()]
    known.sort(key=lambda found: found[1][:2])
    total = left = sum(entry.size for _, entry in known)
    surplus = []
    for part, entry in known:
        if entry.used < unused_since or (max_size is not None and left > max_size):
            surplus.append((part, entry.key))
            left -= entry.size
    for part in parts:
        keys = [key for owner, key in surplus if owner is part]
        if keys:
            part.remove(keys)
    return Pruned(len(surplus), total - left, left)
