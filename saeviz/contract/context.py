"""The context that a component gets besides its options; saeviz has no global state."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from saeviz.formats.paths import default_cache_dir
from saeviz.values.errors import ConfigError

T = TypeVar("T")
Precision = Literal["float32", "bfloat16"]
"""Precision of a model's computation; its outputs are converted to float32."""


def _no_progress(items: Iterable[Any], _total: int | None, _label: str) -> Iterator[Any]:
    return iter(items)


def _log_failure(subject: str, error: str) -> None:
    logging.getLogger("saeviz").warning("%s: %s", subject, error)


def _no_peer(role: str) -> Any:
    raise ConfigError(f"no {role} available: the component is used outside a run")


@dataclass(frozen=True)
class Context:
    """What a component may use: device, folders, logger, progress.

    `device` is `auto`, `cpu`, `cuda`, `cuda:1` or `mps`. `workdir` is a folder for this component alone, which creates
    it on first use; `cache_dir` is the cache folder shared by all runs. If `offline` is set, the component must not use
    the network, for the reason `why_offline`, which can be appended to messages. `environment` holds the environment
    variables that may contain secrets (when a finished run is only read, those that the reader allows).
    `failed(subject, error)` records an item or a feature that was left out. `progress(items, total, label)` yields the
    items and shows progress. `peer(role)` returns the run's component of another role, for example the extractor whose
    CLIP a labeler reuses; outside a run it raises `ConfigError`. `place` is the component's table in the run file, such
    as `second_embeddings`; error messages should begin with it. `workdir_is_shared` is false in a run whose directory
    is in an object store: workers on other machines do without `workdir`, which is of this machine alone.
    """

    device: str = "auto"
    precision: Precision = "float32"
    seed: int = 0
    workdir: Path = Path()
    cache_dir: Path = field(default_factory=default_cache_dir)
    offline: bool = False
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("saeviz"))
    failed: Callable[[str, str], None] = _log_failure
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Callable[[Iterable[Any], int | None, str], Iterator[Any]] = _no_progress
    peer: Callable[[str], Any] = _no_peer
    place: str = ""
    why_offline: str = "run.offline is set"
    workdir_is_shared: bool = True

    def option(self, name: str) -> str:
        """The full name of an option, for messages: `labeler.api_key`, `judge.api_key`."""
        return f"{self.place}.{name}" if self.place else name
