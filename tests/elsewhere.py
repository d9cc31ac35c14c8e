"""A plugin: an executor whose worker does not see the folder in which the run works, as on another machine."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from shutil import rmtree

import saeviz

PLUGIN = "module:tests.elsewhere"


class Elsewhere:
    in_process = False
    shard_items = 20

    def __init__(self, options: saeviz.Options, context: saeviz.Context) -> None:
        self.run_dir = context.workdir.parent

    def map(
        self, work: Callable[[saeviz.Shard], Iterator[int]], shards: Sequence[saeviz.Shard]
    ) -> Generator[saeviz.Step, None, None]:
        pickled = pickle.dumps(work)
        for shard in shards:
            hidden = self.run_dir.rename(self.run_dir.with_name("hidden"))
            try:
                there = pickle.loads(pickled)
                n_items = sum(there(shard))
                there.close()
            finally:
                if self.run_dir.name != "mirror":
                    rmtree(self.run_dir, ignore_errors=True)  # the state that a part has, which its worker has fetched
                hidden.rename(self.run_dir)  # fails if the worker has made a folder of this name
            yield saeviz.Step(shard, "elsewhere", n_items)
            yield saeviz.Step(shard, "elsewhere", 0, finished=True)


@saeviz.hookimpl
def saeviz_executors() -> Iterator[saeviz.ExecutorSpec]:
    yield saeviz.ExecutorSpec(name="elsewhere", summary="elsewhere", options=saeviz.Options, factory=Elsewhere)
