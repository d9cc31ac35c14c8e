"""Find the row of an id without holding the ids."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np


class Ids:
    """Where each id of a table is: its part and its row. 24 bytes an id are held, whatever its length."""

    def __init__(self, ids: Iterable[tuple[str, int, int]]) -> None:
        digests, parts, rows = array("Q"), array("q"), array("q")
        for item_id, part, row in ids:
            digests.append(_digest(item_id))
            parts.append(part)
            rows.append(row)
        order = np.argsort(np.frombuffer(digests, np.uint64), kind="stable")
        self._digests = np.frombuffer(digests, np.uint64)[order]
        self._parts = np.frombuffer(parts, np.int64)[order]
        self._rows = np.frombuffer(rows, np.int64)[order]

    def find(self, item_id: str) -> Iterator[tuple[int, int]]:
        """The part and the row where the id is, and perhaps others where it is not."""
        digest = np.uint64(_digest(item_id))
        first, last = (int(np.searchsorted(self._digests, digest, side)) for side in ("left", "right"))
        yield from ((int(self._parts[place]), int(self._rows[place])) for place in range(first, last))

    def repeated(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Two parts and rows where the same id is, or rarely another: the first repetition first."""
        again = np.flatnonzero(self._digests[1:] == self._digests[:-1]) + 1
        for place in again[np.lexsort((self._rows[again], self._parts[again]))].tolist():
            one, other = ((int(self._parts[at]), int(self._rows[at])) for at in (place - 1, place))
            yield one, other


def _digest(item_id: str) -> int:
    return int.from_bytes(blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
