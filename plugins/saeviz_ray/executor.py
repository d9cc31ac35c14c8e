"""The executor `ray`."""

from __future__ import annotations

import os
import pickle
import platform
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import saeviz
from saeviz.toolkit.workers import Pool
from saeviz_ray import RayOptions
from saeviz_ray.cluster import Cluster
from saeviz_ray.worker import RayWorker


class RayExecutor:
    """Has work done by actors of Ray, each of which holds a model. A cluster that it starts ends with the run."""

    in_process = False

    def __init__(self, options: RayOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context
        self.shard_items = options.shard_items
        self._cluster: Cluster | None = None

    def map(
        self, work: Callable[[saeviz.Shard], Iterator[int]], shards: Sequence[saeviz.Shard]
    ) -> Generator[saeviz.Step, None, None]:
        """See `saeviz.Executor`."""
        if not shards:
            return
        pickled = pickle.dumps(work)  # here, because Ray would pickle classes of plugin files by value
        self._cluster = self._cluster or Cluster(self.options.address, self.context)
        n_workers, resources = self._cluster.share(self.options)
        is_seen = self.context.workdir_is_shared
        with _sign_in(self.context.workdir.absolute()) if is_seen else nullcontext() as sign:
            start = partial(RayWorker, pickled, sign, resources)
            with closing(Pool([start] * min(n_workers, len(shards)), shards, self.options.tries)) as pool:
                yield from pool.steps()

    def close(self) -> None:
        """Leave the cluster; one that was started for the run ends."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None


@contextmanager
def _sign_in(folder: Path) -> Iterator[Path]:
    """A file by which workers recognise the run directory: no other folder has one of this name.

    Parts of a run that are made at the same time have one each.
    """
    host = zlib.crc32(platform.node().encode())
    sign = folder / f"{host:08x}-{os.getpid()}-{uuid4().hex}.sign"
    folder.mkdir(parents=True, exist_ok=True)
    sign.touch()
    try:
        yield sign
    finally:
        sign.unlink(missing_ok=True)
        with suppress(OSError):
            for one in folder.glob(f"{host:08x}-*.sign"):
                if not _lives(one.name.split("-")[1]):  # of a run that was killed
                    one.unlink()
            folder.rmdir()


def _lives(pid: str) -> bool:
    """Whether a process of this machine is there; for what is no number, too."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True
