"""Many texts in one piece of memory, such as the ids of ten million images, and where each of them is."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from operator import eq
from typing import TYPE_CHECKING, TypeVar, overload

from saeviz.values.held_once import array_held_once

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import IntArray, Mask


_AT_A_TIME = 4096
_BOUNDS_AT_A_TIME = 1 << 16

T = TypeVar("T")
Text_co = TypeVar("Text_co", bound=str | None, covariant=True)


class _Equal(Sequence[Text_co]):
    """Equal to any sequence of the same texts."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) or not isinstance(other, Sequence):
            return NotImplemented
        return same_texts(self, other)

    def __hash__(self) -> int:
        """That of a tuple of them, which is equal to it."""
        return hash(tuple(self))


class Texts(_Equal[str]):
    """An immutable sequence of texts that takes the bytes of the texts and 8 bytes more for each.

    `data` is uint8, the texts in UTF-8, one after the other; `bounds` is int64 `[n_texts + 1]`: text i is
    `data[bounds[i]:bounds[i + 1]]`. Both may be mapped from files. A slice shares the memory; its order is that of the
    texts. Equal to any sequence of the same texts.
    """

    def __init__(self, data: NDArray[np.uint8], bounds: IntArray) -> None:
        self.data = data
        self.bounds = bounds

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Texts one by one, which need not be in memory together."""
        if isinstance(texts, cls):
            return texts
        growing = GrowingTexts()
        for text in texts:
            growing.append(text)
        return growing.texts()

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """Texts one after another."""
        import numpy as np

        bounds = np.zeros(sum(map(len, parts)) + 1, np.int64)
        np.cumsum(np.concatenate([np.empty(0, np.int64), *(np.diff(part.bounds) for part in parts)]), out=bounds[1:])
        pieces = (part.data[part.bounds[0] : part.bounds[-1]] for part in parts)
        return cls(np.concatenate([np.empty(0, np.uint8), *pieces]), bounds)

    def take(self, places: IntArray | Mask) -> Texts:
        """The texts at these places, in their order, or those of a mask."""
        import numpy as np

        where = np.flatnonzero(places) if places.dtype == bool else places
        bounds = np.zeros(len(where) + 1, np.int64)
        np.cumsum(self.bounds[where + 1] - self.bounds[where], out=bounds[1:])
        data = np.empty(bounds[-1], np.uint8)
        for first in range(0, len(where), _AT_A_TIME):
            starts, own = self.bounds[where[first : first + _AT_A_TIME]], bounds[first : first + _AT_A_TIME + 1]
            shift = np.repeat(starts - own[:-1], np.diff(own))
            data[own[0] : own[-1]] = self.data[np.arange(own[0], own[-1]) + shift]
        return Texts(data, bounds)

    def order(self) -> IntArray:
        """The places of the texts in the order of the texts, int64; of equal ones the earlier place comes first.

        Sorted by 8 bytes at a time, the last ones first: 24 bytes are held for each text.
        """
        import numpy as np

        sizes = np.diff(self.bounds)
        order = np.argsort(sizes, kind="stable")
        for first in reversed(range(0, int(sizes.max(initial=0)), 8)):
            keys = np.zeros(len(self), ">u8")
            letters = keys.view(np.uint8).reshape(-1, 8)
            for place in range(first, first + 8):
                has_one = np.flatnonzero(sizes > place)
                letters[has_one, place - first] = self.data[self.bounds[has_one] + place]
            order = order[np.argsort(keys.astype(np.uint64)[order], kind="stable")]
        return order

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Texts: ...

    def __getitem__(self, place: int | slice) -> str | Texts:
        import numpy as np

        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                return self.take(np.arange(start, stop, step))
            return Texts(self.data, self.bounds[start : max(start, stop) + 1])
        if not -len(self) <= place < len(self):
            raise IndexError(f"there is no text {place} among {len(self)}")
        first = int(place) % len(self)
        return _text(self.data[self.bounds[first] : self.bounds[first + 1]].tobytes())

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _AT_A_TIME):
            bounds = self.bounds[first : first + _AT_A_TIME + 1]
            piece = self.data[bounds[0] : bounds[-1]].tobytes()
            own = (bounds - bounds[0]).tolist()
            yield from (_text(piece[start:stop]) for start, stop in pairwise(own))

    def __repr__(self) -> str:
        some = ", ".join(map(repr, islice(self, 3)))
        return f"Texts([{some}{', …' if len(self) > 3 else ''}], {len(self)} in all)"

    def __reduce__(self) -> tuple[type[Texts], tuple[NDArray[np.uint8], IntArray]]:
        """Pickled are these texts alone, not those around a slice."""
        bounds = self.bounds
        return Texts, (self.data[bounds[0] : bounds[-1]], bounds - bounds[0])


class Groups(_Equal[str | None]):
    """As `Texts`, with None for an image without a group: an empty text stands for it, which names no group."""

    def __init__(self, names: Texts) -> None:
        self.names = names

    @overload
    def __getitem__(self, place: int) -> str | None: ...

    @overload
    def __getitem__(self, place: slice) -> Groups: ...

    def __getitem__(self, place: int | slice) -> str | Groups | None:
        return Groups(self.names[place]) if isinstance(place, slice) else self.names[place] or None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str | None]:
        return (name or None for name in self.names)


def same_texts(one: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Whether both have the same texts in the same order, whatever kind of sequence they are."""
    if one is other or len(one) != len(other):
        return one is other
    if isinstance(one, Texts) and isinstance(other, Texts):
        return _same(one, other)
    return all(map(eq, one, other))


def _same(one: Texts, other: Texts) -> bool:
    import numpy as np

    starts = one.bounds[0], other.bounds[0]
    for first in range(0, len(one) + 1, _BOUNDS_AT_A_TIME):
        some = slice(first, first + _BOUNDS_AT_A_TIME + 1)
        bounds, others = one.bounds[some], other.bounds[some]
        if not np.array_equal(bounds - starts[0], others - starts[1]):
            return False
        if not np.array_equal(one.data[bounds[0] : bounds[-1]], other.data[others[0] : others[-1]]):
            return False
    return True


def are_all_different(texts: Sequence[str]) -> bool:
    """Whether none of the texts is there twice. 8 bytes a text are held meanwhile."""
    import numpy as np

    hashes = np.fromiter(map(hash, texts), np.int64, len(texts))
    hashes.sort()
    return bool((hashes[1:] != hashes[:-1]).all()) or Places(texts).first_repeated() is None


def fixed(texts: Sequence[T]) -> Sequence[T]:
    """The same texts, in a sequence that nobody can change."""
    return texts if isinstance(texts, Texts | Groups | tuple) else tuple(texts)


class GrowingTexts:
    """Texts of which one after another becomes known."""

    def __init__(self) -> None:
        self._data, self._bounds = bytearray(), array("q", [0])

    def append(self, text: str) -> None:
        """Add a text."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._bounds.append(len(self._data))

    def texts(self) -> Texts:
        """All of them; none can be added any more."""
        import numpy as np

        return Texts(np.frombuffer(self._data, np.uint8), np.frombuffer(self._bounds, np.int64))


class Places:
    """Where texts are. 12 bytes a text are held beside the texts, once for equal ones."""

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        self.texts = texts
        # Good for this process only: texts hash differently in each.
        self._hashes: IntArray = np.empty(0, np.int64)
        self._order: NDArray[np.uint32] = np.empty(0, np.uint32)
        self.add(texts)

    def add(self, further: Iterable[str]) -> None:
        """Take in texts that have come to the end of `texts` since."""
        import numpy as np

        hashes, n_before = np.fromiter(map(hash, further), np.int64), len(self._order)
        order = np.argsort(hashes, kind="stable")
        hashes, places = hashes[order], (order + n_before).astype(np.uint32)
        if n_before:
            where = np.searchsorted(self._hashes, hashes, "right")
            hashes, places = np.insert(self._hashes, where, hashes), np.insert(self._order, where, places)
        if len(hashes) >= _AT_A_TIME:
            hashes, places = array_held_once(hashes), array_held_once(places)
        self._hashes, self._order = hashes, places

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.find(text) is not None

    def __len__(self) -> int:
        return len(self.texts)

    def find(self, text: str) -> int | None:
        """The first place of a text, None if it is not there."""
        place = int(self.of([text])[0])
        return None if place < 0 else place

    def of(self, texts: Iterable[str]) -> IntArray:
        """The first place of each text, int64 `[n_texts]`; -1 for one that is not there."""
        import numpy as np

        return np.concatenate([np.empty(0, np.int64), *self.some_of(texts)])

    def some_of(self, texts: Iterable[str]) -> Iterator[IntArray]:
        """What `of` gives, some thousand at a time."""
        waiting = iter(texts)
        while some := list(islice(waiting, _AT_A_TIME)):
            yield self._of(some)

    def _of(self, wanted: list[str]) -> IntArray:
        import numpy as np

        found = np.full(len(wanted), -1, dtype=np.int64)
        hashes = np.fromiter(map(hash, wanted), np.int64, len(wanted))
        firsts = np.searchsorted(self._hashes, hashes, "left").tolist()
        lasts = np.searchsorted(self._hashes, hashes, "right").tolist()
        for row, (text, first, last) in enumerate(zip(wanted, firsts, lasts, strict=True)):
            for place in self._order[first:last].tolist():
                if self.texts[place] == text:
                    found[row] = place
                    break
        return found

    def first_repeated(self) -> str | None:
        """A text that is there more than once, the one whose second place comes first; None if there is none."""
        import numpy as np

        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        suspects = sorted({place for at in same.tolist() for place in self._order[at : at + 2].tolist()})
        seen = set[str]()
        for place in suspects:
            text: str = self.texts[place]
            if text in seen:
                return text
            seen.add(text)
        return None


class Marks:
    """A set of some of the texts in `places`, of which other texts are never members: a byte for each of all."""

    def __init__(self, places: Places, texts: Iterable[str] = ()) -> None:
        import numpy as np

        self.places = places
        self.mask: Mask = np.zeros(len(places), dtype=bool)
        self.update(texts)

    def copy(self) -> Marks:
        """A set of the same texts."""
        other = Marks(self.places)
        other.mask |= self.mask
        return other

    def update(self, texts: Iterable[str]) -> None:
        """Add those of the texts that are in `places`."""
        for where in self.places.some_of(texts):
            self.mask[where[where >= 0]] = True

    def __contains__(self, text: object) -> bool:
        place = self.places.find(text) if isinstance(text, str) else None
        return place is not None and bool(self.mask[place])

    def __len__(self) -> int:
        return int(self.mask.sum())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
