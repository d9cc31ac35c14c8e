"""The executor of a run, with checked results; errors name its plugin."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from saeviz.contract import handover
from saeviz.contract.executors import Executor
from saeviz.pipeline.blame import blaming, guarded
from saeviz.values.checks import kind_of
from saeviz.values.errors import PluginError
from saeviz.values.shards import Shard, Step


class CheckedExecutor:
    """Wraps an `Executor` for all stages; `who` names it and its plugin in messages."""

    def __init__(self, executor: Executor, who: str, log: Path | None) -> None:
        self.who = who
        self._executor = executor
        self._log = log

    @property
    def in_process(self) -> bool:
        """Whether there is no worker but the run itself."""
        with blaming(self.who, self._log):
            return handover.truth(self.who, "in_process", self._executor.in_process)

    @property
    def shard_items(self) -> int:
        """The number of images in a shard."""
        with blaming(self.who, self._log):
            return handover.count(self.who, "shard_items", self._executor.shard_items)

    def map(self, work: Callable[[Shard], Iterator[int]], shards: Sequence[Shard]) -> Generator[Step, None, None]:
        """Have the executor do `work` for each shard; raises `PluginError` if it does not finish all of them."""
        left = {shard.number for shard in shards}
        with blaming(self.who, self._log):
            given = self._executor.map(work, shards)
        if not isinstance(given, Generator):
            raise PluginError(f"{self.who} returned {kind_of(given)} from map, not a generator of Step objects")
        with closing(given):
            for step in guarded(self.who, self._log, handover.steps(self.who, given)):
                if step.finished:
                    left.discard(step.shard.number)
                yield step
        if left:
            raise PluginError(f"{self.who} has left {len(left)} shards undone")
