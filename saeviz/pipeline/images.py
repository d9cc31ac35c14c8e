"""The images of a run: ids and fingerprints are in memory, and the images themselves only where they are few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, compress, islice
from typing import TYPE_CHECKING, overload

from saeviz.values.errors import DataError
from saeviz.values.images import ImageItem
from saeviz.values.texts import GrowingTexts, Marks, Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import Mask


class Listing:
    """All images of a run, as they were listed at its start.

    `held` are the images themselves, None if there are many: then `again` lists them again, and `find` gives one. Known
    from the first time are how many have each rating (`rated`), its lowest and highest value (`ranges`), the names of
    `metadata`, and up to two of the groups (`some_groups`).
    """

    def __init__(
        self,
        held: Sequence[ImageItem] | None,
        again: Callable[[], Iterable[ImageItem]] | None = None,
        find: Callable[[str], ImageItem | None] | None = None,
    ) -> None:
        self.held = held
        self.again = again
        self.find = find
        self.rated: Counter[str] = Counter()
        self.ranges: dict[str, tuple[float, float]] = {}
        self.metadata: dict[str, None] = {}
        self.has_groups = False
        self.some_groups: set[str | None] = set()
        for item in held or ():
            self._take_in(item)

    @classmethod
    def of(
        cls,
        items: Iterable[ImageItem],
        most_held: int,
        again: Callable[[], Iterable[ImageItem]],
        find: Callable[[str], ImageItem | None],
    ) -> Listing:
        """Take in the images of an image provider; up to `most_held` are held."""
        waiting = iter(items)
        first = list(islice(waiting, most_held + 1))
        if len(first) <= most_held:
            return cls(first)
        listing = cls(None, again, find)
        ids, fingerprints = GrowingTexts(), GrowingTexts()
        for item in chain(first, waiting):
            ids.append(item.item_id)
            fingerprints.append(item.fingerprint)
            listing._take_in(item)
        listing.ids, listing.fingerprints = ids.texts(), fingerprints.texts()
        return listing

    @cached_property
    def ids(self) -> Texts:
        """The ids of all images."""
        return Texts.of(item.item_id for item in self.held or ())

    @cached_property
    def fingerprints(self) -> Texts:
        """The fingerprint of each picture at the start of the run; a later change is handled by the next run."""
        return Texts.of(item.fingerprint for item in self.held or ())

    @cached_property
    def where(self) -> Places:
        """Where the images are, by their ids."""
        return Places(self.ids)

    def __iter__(self) -> Iterator[ImageItem]:
        if self.held is not None or self.again is None:
            yield from self.held or ()
            return
        place = -1
        for place, (item_id, item) in enumerate(zip(self.ids, self.again(), strict=False)):
            if item.item_id != item_id:
                raise DataError(
                    f"images: number {place + 1} is {item.item_id!r}, and was {item_id!r} when the run began: its "
                    "images have changed meanwhile; run again when they no longer do"
                )
            yield item
        if place + 1 < len(self.ids):
            raise DataError(
                f"images: there are {place + 1}, and were {len(self.ids)} when the run began: its images have changed "
                "meanwhile; run again when they no longer do"
            )

    def __getitem__(self, place: int) -> ImageItem:
        if self.held is not None:
            return self.held[place]
        item_id = self.ids[place]
        item = self.find(item_id) if self.find else None
        if item is None:
            raise DataError(
                f"images: {item_id!r} is no longer there: the images of the run have changed since it began; run again"
            )
        return item

    def _take_in(self, item: ImageItem) -> None:
        self.rated.update(item.ratings.keys())
        for name, value in item.ratings.items():
            lowest, highest = self.ranges.get(name, (value, value))
            self.ranges[name] = min(value, lowest), max(value, highest)
        self.metadata.update(dict.fromkeys(item.metadata))
        self.has_groups |= item.group is not None
        if len(self.some_groups) < 2:
            self.some_groups.add(item.group)


class Images(Sequence[ImageItem]):
    """The images of a run, or some of them (`mask`), in their order. Iterating may list all images of the run again.

    Raises `DataError` if these are no longer those that there were when the run began.
    """

    def __init__(self, listing: Listing, mask: Mask | None = None) -> None:
        import numpy as np

        self.listing = listing
        self.mask: Mask = np.ones(len(listing.ids), dtype=bool) if mask is None else mask

    @property
    def where(self) -> Places:
        """Where the images are among all of the run, by their ids."""
        return self.listing.where

    @property
    def marks(self) -> Marks:
        """Which of all images of the run they are."""
        marks = Marks(self.where)
        marks.mask |= self.mask
        return marks

    @cached_property
    def ids(self) -> Texts:
        """Their ids."""
        return self.listing.ids if len(self) == len(self.mask) else self.listing.ids.take(self.mask)

    @cached_property
    def fingerprints(self) -> Texts:
        """The fingerprints that their pictures had at the start of the run."""
        texts = self.listing.fingerprints
        return texts if len(self) == len(self.mask) else texts.take(self.mask)

    def only(self, mask: Mask) -> Images:
        """Those of them that a mask over all images of the run has."""
        return Images(self.listing, self.mask & mask)

    def without(self, item_ids: Collection[str]) -> Images:
        """Those of them that have other ids."""
        return self.only(~Marks(self.where, item_ids).mask) if item_ids else self

    @cached_property
    def _len(self) -> int:
        return int(self.mask.sum())

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[ImageItem]:
        import numpy as np

        last = int(np.flatnonzero(self.mask)[-1]) + 1 if len(self) else 0
        return compress(self.listing, self.mask[:last])

    @overload
    def __getitem__(self, place: int) -> ImageItem: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ImageItem]: ...

    def __getitem__(self, place: int | slice) -> ImageItem | Sequence[ImageItem]:
        import numpy as np

        where = np.flatnonzero(self.mask)
        if not isinstance(place, slice):
            return self.listing[int(where[place])]
        if (place.step or 1) < 0:
            return list(self)[place]
        mask = np.zeros(len(self.mask), dtype=bool)
        mask[where[place]] = True
        return Images(self.listing, mask)
