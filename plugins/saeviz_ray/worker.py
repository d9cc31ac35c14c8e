"""One worker, as the run sees it: an actor, somewhere in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import saeviz
from saeviz.toolkit.workers import Answer, WorkerDied
from saeviz_ray.actor import ShardActor
from saeviz_ray.cluster import Resources

SECONDS_BETWEEN_LOOKS = 5.0
"""At the machines of the cluster, while a worker waits for a place on one."""


class RayWorker:
    """An actor to which pickled work is given. Ray places it where there is room, and ends it with this process."""

    def __init__(self, work: bytes, sign: Path | None, resources: Resources) -> None:
        import ray

        self._ray = ray
        self._host = ""
        self._actor = (
            ray.remote(ShardActor)
            .options(num_cpus=resources.cpus, num_gpus=resources.gpus, max_restarts=0, scheduling_strategy="SPREAD")
            .remote()
        )
        self._host_of = self._actor.prepare.remote(saeviz.__version__, sign, work)

    def wait_until_ready(self) -> None:
        """Return when it has found a place and sees the run directory."""
        try:
            while not self._ray.wait([self._host_of], timeout=SECONDS_BETWEEN_LOOKS)[0]:
                if not any(node["Alive"] for node in self._ray.nodes()):
                    raise saeviz.WorkerError(
                        "executor: no machine of the Ray cluster is left; the same command goes on where this run was"
                    )
            self._host, problem = self._ray.get(self._host_of)
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(self._how(error)) from error
        if problem:
            raise saeviz.WorkerError(f"executor: the worker on {self._host} {problem}")

    def do(self, shard: saeviz.Shard) -> Iterator[Answer]:
        """Give it a shard, and yield its answers."""
        try:
            for answer in self._actor.do.options(num_returns="streaming").remote(shard):
                yield self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(self._how(error)) from error

    def kill(self) -> None:
        """End it at once."""
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    def end(self) -> None:
        """End it, and return when it has."""
        self.kill()
        with suppress(self._ray.exceptions.RayError):
            self._ray.get(self._actor.prepare.remote("", Path(), b""))

    def _how(self, error: Exception) -> str:
        """How it ended, from the page that Ray writes about it."""
        where, text = f"on {self._host} " if self._host else "", str(error)
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return f"{where}failed with {text.strip().splitlines()[-1]}"
        if "failed to import" in text or "No module named" in text:
            return f"{where}cannot import saeviz; install saeviz[ray] in the environment of Ray on every machine"
        if "node has died" in text:
            return f"{where}was lost with its machine"
        if "memory" in text and "OOM" not in text:
            return f"{where}was ended by Ray because its machine was short of memory"
        return f"{where}ended unexpectedly"
