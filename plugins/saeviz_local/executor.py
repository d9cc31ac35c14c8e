"""The executor `local`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import saeviz
from saeviz_local import LocalOptions
from saeviz_local.machine import environment_of
from saeviz_local.pool import Pool


class LocalExecutor:
    """Has work done in this process, or by processes of this machine, each with a share of its cores and GPUs."""

    def __init__(self, options: LocalOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    @property
    def in_process(self) -> bool:
        """Whether there is only this process."""
        return self.options.workers == 1

    @property
    def shard_items(self) -> int:
        """The number of images in a shard."""
        return self.options.shard_items

    def map(
        self, work: Callable[[saeviz.Shard], Iterator[int]], shards: Sequence[saeviz.Shard]
    ) -> Generator[saeviz.Step, None, None]:
        """See `saeviz.Executor`."""
        if self.in_process:
            for shard in shards:
                for n_items in work(shard):
                    yield saeviz.Step(shard, "this process", n_items)
                yield saeviz.Step(shard, "this process", 0, finished=True)
            return
        n = min(self.options.workers, len(shards))
        environments = [environment_of(number, self.options.workers, self.context.device) for number in range(n)]
        with closing(Pool(work, shards, environments, self.options.tries)) as pool:
            yield from pool.steps()
