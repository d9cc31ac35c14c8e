"""A session of a worker: the images of one shard at a time, and nothing is written to the run but what is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from saeviz.contract import handover
from saeviz.contract.roles import DividesIntoShards
from saeviz.pipeline.components import Components
from saeviz.pipeline.dataset import Dataset
from saeviz.pipeline.images import Images, Listing
from saeviz.pipeline.session import Session
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem
from saeviz.values.shards import Shard
from saeviz.values.texts import Texts


class ShardDataset(Dataset):
    """The images of a shard."""

    def __init__(self, components: Components, shard: Shard) -> None:
        super().__init__(components, {})
        self._shard = shard

    @cached_property
    def items(self) -> Images:
        """The images; one that is no longer there cannot be read."""
        components, wanted = self._components, set(self._shard.item_ids)
        config, provider = components.config.images, components.images
        with components.blaming(config):
            if self._shard.parts and isinstance(provider, DividesIntoShards):
                listed = (provider.iter_shard(name) for name in self._shard.parts)
                given = chain.from_iterable(
                    handover.images(components.who(config), one, "iter_shard") for one in listed
                )
                known = {item.item_id: item for item in given if item.item_id in wanted}
            else:
                images = ((item_id, self._found(item_id)) for item_id in self._shard.item_ids)
                known = {item_id: item for item_id, item in images if item is not None}
        listing = Listing([known.get(item_id) or ImageItem(item_id, _gone) for item_id in self._shard.item_ids])
        listing.fingerprints = Texts.of(self._shard.fingerprints)  # that the pictures had at the start of the run
        return Images(listing)


def _gone() -> Any:
    raise ImageError("it is no longer among the images")


@dataclass
class WorkerSession(Session):
    """A session of a worker. Components are built once; `take_up` begins with another shard."""

    failures: list[tuple[str, str]] = field(default_factory=list)

    def take_up(self, shard: Shard) -> Images:
        """The images of the shard, which are those of the session from now on."""
        self.failures = []
        self.dataset = ShardDataset(self.components, shard)
        return self.dataset.items

    def failed(self, subject: str, error: str) -> None:
        """Keep the failure for the run, which will log it."""
        self.failures.append((str(subject), str(error)))

    def left_out(self) -> set[str]:
        """The images of the shard that were left out."""
        return {subject for subject, _ in self.failures}

    def progress(self, items: Iterable[Any], total: int | None, label: str) -> Iterator[Any]:  # noqa: ARG002
        """Yield the items: the executor shows progress."""
        return iter(items)
