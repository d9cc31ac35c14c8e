"""The executor `local`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial

import saeviz
from saeviz.toolkit.workers import Pool
from saeviz_local import LocalOptions
from saeviz_local.machine import environment_of, gpus_for
from saeviz_local.process import Process


class LocalExecutor:
    """Has work done in this process, or by processes of this machine, each with a share of its cores and GPUs."""

    def __init__(self, options: LocalOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self.shard_items = options.shard_items

    on_this_machine = True

    @cached_property
    def n_workers(self) -> int:
        """How many processes work: as many as the options say, else one for each GPU."""
        if self.options.workers is None and len(self._gpus) > 1:
            say = self.context.logger.info
            say("executor: %d workers, one for each GPU; executor.workers sets another number", len(self._gpus))
        return self.options.workers or max(1, len(self._gpus))

    @cached_property
    def _gpus(self) -> list[str]:
        return gpus_for(self.context.device)

    @property
    def in_process(self) -> bool:
        """Whether there is only this process."""
        return self.n_workers == 1

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
        n, pickled = min(self.n_workers, len(shards)), pickle.dumps(work)
        environments = [environment_of(number, n, self._gpus) for number in range(n)]
        start = [partial(Process, pickled, environment) for environment in environments]
        with closing(Pool(start, shards, self.options.tries)) as pool:
            yield from pool.steps()
