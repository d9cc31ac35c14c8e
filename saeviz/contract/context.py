"""What a component is given besides its options. Nothing in saeviz is global; it is all here."""

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
"""Of the numbers in a model; what it gives is float32 all the same."""


def _no_progress(items: Iterable[Any], _total: int | None, _label: str) -> Iterator[Any]:
    return iter(items)


def _log_failure(subject: str, error: str) -> None:
    logging.getLogger("saeviz").warning("%s: %s", subject, error)


def _no_peer(role: str) -> Any:
    raise ConfigError(f"there is no {role} to borrow from: the component is used outside a run")


@dataclass(frozen=True)
class Context:
    """The surroundings of one component.

    `device` is `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; `workdir` a folder of its own to write to (made on
    first use by whoever writes); `cache_dir` for what may be shared between runs; `offline` forbids the
    network; `environment` has the variables that may hold secrets, in a run that is read only those that its reader
    grants. `failed(subject, error)` lists something that was left out, `progress(items, total, label)`
    passes items on and shows how far they are, `peer(role)` gives the run's own component of another role,
    for instance the extractor whose CLIP a labeler borrows; outside a run it raises `ConfigError`. `place` is where the
    component stands in the run file, such as `second_embeddings`, its role outside a run; messages begin with it.
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
