"""The executor `local`: this process, or several on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

import saeviz
from saeviz.toolkit.workers import PoolOptions


class LocalOptions(PoolOptions):
    """Options of the executor `local`."""

    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="number of processes that extract, embed and score, each with its own copy of the model and, if "
        "there are GPUs, one of them; 1 for the run's own process; default: one for each GPU if there are several and "
        "run.device is auto or cuda, else 1",
    )


@saeviz.hookimpl
def saeviz_executors() -> Iterable[saeviz.ExecutorSpec]:
    """The executor."""
    yield saeviz.ExecutorSpec(
        name="local",
        summary="this process, or several on this machine",
        options=LocalOptions,
        factory="saeviz_local.executor:LocalExecutor",
    )
