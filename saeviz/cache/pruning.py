"""What is removed from the cache when it is to be smaller: what was not used for longest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

K = TypeVar("K")


class Entry(NamedTuple, Generic[K]):
    """One thing in a part of the cache: when it was last used, in seconds since 1970, its bytes, and its key there."""

    used: float
    size: int
    key: K


class Part(Protocol):
    """A part of the cache: features and embeddings, or downloads."""

    def by_use(self) -> Iterator[Entry[Any]]:
        """The entries, longest unused first."""
        ...

    def remove(self, keys: Iterable[Any], /) -> None:
        """Remove the entries with these keys."""
        ...


class Pruned(NamedTuple):
    """How many entries were removed, and the bytes of these and of the others."""

    n: int
    removed: int
    left: int


def prune(parts: Sequence[Part], unused_since: float, max_size: float | None) -> Pruned:
    """Remove what was last used before `unused_since`, and then the longest unused until at most `max_size` is left."""
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
