"""Parts of a run's images that workers handle, and their progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Shard:
    """Images that one worker handles together.

    `number` counts the shards of a run in the order of its images. `key` stands for everything that the result depends
    on: the model, its settings, and the ids and fingerprints of the pictures. `parts` are those of the image provider
    in which the images are, if it has any (`saeviz.DividesIntoShards`), so that a worker reads no others.
    """

    number: int
    key: str
    item_ids: Sequence[str]
    fingerprints: Sequence[str]
    parts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    def __str__(self) -> str:
        last = f" to {self.item_ids[-1]!r}" if len(self) > 1 else ""
        return f"shard {self.number} ({self.item_ids[0]!r}{last})"


class Step(NamedTuple):
    """Progress of an executor: `worker` has done `n_items` more images of a shard; the last step is `finished`."""

    shard: Shard
    worker: str
    n_items: int
    finished: bool = False
