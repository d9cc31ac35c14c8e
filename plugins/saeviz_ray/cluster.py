"""A Ray cluster: one that is there, or one of this machine alone."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import saeviz
from saeviz_ray import RayOptions

LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # so that other users of this machine cannot have it run their code
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too: nothing listens but on loopback
}
"""Read by Ray when it is imported and starts a cluster."""
OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory for objects; little more than names of images go through it."""


@dataclass(frozen=True)
class Resources:
    """What a worker gets of its machine. Ray sets OMP_NUM_THREADS and CUDA_VISIBLE_DEVICES by it."""

    cpus: float
    gpus: float


class Cluster:
    """A connection to a Ray cluster. Raises `ConfigError` if there is none at the address."""

    def __init__(self, address: str | None, context: saeviz.Context) -> None:
        self._address = address
        self._context = context
        with _environment({} if address else {**LOCAL, "PYTHONPATH": _import_path()}), _handlers_kept():
            import ray

            self._ray = ray
            self._is_own = not ray.is_initialized()
            if self._is_own:
                self._connect()

    def share(self, options: RayOptions) -> tuple[int, Resources]:
        """How many workers there should be, and what each of them gets. Raises `ConfigError` if none finds a place."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        wants_gpus = self._context.device in {"auto", "cuda"} and any(node.get("GPU") for node in nodes)
        gpus = options.gpus if options.gpus is not None else float(wants_gpus)
        places = {index: int(node.get("GPU", 0) / gpus) if gpus else 1 for index, node in enumerate(nodes)}
        n_workers = options.workers or sum(places.values()) or 1
        if not gpus:
            places = dict.fromkeys(places, math.ceil(n_workers / max(len(nodes), 1)))
        shares = [_share(nodes[index]["CPU"], n) for index, n in places.items() if n]
        resources = Resources(options.cpus or min(shares, default=1), gpus)
        if not any(node["CPU"] >= resources.cpus and node.get("GPU", 0) >= gpus for node in nodes):
            self._tell_that_none_fits(resources)
        return n_workers, resources

    def close(self) -> None:
        """Leave the cluster, unless the program was in it before."""
        if self._is_own:
            self._ray.shutdown()

    def _connect(self) -> None:
        from ray._private import worker

        # Ray prints a page about every worker that dies, on standard output; the executor says it in a sentence.
        worker.print_to_stdstream = lambda *_args, **_more: None
        own: Mapping[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
        try:
            _knock(self._address)
            self._ray.init(
                self._address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **({} if self._address else own),
            )
        except (OSError, RuntimeError, ValueError) as error:
            place, why = self._context.option("address"), _first_line(error)
            if self._address is None:
                raise saeviz.ConfigError(f"{place}: Ray cannot be started on this machine: {why}") from error
            raise saeviz.ConfigError(
                f"{place}: no Ray cluster at {self._address!r} that this machine is a part of: {why}; start one with "
                "`ray start`, look at RAY_AUTH_MODE if there is one, or remove this option"
            ) from error

    def _tell_that_none_fits(self, resources: Resources) -> None:
        place = self._context.place or "executor"
        what = f"{resources.cpus:g} processors and {resources.gpus:g} GPUs"
        if self._address is None:
            raise saeviz.ConfigError(f"{place}: this machine does not have {what} for a worker; ask for fewer")
        self._context.logger.warning(
            "%s: no machine of the Ray cluster has %s for a worker; waiting for one that has", place, what
        )


def _share(cpus: float, n_workers: int) -> float:
    """The processors of one of several workers; whole ones, as far as there are enough."""
    return cpus // n_workers or math.floor(1000 * cpus / n_workers) / 1000


def _import_path() -> str:
    """The folders from which this process imports, for plugins that are not installed."""
    return os.pathsep.join(place for place in sys.path if place)


def _knock(address: str | None) -> None:
    """Raise `OSError` if nobody listens at an address; Ray would try for a quarter of an hour."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=30).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Variables that are set for a while."""
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """What this process does when it is asked to end, and with exceptions, which Ray changes."""
    handler, hook = signal.getsignal(signal.SIGTERM), sys.excepthook
    try:
        yield
    finally:
        sys.excepthook = hook
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
