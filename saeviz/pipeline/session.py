"""One run in progress: its configuration, its directory, its components and its images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from saeviz.config.schema import RunConfig
from saeviz.discovery.manager import Manager
from saeviz.formats.plain import one_line
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.components import Components
from saeviz.pipeline.dataset import Dataset
from saeviz.pipeline.progress import Tally, watched
from saeviz.values.outcomes import Failure

logger = logging.getLogger("saeviz")


@dataclass
class Session:
    """The state shared by the stages; `redo` is set if the user asked to run the current stage again.

    With `gathers`, stages that workers can share take in what all parts have made, and do nothing themselves.
    """

    config: RunConfig
    manager: Manager
    rundir: RunDir
    limit: int | None = None
    show_progress: bool = False
    stage: str = ""
    redo: bool = False
    gathers: bool = False
    digests: dict[str, str] = field(default_factory=dict)

    @cached_property
    def components(self) -> Components:
        """The components, each built when it is first used."""
        return Components(self.config, self.manager, self.rundir, self.failed, self.progress)

    @cached_property
    def dataset(self) -> Dataset:
        """The images, and which of them have features."""
        return Dataset(self.components, self.digests, self.limit)

    def failed(self, subject: str, error: str) -> None:
        """Record an item or feature that was left out, and continue."""
        logger.warning("%s: %s: left out: %s", self.stage, one_line(subject), one_line(error))
        self.rundir.failures.add(Failure(self.stage, subject, error))

    def left_out(self) -> set[str]:
        """The subjects that the current stage has left out so far."""
        return self.rundir.failures.of(self.stage)

    def progress(self, items: Iterable[Any], total: int | None, label: str) -> Iterator[Any]:
        """Yield the items and show progress: a bar on a terminal, otherwise log lines from time to time."""
        return watched(items, total, label, as_bar=self.show_progress)

    def tally(self, total: int, label: str) -> Tally:
        """Shows the progress of several workers."""
        return Tally(total, label, as_bar=self.show_progress)

    def close(self) -> None:
        """Close all components."""
        self.components.close()
