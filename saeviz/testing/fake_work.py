"""Work for executors that takes no model: it leaves a file for each shard."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saeviz.values.errors import DataError
from saeviz.values.shards import Shard


@dataclass(frozen=True)
class FakeWork:
    """Writes the ids of each shard to `folder`, in two steps.

    Of the shards with these numbers, it raises `DataError`, or ends its process, so many times each. A line in
    `folder/log` says which process has begun which shard.
    """

    folder: Path
    fails_at: int = -1
    dies_at: int = -1
    deaths: int = 0
    seconds: float = 0.0

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Yield the number of images of each half."""
        with (self.folder / "log").open("a") as log:
            log.write(f"{os.getpid()} {shard.number}\n")
        half = len(shard) // 2
        yield half
        time.sleep(self.seconds)
        if shard.number == self.fails_at:
            raise DataError(f"{shard}: fake work was told to fail here")
        if shard.number == self.dies_at and self.begun().count(shard.number) <= self.deaths:
            os._exit(7)
        (self.folder / f"{shard.number}.txt").write_text("\n".join(shard.item_ids))
        yield len(shard) - half

    def begun(self) -> list[int]:
        """The numbers of the shards in the order in which they were begun, each as often as it was."""
        return [int(line.split()[1]) for line in (self.folder / "log").read_text().splitlines()]

    def workers(self) -> set[int]:
        """The processes that have worked."""
        return {int(line.split()[0]) for line in (self.folder / "log").read_text().splitlines()}


def fake_shards(n_shards: int, n_items: int = 4) -> list[Shard]:
    """Shards of made-up images."""
    ids = [[f"image {number} {place}" for place in range(n_items)] for number in range(n_shards)]
    return [Shard(number, f"key{number}", tuple(of_one), tuple(of_one)) for number, of_one in enumerate(ids)]
