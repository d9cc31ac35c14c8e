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
        description="cluster that this machine belongs to: `auto` for the one that runs here, or `HOST:PORT`; "
        "default: a cluster of only this machine, started and ended by the run",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="number of workers, each with its own copy of the model; default: as many as the GPUs allow, or "
        "one per machine without GPUs",
    )
    gpus: float | None = Field(
        None, ge=0, le=64, description="GPUs for each worker, such as 0.5; default: 1 if the cluster has any"
    )
    cpus: float | None = Field(
        None, gt=0, le=4096, description="processors for each worker; default: an equal share of its machine's"
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
