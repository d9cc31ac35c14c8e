"""The role of reporters; defined here because a reporter is given a `Run`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from saeviz.results.run import Run


@runtime_checkable
class Reporter(Protocol):
    """Writes a report of a finished run."""

    def write(self, run: Run) -> Path:
        """Write the report and return the path of the file to open."""
        ...


@runtime_checkable
class HasViewer(Protocol):
    """Optional for reporters: a page that `saeviz serve` shows."""

    def write_viewer(self, run: Run, folder: Path) -> Path:
        """Write a page about the run to an empty folder and return its path.

        The page asks the host that serves it for activations, pictures and heatmaps, at `api/...` beside it.
        """
        ...
