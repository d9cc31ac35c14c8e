"""The executor `local`: this process, or several on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

import saeviz


class LocalOptions(saeviz.Options):
    """Options of the executor `local`."""

    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="processes that extract, embed and score, each with a model of its own and, where there are GPUs, "
        "with one of them; 1 for the run's own process",
    )
    shard_items: int = Field(
        1024, ge=1, le=1_000_000, description="images that a worker handles together; best a multiple of batch_size"
    )
    tries: int = Field(3, ge=1, le=100, description="how often images are tried of which workers die")


@saeviz.hookimpl
def saeviz_executors() -> Iterable[saeviz.ExecutorSpec]:
    """The executor."""
    yield saeviz.ExecutorSpec(
        name="local",
        summary="this process, or several on this machine",
        options=LocalOptions,
        factory="saeviz_local.executor:LocalExecutor",
    )
