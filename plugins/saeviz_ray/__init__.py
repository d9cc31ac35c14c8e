"""The executor `ray`: workers on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

import saeviz
from saeviz.toolkit.workers import PoolOptions


def _is_no_client(address: str | None) -> str | None:
    if address is not None and address.startswith("ray://"):
        raise ValueError("Ray Client (ray://) is not supported: start the run on a machine of the cluster, with `auto`")
    return address


class RayOptions(PoolOptions):
    """Options of the executor `ray`."""

    address: Annotated[str | None, AfterValidator(_is_no_client)] = Field(
        None,
        description="a cluster of which this machine is a part: `auto` for the one that runs here, or `HOST:PORT`; "
        "default: one of this machine alone, started and ended by the run",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="workers, each with a model of its own; default: as many as the GPUs allow, one per machine "
        "without GPUs",
    )
    gpus: float | None = Field(
        None, ge=0, le=64, description="GPUs of a worker, such as 0.5; default: 1 where the cluster has any"
    )
    cpus: float | None = Field(
        None, gt=0, le=4096, description="processors of a worker; default: an equal share of its machine's"
    )


@saeviz.hookimpl
def saeviz_executors() -> Iterable[saeviz.ExecutorSpec]:
    """The executor."""
    yield saeviz.ExecutorSpec(
        name="ray",
        summary="workers on the machines of a Ray cluster, or on this one",
        options=RayOptions,
        factory="saeviz_ray.executor:RayExecutor",
        needs=("ray",),
        install="saeviz[ray]",
    )
