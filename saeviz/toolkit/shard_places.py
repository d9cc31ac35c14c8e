"""Where the items of a `saeviz.toolkit.shards.ShardStore` are, in some 30 bytes for each beside its id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from saeviz.values.texts import Places

if TYPE_CHECKING:
    from saeviz.typing import IntArray, Mask

_RECENT, _SHARE = 4096, 64
"""Of the last items, as many as this, or this part of all, are in a dictionary until they are sorted in."""
_GONE = -1


class ItemPlaces(Sequence[str]):
    """The key of the shard and the row of each item, in the order in which items first came.

    `item_at` gives the id that a shard has in a row.
    """

    def __init__(self, item_at: Callable[[int, int], str]) -> None:
        import numpy as np

        self._item_at = item_at
        self._keys, self._rows = np.empty(0, np.int32), np.empty(0, np.int32)
        self._is_apart: Mask = np.empty(0, bool)
        self._n = self._n_sorted = 0
        self._sorted = Places(self)
        self._recent: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of items that ever came: those that are gone keep their numbers."""
        return self._n

    def __getitem__(self, number: Any) -> Any:
        """The item with a number; empty if it is gone."""
        key = int(self._keys[number])
        return "" if key == _GONE else self._item_at(key, int(self._rows[number]))

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not (self._keys[: self._n] != _GONE).any()

    def find(self, items: Sequence[str]) -> tuple[IntArray, IntArray]:
        """The keys and rows of items; the key of one that is not there is -1."""
        import numpy as np

        numbers = self._numbers(items)
        if not len(self):
            return numbers, numbers
        return self._keys_of(numbers), self._rows[numbers].astype(np.int64)

    def put(self, items: Sequence[str], keys: IntArray, rows: IntArray, *, apart: bool) -> IntArray:
        """Items, each once, are in these rows of shards from now on; returns the keys of where they were, -1 for none.

        Those that are put `apart` stay so until they are put there otherwise: they come then.
        """
        import numpy as np

        numbers = self._numbers(items)
        before = self._keys_of(numbers)
        if not apart and len(self):
            moves = (numbers >= 0) & self._is_apart[numbers]
            self._keys[numbers[moves]] = _GONE
            numbers[moves] = -1
        is_new = numbers < 0
        n_new = int(is_new.sum())
        numbers[is_new] = np.arange(self._n, self._n + n_new)
        self._grow(n_new)
        self._is_apart[numbers[is_new]] = apart
        self._keys[numbers], self._rows[numbers] = keys, rows
        self._recent.update(zip(compress(items, is_new), numbers[is_new].tolist(), strict=True))
        if self._n - self._n_sorted >= max(_RECENT, self._n_sorted // _SHARE):
            # Up to such a number, so that spaces with the same items have the same, which is held once.
            stop = self._n // _RECENT * _RECENT
            self._sorted.add(self[number] for number in range(self._n_sorted, stop))
            self._n_sorted = stop
            self._recent = {text: number for text, number in self._recent.items() if number >= stop}
        return before

    def remove(self, items: Sequence[str]) -> None:
        """Items are nowhere any more."""
        numbers = self._numbers(items)
        self._keys[numbers[numbers >= 0]] = _GONE

    def in_order(self, *, apart: bool) -> tuple[IntArray, IntArray]:
        """The keys and rows of all items that are apart, or of the others, in the order in which they came."""
        chosen = (self._keys[: self._n] != _GONE) & (self._is_apart[: self._n] == apart)
        return self._keys[: self._n][chosen], self._rows[: self._n][chosen]

    def _keys_of(self, numbers: IntArray) -> IntArray:
        import numpy as np

        return np.where(numbers < 0, _GONE, self._keys[numbers] if len(self) else _GONE).astype(np.int64)

    def _numbers(self, items: Sequence[str]) -> IntArray:
        import numpy as np

        numbers = self._sorted.of(items)
        if self._recent:
            rows = np.flatnonzero(numbers < 0)
            for row, text in zip(rows.tolist(), compress(items, numbers < 0), strict=True):
                number = self._recent.get(text, -1)
                numbers[row] = number if number >= 0 and self._keys[number] != _GONE else -1
        return numbers

    def _grow(self, n: int) -> None:
        import numpy as np

        self._n += n
        if self._n > len(self._keys):
            size = self._n + self._n // 8
            self._keys, self._rows, self._is_apart = (
                np.concatenate([one, np.zeros(size - len(one), one.dtype)])
                for one in (self._keys, self._rows, self._is_apart)
            )
