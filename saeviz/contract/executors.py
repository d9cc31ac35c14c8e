"""The protocol of executors, and an optional capability of theirs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from saeviz.values.shards import Shard, Step


@runtime_checkable
class Executor(Protocol):
    """Has the work of a run done by workers: processes, or other machines."""

    @property
    def in_process(self) -> bool:
        """Whether there is no worker but the run itself, which then needs no shards."""
        ...

    @property
    def shard_items(self) -> int:
        """The number of images in a shard."""
        ...

    def map(self, work: Callable[[Shard], Iterator[int]], shards: Sequence[Shard]) -> Generator[Step, None, None]:
        """Have `work` done for each shard by some worker, and yield progress; shards may finish in any order.

        `work(shard)` yields how many more images are done, and leaves its result in the run directory. `work` can be
        pickled and is given to a worker once, because it loads models for its first shard; it holds no secrets but
        takes them from the worker's environment. Doing a shard twice does no harm.

        Raises the `SaevizError` that `work` raises. The shard of a worker that dies is given to another one, for a
        number of times; then raises `WorkerError`, which names the shard with its first and last image. Workers have
        ended when the iterator is closed, and end by themselves if this process dies.
        """
        ...


@runtime_checkable
class WorksHere(Protocol):
    """Optional for an executor: whether all workers are on the machine of the run, so that they see its files.

    Only of use in a run whose directory is in an object store, where workers of other executors get what they need from
    there.
    """

    @property
    def on_this_machine(self) -> bool:
        """Whether no worker is on another machine."""
        ...
