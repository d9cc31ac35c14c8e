"""Features by one of the run's extractors, and from other runs that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.pipeline.images import Images
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.sharing.reuse import SharedFeatures
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.texts import Marks

if TYPE_CHECKING:
    from saeviz.typing import Mask


class Extraction:
    """Features of `items` by an extractor. `written` are the items that have features already, by space.

    `tell` is called with the provenance of features before the first of them is handed over; `provenance` is that of
    all of them, once they are.
    """

    def __init__(
        self,
        session: Session,
        config: ComponentConfig,
        items: Images,
        written: Mapping[FeatureSpace, Marks],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.session = session
        self.config = config
        self.items = items
        self.written = written
        self.tell = tell
        self.provenance: Mapping[str, Any] = {}

    def batches(self) -> Iterator[FeatureBatch]:
        """Features of all items that have none; the ids of a batch are added to `written` once it is dealt with."""
        with closing(SharedFeatures(self.session, self.config, list(self.written))) as shared:
            for batch in chain(shared.batches(self.items), self._by_the_extractor(shared)):
                yield batch
                self.written[batch.space].update(batch.item_ids)
            self.provenance = shared.provenance

    def lacking(self) -> Iterator[tuple[str, list[FeatureSpace]]]:
        """The items without features in some spaces, and in which."""
        yield from lacking(self.items, self.written)

    def _by_the_extractor(self, shared: SharedFeatures) -> Iterator[FeatureBatch]:
        """The extractor's features of the images that have none when this is first called."""
        session, components = self.session, self.session.components
        rest = self.items.only(~in_all(self.written))
        if len(rest) < len(self.items):
            logger.info("extract: %d images have features from another run", len(self.items) - len(rest))
            self.tell(shared.provenance)
        if not rest:
            return
        with components.blaming(self.config):
            extractor = components.extractor_of(self.config)
            given = extractor.extract(shared.awaiting(session.progress(rest, len(rest), "extract")))
        declared = session.dataset.numbers_of_images(self.config)
        batches = handover.extracted(components.who(self.config), given, declared, rest.marks)
        for number, batch in enumerate(components.guarded(self.config, batches)):
            if number == 0:
                shared.provenance = components.provenance(self.config, extractor)
                self.tell(shared.provenance)
            yield batch
            shared.keep(batch)
        shared.provenance = components.provenance(self.config, extractor)


def in_all(marked: Mapping[FeatureSpace, Marks]) -> Mask:
    """What is marked in all spaces."""
    import numpy as np

    mask: Mask = np.logical_and.reduce([marks.mask for marks in marked.values()])
    return mask


def lacking(items: Images, marked: Mapping[FeatureSpace, Marks]) -> Iterator[tuple[str, list[FeatureSpace]]]:
    """The items that are not marked in some spaces, and in which."""
    for item_id in items.only(~in_all(marked)).ids:
        yield item_id, [space for space, marks in marked.items() if item_id not in marks]


def together(batches: Sequence[FeatureBatch], item_ids: Sequence[str]) -> FeatureBatch:
    """Batches of one space as one, in the order of `item_ids`."""
    import numpy as np

    space = batches[0].space
    found = [item_id for batch in batches for item_id in batch.item_ids]
    row_of = {item_id: row for row, item_id in enumerate(found)}
    ids = [item_id for item_id in item_ids if item_id in row_of]
    rows = [row_of[item_id] for item_id in ids]
    names = dict.fromkeys(name for batch in batches for name in batch.of_images)
    of_images = {
        name: np.concatenate([batch.of_images.get(name, np.full(len(batch), np.nan)) for batch in batches])[rows]
        for name in names
    }
    return FeatureBatch(space, tuple(ids), space.stack(batch.matrix for batch in batches)[rows], of_images)
